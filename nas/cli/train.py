"""nas train: train one network fully."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, note
from nas.errors import NasError
from nas.formatting import count

if TYPE_CHECKING:
    from nas.exporters.training_target import TrainingTarget

BODY_RATE = 0.1


@click.command("train", epilog="Example: nas train latest --trial 0 --epochs 2 --to trained")
@click.argument("target", metavar="RUN|NAME|FILE", shell_complete=complete.runs)
@click.option("--best", is_flag=True, help="Of a RUN, the network with the lowest expected error.")
@click.option("--knee", is_flag=True, help="Of a RUN, the network at the knee of the front.")
@options.trial
@click.option("--data", metavar="D", help="Data, as for nas search. Default: the data of the search.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write the trained folder in. Default: train/ in the run folder; the place of an exported "
    "file; else trained/, beside a file.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Fine-tune: start from the weights of FILE, .safetensors or .pth. For a network of the zoo they may "
    "be torchvision's. The head is replaced where it has another number of classes.",
)
@click.option(
    "--body-rate",
    type=float,
    default=BODY_RATE,
    show_default=True,
    metavar="S",
    help="With --weights, learning rate of all layers but the head, as a share of the head's.",
)
@click.option("--freeze", is_flag=True, help="With --weights, train the head alone.")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="E",
    help="Epochs. Default: 100 below 20,000 training images, 200 below 200,000, else 90.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="I",
    help="Seed of initial weights and batch order.",
)
@click.option(
    "--recipe",
    type=options.Fields(),
    metavar="K=V,...",
    help="Fields of the training recipe, such as mixup=0.2,patience=20; help lists them. On the data of a "
    "search, its pad, flip, class_weights and sampling are kept.",
)
@click.option(
    "--time",
    type=options.Duration(),
    metavar="2h",
    help="Time for the training, such as 2h or 1h30m: fewer epochs where not all of them fit.",
)
@click.option(
    "--track",
    type=options.Names(),
    default=(),
    help="Trackers to report to: tensorboard, mlflow, wandb, trackio.",
)
@click.option("--device", metavar="NAME", help="cpu, cuda or cuda:1. Default: a GPU if there is one.")
@click.option("--resume", is_flag=True, help="Continue an interrupted training.")
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Devices that share each batch: GPUs, or CPU cores, of this machine or of the Ray cluster.",
)
@click.option(
    "--sync-batch-norm",
    is_flag=True,
    help="With --devices, batch norms take their statistics over the whole batch, as on one device.",
)
@options.ray_address
@options.results_dir
@options.as_json
def command(
    *,
    target: str,
    best: bool,
    knee: bool,
    trial: int | None,
    data: str | None,
    to: Path | None,
    weights: Path | None,
    body_rate: float,
    freeze: bool,
    track: tuple[str, ...],
    devices: int,
    sync_batch_norm: bool,
    ray_address: str | None,
    results_dir: Path,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train one network fully, then read the test set once.

    The network is that of a RUN (with --best, --knee or --trial N), of the zoo by its NAME, such as resnet18,
    or of a FILE: a source as nas export writes it, or a genotype in JSON. A folder comes out that holds what
    belongs together: source, weights, config.json, README.md, the curve and test figures, predict.py. It
    replaces an earlier one whole. A FILE.py is a program and is run: train only what you trust. Besides this,
    only --plugin runs code from a file.

    A search compares networks trained from scratch, and uses no --weights. A network that starts from
    published weights is thus no evidence for or against an architecture.
    """
    from nas.cli._training_progress import TrainingProgress, error_text
    from nas.controller.train import DeviceOptions, train_on
    from nas.exporters.publish import CURVE
    from nas.exporters.train import fine_tuning
    from nas.visualization.plots.curve import plot_curve

    chosen = _target(target, best, knee, trial, data, results_dir)
    start = fine_tuning(chosen, weights, body_rate, freeze)
    with TrainingProgress(Path(to or chosen.to) / chosen.name, track) as progress:
        hooks: dict[str, Any] = {"on_start": progress.start, "on_epoch": progress.epoch, "say": note}
        shared = DeviceOptions(devices, sync_batch_norm, ray_address)
        report = train_on(shared, chosen, data, to, start, **settings, **hooks)
        progress.end(report)
    folder = Path(report["folder"])
    task = "segmentation" if "val_miou" in report else "classification"
    picture = plot_curve(report["curve"], folder / CURVE, kept=report["epoch"], task=task)
    if as_json:
        emit({"source": str(folder / "network.py"), **report})
        return
    if report["duplicates"]:
        images = count(report["duplicates"], "image")
        note(f"warning: {images} occur in two splits, which biases the errors downwards")
    echo(f"validation error  {error_text(report, 'val')}")
    if "test_error" in report:
        echo(f"test error        {error_text(report, 'test')}  read once, after the last epoch")
    else:
        echo("test error        none: the data have no test set")
    echo(f"weights           {folder / 'model.safetensors'}")
    echo(f"curve             {folder / 'training.json'}, {picture}")
    note(f"next: {next_commands(folder)}")


def next_commands(folder: Path) -> str:
    """Return what can be done with a trained folder."""
    place = shlex.quote(str(folder))
    return f"nas predict {place} IMAGE..., nas evaluate {place}, nas export {place} --format onnx"


def _target(
    target: str, best: bool, knee: bool, trial: int | None, data: str | None, results_dir: Path
) -> TrainingTarget:
    """Return the network that is meant: of a run if one is chosen there, else of a file or of the zoo."""
    from nas.exporters.training_target import file_target, trial_target, zoo_target
    from nas.zoo import zoo

    picked = best + knee + (trial is not None)
    if target.endswith((".py", ".json")):
        if picked:
            raise NasError("a file has no trials", where="--best, --knee or --trial")
        if target.endswith(".py") and Path(target).is_file():
            note(f"running {target}: a source file is a program, and can do whatever you can")
        return file_target(Path(target))
    if not picked and target in zoo():
        return zoo_target(target)
    if picked != 1:
        from nas.study.run_folder import LATEST

        known = target == LATEST or Path(target).is_dir() or (results_dir / target).is_dir()
        if not known and not picked:
            return zoo_target(target)
        hint = "nas pareto RUN lists the trials of the front"
        raise NasError("choose one of --best, --knee and --trial N", where=target, hint=hint)
    from nas.data import check_recorded
    from nas.study.run import open_run

    run = open_run(target, results_dir)
    if data is None:
        check_recorded(run.config.data)
    with run.study:
        chosen = run.trial(trial) if trial is not None else run.best() if best else run.knee()
        return trial_target(run, chosen)
