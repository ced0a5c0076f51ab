"""Error against FLOPs around a given network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.around import Given
from nas.analysis.scaled import Axis
from nas.visualization.plots.style import COLOURS, GREY, INK, canvas, dots, in_style, log_axis, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = {"depth": (COLOURS[0], "-"), "width": (COLOURS[1], "--")}


@in_style
def scaled_figure(given: Given, types: Sequence[str] = ()) -> Figure:
    """Draw the error of the given network as it is made shallower, narrower or of other types."""
    figure, axes = canvas(height=3.4)
    flops, errors = given.points[:, 0], 100 * given.points[:, 1]
    dots(axes, flops, errors, (GREY, "."), "trained networks", size=30, alpha=0.7, among=len(flops))
    start = given.flops
    for axis in given.scaling.axes:
        if axis.line is None:
            continue
        if axis.name in LINES:
            _line(axes, axis, start)
        elif axis.name != "cardinality":
            _type(axes, axis, start, types)
    axes.plot([start], [100 * given.error], "*", color=INK, markersize=10, label=f"{given.name}, measured")
    axes.set(xlabel="FLOPs", ylabel="validation error, %")
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low), min(100.0, high))  # a straight line may leave the range of errors
    log_axis(axes, "x", flops)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _line(axes: Axes, axis: Axis, start: int) -> None:
    colour, style = LINES[axis.name]
    factor, error, low, high = np.asarray(axis.line).T
    x = factor * start
    axes.plot(x, 100 * error, style, color=colour, linewidth=1.4, label=f"less {axis.name}")
    axes.fill_between(x, 100 * low, 100 * high, color=colour, alpha=0.18, linewidth=0)


def _type(axes: Axes, axis: Axis, start: int, types: Sequence[str]) -> None:
    factor, error, low, high = np.asarray(axis.line)[-1]
    colour, marker = looks([axis.name], types)[axis.name]
    bars = [[100 * (error - low)], [100 * (high - error)]]
    axes.errorbar(
        [factor * start],
        [100 * error],
        yerr=bars,
        fmt=marker,
        color=colour,
        markersize=5,
        capsize=2,
        label=f"all {axis.name}",
    )
