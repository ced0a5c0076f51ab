"""nas export: write networks of a run, or of the zoo, as PyTorch files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, note, percent
from nas.errors import NasError, NotFoundError
from nas.exporters.formats import FORMATS
from nas.exporters.options import FormatOptions

if TYPE_CHECKING:
    from nas.exporters.publish import ExportedFolder
    from nas.exporters.run import ExportedTrial
    from nas.exporters.variants import Variant
    from nas.study.run import Run
    from nas.study.trial import Trial

KEPT = ""
"""Value of --weights without a file: the weights that the search kept."""


@click.command("export", epilog="Example: nas export latest --knee --weights --to chosen")
@click.argument("run", metavar="[RUN|FOLDER]", required=False, shell_complete=complete.runs)
@click.option("--best", is_flag=True, help="Export the network with the lowest expected error.")
@click.option("--knee", is_flag=True, help="Export the network at the knee of the front.")
@click.option("--pareto", is_flag=True, help="Export every network of the front.")
@options.trial
@click.option(
    "--zoo",
    metavar="NAME",
    help="Export a network of the zoo in place of those of a run.",
    shell_complete=complete.networks,
)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write. Default: export/ in the run folder; a FOLDER is replaced.",
)
@click.option(
    "--weights",
    is_flag=False,
    flag_value=KEPT,
    metavar="[FILE]",
    help="Add the trained weights that the search kept, or those of FILE; with --zoo, the weights of FILE.",
)
@click.option(
    "--column", type=options.Choice(["deepest"]), help="Keep only the deepest column of fractal modules."
)
@click.option(
    "--format",
    "formats",
    type=options.Choice(list(FORMATS)),
    multiple=True,
    help=f"Add {'; '.join(f'{name}: {what}' for name, what in FORMATS.items())}.",
)
@click.option(
    "--with-preprocessing", is_flag=True, help="Let onnx and pt2 take raw pixels, uint8, and normalise them."
)
@click.option("--dynamic-size", is_flag=True, help="Let onnx and pt2 take images of any size.")
@click.option("--opset", type=click.IntRange(min=18), metavar="N", help="Version of ONNX's operators.")
@click.option("--fold-bn", is_flag=True, help="Fold batch norms into convolutions, for inference only.")
@options.results_dir
@options.as_json
def command(
    *,
    run: str | None,
    zoo: str | None,
    to: Path | None,
    weights: str | None,
    column: str | None,
    fold_bn: bool,
    formats: tuple[str, ...],
    with_preprocessing: bool,
    dynamic_size: bool,
    opset: int | None,
    results_dir: Path,
    as_json: bool,
    **pick: Any,
) -> None:
    """Write networks as PyTorch files that need only torch, one folder per network.

    RUN is a run folder, a name under the results folder, or `latest`. FOLDER is one that nas train or nas
    export wrote: it is written again with its own weights and the formats asked for. Each network is
    verified first, in a fresh process without nas: weights are loaded strictly; outputs, parameters and FLOPs
    are compared, and the code of the card is run as it stands.

    --format can be given several times. It writes the weights too, and each file is verified with batches
    of several sizes. With --zoo, FILE holds weights under the names of torchvision, as .safetensors or
    .pth, of which only tensors are read.
    """
    from nas.exporters.folder import is_folder
    from nas.exporters.variants import Variant
    from nas.study.run import open_run

    variant = Variant(column is not None, fold_bn)
    chosen = FormatOptions(with_preprocessing, dynamic_size, opset)
    chosen.about(formats)
    picked = sum(value is not None and value is not False for value in pick.values())
    if zoo is not None:
        if run is not None or picked:
            raise NasError("takes neither a run nor a trial", where="--zoo")
        _export_zoo(zoo, to or Path("export"), weights, variant, formats, chosen, as_json)
        return
    if run is None and weights not in (None, KEPT):
        run, weights = weights, KEPT  # `--weights RUN`: the word was taken for a file
    if run is None:
        raise NasError("name one run, or an exported folder")
    if is_folder(run):
        _export_folder(run, to, weights, picked, variant, formats, chosen, as_json)
        return
    if weights not in (None, KEPT) and not Path(weights).is_file():
        raise NotFoundError("there is no such file", where=f"--weights {weights}")
    if picked != 1:
        raise NasError("choose one of --best, --knee, --pareto and --trial N")
    with (opened := open_run(run, results_dir)).study:
        given = bool(formats) if weights is None else Path(weights) if weights else True
        settings = {"weights": given, "formats": formats, "options": chosen}
        _export_run(opened, _chosen(opened, **pick), to, variant, settings, as_json)


def _export_run(
    run: Run, trials: list[Trial], to: Path | None, variant: Variant, settings: dict[str, Any], as_json: bool
) -> None:
    from nas.exporters.run import export
    from nas.study.commands import nas_command

    exports = export(run, trials, to, column=variant.column, fold_bn=variant.fold_bn, **settings)
    if as_json:
        emit({"exports": [_row(exported) for exported in exports]})
        return
    for exported in exports:
        report(exported)
        if variant.column:
            _compare(exported, run.trial(exported.trial).error)
        if settings["weights"] and not exported.weights:
            note("  no weights: a search keeps those of networks on the front and near it")
    file = str(exports[0].folder / "network.py")
    note(f"train one fully with: {nas_command('train', file, data_of=run)}")


def _export_folder(
    target: str,
    to: Path | None,
    weights: str | None,
    picked: int,
    variant: Variant,
    formats: tuple[str, ...],
    chosen: FormatOptions,
    as_json: bool,
) -> None:
    from nas.exporters.folder import open_folder
    from nas.exporters.reexport import export_folder

    if picked or weights not in (None, KEPT):
        hint = "a folder holds one network with its weights"
        raise NasError(
            "takes no --best, --knee, --pareto, --trial or --weights FILE", where=target, hint=hint
        )
    if target.endswith(".py"):
        note(f"running {target}: a source file is a program, and can do whatever you can")
    report_one(export_folder(open_folder(target), to, variant, formats, chosen), as_json)


def report(export: ExportedFolder) -> None:
    """Print a folder and the results of its verification."""
    echo(f"{export.folder}")
    echo(
        f"  verified without nas: {export.params:,} parameters, {export.flops:,} FLOPs, "
        f"outputs differ by {export.difference:.1g}"
    )
    for name, difference in export.formats.items():
        echo(f"  by {name}: outputs differ by {difference:.1g}")
    echo(f"  by the code of README.md, run as it stands ({', '.join(export.lines)}): the same")
    for title, packages in export.unrun.items():
        note(f"  not run, as {packages} is not installed: {title}")


def report_one(export: ExportedFolder, as_json: bool) -> None:
    """Print the export of one network of the zoo, or of a folder."""
    if as_json:
        emit({"exports": [_row(export)]})
    else:
        report(export)


def _row(export: ExportedFolder) -> dict[str, Any]:
    return {**asdict(export), "folder": str(export.folder)}


def _compare(export: ExportedTrial, whole: float | None) -> None:
    missing = "not measured (it needs --weights, and the data of the run)"
    alone = missing if export.error is None else percent(export.error)
    echo(f"  validation error of the deepest column alone: {alone}, of the whole network: {percent(whole)}")


def _export_zoo(
    name: str,
    to: Path,
    weights: str | None,
    variant: Variant,
    formats: tuple[str, ...],
    chosen: FormatOptions,
    as_json: bool,
) -> None:
    from nas.exporters.zoo import export_zoo
    from nas.zoo import zoo_entry

    if weights == KEPT:
        raise NasError("name the file that holds the weights", where="--weights")
    file = Path(weights) if weights else None
    report_one(export_zoo(zoo_entry(name), to, file, variant, formats, chosen), as_json)


def _chosen(run: Run, *, best: bool, knee: bool, pareto: bool, trial: int | None) -> list[Trial]:
    """Return the trials to export; `pareto` is the choice if there is no other."""
    if trial is not None:
        chosen = run.trial(trial)
        if not chosen.complete:
            outcome = f"failed: {chosen.reason}" if chosen.state == "failed" else "was stopped early"
            raise NasError(f"trial {trial} {outcome}", hint="export a complete trial; nas pareto lists some")
        return [chosen]
    if best or knee:
        return [run.best() if best else run.knee()]
    return run.front()
