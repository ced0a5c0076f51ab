"""Time use of each worker and of the driver of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.analysis.time_use import IDLE, OUT_OF_WORK, Bar
from nas.visualization.plots.progress import MOST_ROWS, time_unit
from nas.visualization.plots.style import COLOURS, GREY, MOST_POINTS, canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK, RED, SKY, YELLOW = COLOURS[:7]
LOOKS = {
    "starting": GREY,
    "importing": "#BBBBBB",
    "building": ORANGE,
    "training": BLUE,
    "validation": SKY,
    "latency": YELLOW,
    "objectives": YELLOW,
    "saving": PINK,
    "failing": RED,
    "lost": RED,
    "proposing": GREEN,
    "dispatching": YELLOW,
    "recording": PINK,
}
"""Colours by phase, in the order of the legend."""
PAGE_WIDTH = 6.5
"""Width of a page in inches."""


@in_style
def time_use_figure(bars: Sequence[Bar]) -> Figure:
    """Draw one row per worker and one for the driver; idle time stays blank."""
    names = list(dict.fromkeys(bar.worker for bar in bars))[-MOST_ROWS:]
    row = {name: i for i, name in enumerate(names)}
    unit, factor = time_unit(max(bar.end for bar in bars))
    figure, axes = canvas(PAGE_WIDTH, 1.2 + 0.28 * len(names))
    for phase, colour in LOOKS.items():
        label = phase
        for name in names:
            spans = [
                (bar.start / factor, (bar.end - bar.start) / factor)
                for bar in bars
                if bar.phase == phase and bar.worker == name
            ]
            if spans:
                axes.broken_barh(
                    spans,
                    (row[name] - 0.35, 0.7),
                    facecolors=colour,
                    linewidth=0,
                    label=label,
                    rasterized=len(bars) > MOST_POINTS,
                )
                label = "_"  # once in the legend
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(f"{unit} since the run began; blank: {IDLE}, {OUT_OF_WORK} or waiting")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=6, fontsize=8)
    return figure
