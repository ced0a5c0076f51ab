"""Export of trials: PyTorch files that need only torch, verified before they are reported.

Each network gets a folder with `network.py`, `config.json`, `README.md` and, if its weights were
kept and are asked for, `model.safetensors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.codegen.parameter_names import carry
from nas.codegen.source import source
from nas.errors import NasError
from nas.exporters.card import error_text
from nas.exporters.formats import load_formats
from nas.exporters.options import PLAIN, FormatOptions
from nas.exporters.preprocessing import fit_of, normalisation
from nas.exporters.publish import ExportedFolder, Package, publish
from nas.exporters.variants import DEEPEST, WHOLE, ExportedNetwork, Variant, check_fit, make_variant, task_of
from nas.files import open_plain
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.study.trial import Trial

if TYPE_CHECKING:
    from torch import Tensor

    from nas.data import Dataset
    from nas.study.run import Run
    from nas.study.run_config import RunConfig


@dataclass(frozen=True)
class ExportedTrial(ExportedFolder):
    """An exported trial. `error` is its validation error. For a column alone it is measured, and None
    if weights or data are missing."""

    trial: int
    error: float | None


def export(
    run: Run,
    trials: Sequence[Trial],
    to: str | Path | None = None,
    *,
    weights: bool | str | Path = False,
    column: bool = False,
    fold_bn: bool = False,
    formats: Sequence[str] = (),
    options: FormatOptions = PLAIN,
) -> list[ExportedTrial]:
    """Write trials as PyTorch files that need only torch, each verified in a process without `nas`.

    Args:
        run: The run that the trials belong to.
        trials: Complete trials of the run, such as `run.front()` or `[run.knee()]`.
        to: Folder to write to, one folder `trial-N` per trial; by default `export/` in the run folder.
        weights: Add the weights that the search trained, for trials whose weights it kept (the front); or
            those of a safetensors file, for one trial.
        column: Export only the deepest column of fractal modules. Its error is measured if the weights
            and the data of the search are available.
        fold_bn: Fold each batch norm into the convolution before it, for inference.
        formats: Further formats by name, from `nas.exporters.formats`, such as `"onnx"`. They need
            the weights.
        options: Options of the formats.

    Returns:
        One record per trial: its folder, parameters, FLOPs, and by how much outputs differed at most.

    Raises:
        NasError: An exported network differs from the recorded one, or weights that a format needs
            were not kept. Nothing is written then.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> (exported,) = nas.export(run, [run.knee()], "exported", weights=True)
        >>> sorted(path.name for path in exported.folder.iterdir())
        ['README.md', 'config.json', 'model.safetensors', 'network.py', 'predict.py']
    """
    file = None if isinstance(weights, bool) else Path(weights)
    if file is not None:
        known = {_only(trials): _read(file)}
    else:
        kept = {trial.number: run.weights(trial) for trial in trials} if weights or formats else {}
        known = {number: data for number, data in kept.items() if data is not None}
    dataset = _dataset_of(run) if column and known else None
    folder, origin = Path(to or run.folder / "export"), "search" if file is None else _named(file)
    variant = Variant(column, fold_bn)
    fixed = run.fixed_recipe
    return export_trials(trials, folder, run.config, known, variant, dataset, formats, options, origin, fixed)


def _only(trials: Sequence[Trial]) -> int:
    if len(trials) != 1:
        raise NasError(
            "holds the weights of one network", where="--weights", hint="choose one with --trial N"
        )
    return trials[0].number


def _named(file: Path) -> str:
    """Return the name of a file with that of its folder, as many are called model.safetensors."""
    return f"{file.resolve().parent.name}/{file.name}"


def _read(file: Path) -> bytes:
    with open_plain(file, NasError) as opened:
        return opened.read()


def _dataset_of(run: Run) -> Dataset | None:
    """Return the data of the search, or None if they are missing or have changed."""
    from nas.data import load_recorded

    try:
        dataset = load_recorded(run.config.data, seed=run.config.seed)
    except NasError:
        return None
    return dataset if dataset.fingerprint == run.config.data_fingerprint else None


def export_trials(
    trials: Sequence[Trial],
    to: Path,
    config: RunConfig,
    weights: Mapping[int, bytes],
    variant: Variant = WHOLE,
    dataset: Dataset | None = None,
    formats: Sequence[str] = (),
    options: FormatOptions = PLAIN,
    origin: str = "search",
    fixed_recipe: Mapping[str, Any] | None = None,
) -> list[ExportedTrial]:
    """Write each trial to `to/trial-N`, after verifying it in a fresh process without `nas`.

    `config` is the run's; `weights` has the safetensors bytes by trial number, of those
    that are to be exported with weights. Nothing is written unless all hold what was
    recorded: outputs within 1e-5 of the network in this process, parameters and FLOPs
    equal. A `variant` other than the whole network has a folder of its own, and a column alone
    is measured on the validation images of `dataset`. `formats` are written too, which takes
    weights: see `nas.exporters.formats`. `origin` names where the weights come from: the search, or a file,
    whose error is not known. `fixed_recipe` has the fields of the recipe that the space sets for all. Raises
    NasError naming the trial that does not hold.
    """
    modules = load_formats(formats)
    missing = [trial.number for trial in trials if trial.number not in weights] if modules else []
    if missing:
        hint = "the search keeps those of the front; nas train trains a network, nas export exports it then"
        raise NasError(f"no weights to write as {', '.join(formats)}", where=f"trial {missing[0]}", hint=hint)
    errors: list[float | None] = []

    def packages() -> Iterator[Package]:
        for trial in trials:
            kept = weights.get(trial.number)
            made = _build_variant(trial, config, kept, variant)
            measured = dataset if kept is not None else None
            error = trial.error if origin == "search" else None
            errors.append(_column_error(made, measured) if variant.column else error)
            more = {"weights": kept is not None, "weights_from": None if kept is None else origin}
            more |= options.about(formats) | own_recipe(config, {**(fixed_recipe or {}), **trial.recipe})
            yield _package(trial, config, made, variant, errors[-1], **more)

    done = publish(packages(), to, modules)
    return [
        ExportedTrial(**vars(folder), trial=trial.number, error=error)
        for trial, folder, error in zip(trials, done, errors, strict=True)
    ]


def _build_variant(
    trial: Trial, config: RunConfig, weights: bytes | None, variant: Variant
) -> ExportedNetwork:
    """Build the network with its trained weights, or with fresh ones where there are none."""
    import torch

    from nas.codegen.build import build, build_graph

    torch.manual_seed(trial.seed)
    shape, classes = config.input_shape, config.num_classes
    network, graph = build(trial.genotype, shape, classes), expand(trial.genotype, shape, classes)
    if weights is not None:
        given = _loaded(weights, f"trial {trial.number}")
        if trial.genotype.auxiliary and not any(name.startswith("aux") for name in given):
            check_fit(given, build_graph(graph), f"trial {trial.number}")  # of a full training
            return make_variant(trial.genotype, shape, classes, given, variant)
        check_fit(given, network, f"trial {trial.number}")
        network.load_state_dict(given)
    state: Mapping[str, Tensor] = network.state_dict()
    if trial.genotype.auxiliary:
        state = carry(state, expand(trial.genotype, shape, classes, auxiliary=True), graph)
    return make_variant(trial.genotype, shape, classes, state, variant)


def _loaded(weights: bytes, where: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(weights)
    except SafetensorError as error:
        raise NasError(f"the weights cannot be read: {error}", where=where) from error


def _column_error(made: ExportedNetwork, dataset: Dataset | None) -> float | None:
    if dataset is None:
        return None
    from nas.training.loop import evaluate

    return evaluate(made.network, dataset.val_images, dataset.val_labels, dataset).error


def _package(
    trial: Trial,
    config: RunConfig,
    made: ExportedNetwork,
    variant: Variant,
    error: float | None,
    **more: Any,
) -> Package:
    return Package(
        folder=f"trial-{trial.number}{variant.suffix}",
        where=f"trial {trial.number}",
        source=source(made.graph),
        state=made.state,
        network=made.network,
        expected=trial.cost if variant == WHOLE else cost(made.graph),
        about=about_trial(trial, config, made, variant) | _measured(trial, config, variant, error) | more,
        keep_weights=more["weights"],
    )


def about_trial(
    trial: Trial, config: RunConfig, made: ExportedNetwork, variant: Variant = WHOLE
) -> dict[str, Any]:
    """Return the entries of config.json for a trial: what it is, and the data that it was searched on."""
    settings = config.to_dict()
    kept = (
        *("space", "data", "data_fingerprint", "input_shape", "num_classes", "classes"),
        *("recipe", "versions"),
    )
    genotype = (made.genotype if variant.column else trial.genotype).network
    return {
        "schema": 1,
        "name": f"trial-{trial.number}{variant.suffix}",
        "title": f"Trial {trial.number} of a search over {config.space}{variant.title}",
        "trial": trial.number,
        "task": task_of(made.graph),
        "digest": genotype.digest,
        "network": str(made.genotype.network),
        "genotype": genotype.to_dict(),
        "cost": asdict(cost(made.graph)),
        "column": DEEPEST if variant.column else None,
        "fold_bn": variant.fold_bn,
        "seed": trial.seed,
        "split_seed": config.seed,
        **normalisation(config.mean, config.std),
        "fit": fit_of(config.data),
        **{name: settings[name] for name in kept},
    }


def own_recipe(config: RunConfig, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of config.json for fields of the recipe that the space sets or the trial chose."""
    return {"recipe": config.to_dict()["recipe"] | fields, "own_recipe": dict(fields)} if fields else {}


def _measured(trial: Trial, config: RunConfig, variant: Variant, error: float | None) -> dict[str, Any]:
    """Return the entries of config.json for the error of the weights, where it is known."""
    if error is None and not variant.column:
        return {}
    whole = {"whole_network_error": trial.error} if variant.column else {}
    text = f"{_error_text(trial, variant, error)} on {config.data}, after {trial.epochs} epochs"
    return {"validation_error": error, **whole, "measured": text}


def _error_text(trial: Trial, variant: Variant, error: float | None) -> str:
    if not variant.column:
        last = trial.curve[-1] if trial.curve else {}
        return error_text({**last, "val_error": error}, "val")
    alone = "not measured" if error is None else f"{error:.2%}"
    return f"{alone} alone, {trial.error:.2%} of the whole network"
