"""Learning curve of one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.study.objectives import objective
from nas.visualization.formats import check_format
from nas.visualization.plots.style import COLOURS, GREY, in_style, save

FEW = 20
"""Epochs up to which each is marked."""


@in_style
def plot_curve(
    curve: Sequence[Mapping[str, Any]], file: str | Path, *, kept: int = 0, task: str = "classification"
) -> Path:
    """Draw errors and losses of a training by epoch.

    Args:
        curve: one row per epoch: epoch, train_error, val_error, train_loss and val_loss.
        file: .png, .svg or .pdf.
        kept: the epoch whose weights were kept; drawn where it is not the last.
        task: classification or segmentation.

    Returns the file. Raises NasError for another suffix.
    """
    path = check_format(file)
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(8.0, 3.1), layout="constrained")
    panels = zip(figure.subplots(1, 2), ("error", "loss"), (objective("error").scale, 1), strict=True)
    epochs = [row["epoch"] for row in curve]
    for axes, name, scale in panels:
        for part, label, colour, marker in (
            ("train", "training, augmented images", COLOURS[1], "s"),
            ("val", "validation", COLOURS[0], "o"),
        ):
            values = [scale * row[f"{part}_{name}"] for row in curve]
            marker = marker if len(curve) <= FEW else ""
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3, linewidth=1.4, label=label)
        if 0 < kept < len(curve):
            axes.axvline(kept, color=GREY, linestyle=":", label=f"kept: epoch {kept}")
        title = f"{objective('error').title(task)}, %" if name == "error" else "cross-entropy"
        axes.set(xlabel="epoch", ylabel=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if name == "error":
            axes.set_ylim(bottom=0)
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3)
        else:
            axes.set_yscale("log")  # a few epochs at a high learning rate would dwarf all others
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
    return save(figure, path)
