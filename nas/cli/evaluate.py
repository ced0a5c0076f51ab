"""nas evaluate: score a trained network on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, note, percent, table

if TYPE_CHECKING:
    from nas.exporters.evaluate import Evaluation
    from nas.exporters.masks import MaskEvaluation

MOST_CLASSES = 20
"""Classes that the table lists; the page has all."""


@click.command("evaluate", epilog="Example: nas evaluate trained/trial-0 --part validation")
@click.argument("folder", metavar="FOLDER")
@click.option(
    "--data",
    metavar="D",
    shell_complete=complete.data,
    help="Labelled images, as for nas search. Default: those of the training.",
)
@click.option(
    "--part",
    type=options.Choice(["test", "validation", "train", "all"]),
    help="Part of the data. Default: test; of other data without one, all images.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Page to write. Default: evaluation.html in FOLDER.",
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or cuda:1.")
@options.as_json
def command(
    folder: str, data: str | None, part: str | None, to: Path | None, device: str, as_json: bool
) -> None:
    """Score a trained network on labelled images.

    FOLDER is one that nas train or nas export wrote, with weights. Prints the error with its interval, the
    calibration, and the error of each class, and writes a page with the confusions and the worst images.
    For masks, prints the IoU of each class and their mean, without ignored pixels. Images of --data are
    brought to the size of the training; their classes must be among the network's.
    """
    from nas.exporters.evaluate import evaluate
    from nas.exporters.folder import open_folder
    from nas.exporters.masks import MaskEvaluation, evaluate_masks
    from nas.exporters.publish import EVALUATION
    from nas.reports.evaluation import write_evaluation

    opened = open_folder(folder)
    masked = opened.about["task"] == "segmentation"
    scores = (evaluate_masks if masked else evaluate)(opened, data, part, device=device)
    page = write_evaluation(scores, to or opened.path / EVALUATION)
    if as_json:
        emit({**scores.to_dict(), "page": str(page)})
        return
    if scores.familiar:
        note("warning: the network was trained or chosen on these images, so that the error is too low")
    if isinstance(scores, MaskEvaluation):
        _print_masks(scores, page)
    else:
        _print(scores, page)


def _print(scores: Evaluation, page: Path) -> None:
    low, high = scores.interval
    echo(f"data         {scores.data}: {scores.count:,} images")
    echo(f"error        {percent(scores.error)}  (95 % interval {percent(low)} to {percent(high)})")
    echo(f"loss         {scores.loss:.4f}")
    echo(f"calibration  {percent(scores.ece)} expected calibration error")
    echo(f"page         {page}\n")
    _print_classes(scores.by_error(), ["error", "precision"])


def _print_masks(scores: MaskEvaluation, page: Path) -> None:
    pixels = int(scores.confusion.sum())
    echo(f"data         {scores.data}: {scores.images:,} images, {pixels:,} pixels that are not ignored")
    echo(f"mean IoU     {percent(scores.miou)}")
    echo(f"pixels       {percent(scores.accuracy)} right")
    echo(f"loss         {scores.loss:.4f}")
    echo(f"page         {page}\n")
    _print_classes(scores.by_iou(), ["iou", "recall", "precision"])


def _print_classes(rows: list[dict[str, Any]], shares: list[str]) -> None:
    shown = [row | {name: percent(row[name]) for name in shares} for row in rows[:MOST_CLASSES]]
    table(shown, right=[name for name in shown[0] if name != "class"])
    if len(rows) > MOST_CLASSES:
        echo(f"… and {len(rows) - MOST_CLASSES} more classes, on the page")
