"""nas train: train one network fully."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli import _options as options
from nas.cli._output import echo, emit, note
from nas.cli._training_progress import TrainingProgress, error_text
from nas.errors import NasError, NotFoundError
from nas.formatting import count


@click.command("train", epilog="Example: nas train latest --trial 0 --epochs 2")
@click.argument("target", metavar="FILE.py|RUN")
@options.trial
@click.option("--data", metavar="D", help="Data, as for nas search. Default: the data of the search.")
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
    help="Fields of the training recipe, such as mixup=0.2,patience=20; help lists them.",
)
@click.option(
    "--time",
    type=options.Duration(),
    metavar="2h",
    help="Time for the training, such as 2h or 1h30m: fewer epochs where not all of them fit.",
)
@click.option("--device", metavar="NAME", help="cpu, cuda or cuda:1. Default: a GPU if there is one.")
@click.option("--resume", is_flag=True, help="Continue from the checkpoint beside the source.")
@options.results_dir
@options.as_json
def command(
    *, target: str, trial: int | None, data: str | None, results_dir: Path, as_json: bool, **settings: Any
) -> None:
    """Train one network from scratch, then read the test set once.

    The network is that of a source FILE.py, as nas export writes it, or trial N of a RUN. Weights, curve
    and figures are written beside the source. A FILE.py is a program and is run: train only what you
    trust. Besides this, only --plugin runs code from a file.
    """
    from nas.training.final import Files, train
    from nas.visualization.plots.curve import plot_curve

    source = _source(target, trial, data, results_dir)
    progress = TrainingProgress()
    report = train(source, data, **settings, on_start=progress.start, on_epoch=progress.epoch)
    task = "segmentation" if "val_miou" in report else "classification"
    picture = plot_curve(report["curve"], source.with_suffix(".curve.png"), kept=report["epoch"], task=task)
    if as_json:
        emit({"source": str(source), **report})
        return
    if report["duplicates"]:
        images = count(report["duplicates"], "image")
        note(f"warning: {images} occur in two splits, which biases the errors downwards")
    echo(f"validation error  {error_text(report, 'val')}")
    if "test_error" in report:
        echo(f"test error        {error_text(report, 'test')}  read once, after the last epoch")
    else:
        echo("test error        none: the data have no test set")
    echo(f"weights           {Files(source).weights}")
    echo(f"curve             {Files(source).report}, {picture}")


def _source(target: str, trial: int | None, data: str | None, results_dir: Path) -> Path:
    """Return the source file; that of a trial is exported into its run first."""
    if target.endswith(".py"):
        if trial is not None:
            raise NasError("a source file has no trials", where="--trial")
        if not Path(target).is_file():
            raise NotFoundError("there is no such file", where=target)
        note(f"running {target}: a source file is a program, and can do whatever you can")
        return Path(target)
    if trial is None:
        raise NasError("name the trial", where="--trial", hint="nas pareto RUN lists the trials of the front")
    from nas.data import check_recorded
    from nas.exporters.run import export
    from nas.study.run import open_run

    run = open_run(target, results_dir)
    if data is None:
        check_recorded(run.config.data)
    with run.study:
        return export(run, [run.trial(trial)], run.folder / "train")[0].folder / "network.py"
