"""Two runs: the errors of all their networks, and their fronts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.pareto import front
from nas.visualization.formats import check_format
from nas.visualization.plots.style import (
    COLOURS,
    MARKERS,
    in_style,
    label,
    objective_axis,
    save,
    scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nas.analysis.compare.runs import RunComparison, Side


def plot_runs(comparison: RunComparison, file: str | Path) -> Path:
    """Draw the distribution of error of two runs with 95 % bands, and their networks and fronts in two
    objectives. Returns the file."""
    path = check_format(file)
    return save(runs_figure(comparison), path)


@in_style
def runs_figure(comparison: RunComparison) -> Figure:
    """Return the picture of `plot_runs`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    curves, fronts = figure.subplots(1, 2)
    task = comparison.a.run.config.task
    looks = zip((comparison.a, comparison.b), COLOURS, MARKERS, ("-", "--"), strict=False)
    for side, colour, marker, line in looks:
        _curve(curves, side, colour, line)
        _front(fronts, side, comparison.objectives, colour, marker, line)
    curves.set(xlabel=label("error", task), ylabel="share of networks, %", ylim=(0, 102))
    curves.set_title("at most this error, with 95 % bands", fontsize=10, loc="left")
    for name, which in zip(comparison.objectives, "xy", strict=True):
        column = comparison.objectives.index(name)
        values = np.concatenate([side.points[:, column] for side in (comparison.a, comparison.b)])
        objective_axis(fronts, which, name, values, task)
    fronts.set_title("networks and fronts", fontsize=10, loc="left")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _curve(axes: Axes, side: Side, colour: str, line: str) -> None:
    first, x = side.raw.x[:1], scale("error", side.raw.x)
    low, high = 100 * side.raw.low, 100 * side.raw.high
    axes.fill_between(x, low, high, step="post", color=colour, alpha=0.2, linewidth=0)
    x, y = np.append(scale("error", first), x), np.append(0.0, 100 * side.raw.y)
    text = f"{side.run.name} ({len(side.points)})"
    axes.step(x, y, where="post", color=colour, linestyle=line, linewidth=1.4, label=text)


def _front(axes: Axes, side: Side, objectives: tuple[str, str], colour: str, marker: str, line: str) -> None:
    x, y = (scale(name, values) for name, values in zip(objectives, side.points.T, strict=True))
    axes.scatter(x, y, s=9, c=colour, marker=marker, alpha=0.4, linewidths=0)
    members = front(side.points)
    members = members[np.argsort(x[members], kind="stable")]
    look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4.5, "linestyle": line}
    text = f"front of {side.run.name} ({len(members)})"
    axes.step(x[members], y[members], where="post", linewidth=1.3, label=text, **look)
