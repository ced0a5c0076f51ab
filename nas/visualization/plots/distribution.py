"""Error distribution functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nas.analysis.edf import Edf
from nas.visualization.plots.style import canvas, in_style, label, looks, scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = 6
"""Number of markers along a curve."""


@in_style
def edf_figure(edfs: Mapping[str, Edf], task: str = "", types: Sequence[str] = ()) -> Figure:
    """Draw the share of networks at or below each error, by type, with 95 % bands."""
    figure, axes = canvas()
    for name, (colour, marker) in looks(edfs, types).items():
        curve = edfs[name]
        x, step = scale("error", curve.x), max(1, len(curve.x) // MARKS)
        axes.fill_between(x, curve.low, curve.high, step="post", color=colour, alpha=0.15, linewidth=0)
        axes.step([x[0], *x], [0, *curve.y], where="post", color=colour, linewidth=1.4)
        axes.plot(x[::step], curve.y[::step], marker, color=colour, markersize=4)
        axes.plot([], [], "-", marker=marker, color=colour, markersize=4, label=name)
    axes.set(xlabel=label("error", task), ylabel="share of networks", ylim=(0, 1.02))
    figure.legend(loc="outside upper center", ncols=3)
    return figure
