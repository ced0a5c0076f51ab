"""The scatter of the front as the numbers that its template draws.

Its type is as large on a phone as on a desk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from nas.analysis.table import MIXED
from nas.formatting import metric
from nas.pareto import front
from nas.reports.points import Point
from nas.study.objectives import all_axes, objective, plot_axes
from nas.visualization.colours import css_class, in_order, marker
from nas.visualization.plots.style import described, label

WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 24, 42
PAD = 0.06
"""Share of each axis that stays free beyond the outermost points."""

PATHS = {
    "o": "M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0 -4.5 0z",
    "s": "M-4 -4H4V4H-4z",
    "^": "M0 -5L4.8 3.8H-4.8z",
    "D": "M0 -5.4L5.4 0L0 5.4L-5.4 0z",
    "v": "M0 5L4.8 -3.8H-4.8z",
    "P": "M-1.7 -5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7z",
    "X": "M-4.6-2.3L-2.3-4.6 0-2.3 2.3-4.6 4.6-2.3 2.3 0 4.6 2.3 2.3 4.6 0 2.3-2.3 4.6-4.6 2.3-2.3 0z",
    ".": "M-3.4 0A3.4 3.4 0 1 0 3.4 0A3.4 3.4 0 1 0 -3.4 0z",
}
"""The markers of `nas.visualization.plots.style` around the origin."""

Scale = Callable[[float], float]
"""Maps a value, as it is shown, to a place on the chart."""


@dataclass(frozen=True)
class Symbol:
    """The look of a module type: a CSS class and an SVG path around the origin."""

    css: str
    path: str


@dataclass(frozen=True)
class GridLine:
    """A line of the grid and its tick label."""

    path: str
    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True)
class Mark:
    """A network at (x, y); only members of the front have a title."""

    x: float
    y: float
    symbol: Symbol
    title: str


@dataclass(frozen=True)
class Chart:
    """Contents of chart.html: `steps` is the front as an SVG path, `bars` are the intervals of its members
    over seeds, `legend` holds (type, symbol, number of networks), `line` says which front of several
    objectives the steps are."""

    title: str
    x_label: str
    y_label: str
    grid: list[GridLine]
    steps: str
    bars: list[str]
    marks: list[Mark]
    legend: list[tuple[str, Symbol, int]]
    members: int
    line: str
    width: int = WIDTH
    height: int = HEIGHT
    right: int = WIDTH - RIGHT


def make_chart(points: Sequence[Point], objectives: Sequence[str], types: Sequence[str], task: str) -> Chart:
    """Place the points, the front, the intervals over seeds and the ticks of two of the objectives."""
    axes = plot_axes(objectives)
    members = [point for point in points if point.member]
    xs, ys = [point.x for point in points], [point.y for point in points]
    x = _scale(xs, axes[0], LEFT, WIDTH - RIGHT)
    if axes[1] == "error":  # so that the intervals are inside
        ends = [100 * end for point in members for end in (point.expected.low, point.expected.high)]
        ys += [end for end in ends if isfinite(end)]
    y = _scale(ys, axes[1], HEIGHT - BOTTOM, TOP)
    *labels, last = [objective(name).label for name in all_axes(objectives)]
    kinds = [point.kind for point in points]
    symbols = _symbols(types)
    modelled = axes[1] == "error" and any(isfinite(point.expected.value) for point in members)
    return Chart(
        title=f"{len(members)} of {len(points)} networks are on the front of {', '.join(labels)} and {last}.",
        x_label=label(axes[0], task),
        y_label=("expected " if modelled else "") + label(axes[1], task),
        grid=[*_columns(_ticks(xs, axes[0]), x), *_rows(_ticks(ys, axes[1]), y)],
        steps=_steps([members[i] for i in front([(point.x, point.y) for point in members])], x, y),
        bars=[bar for point in members if (bar := _bar(point, x, y))] if axes[1] == "error" else [],
        marks=[
            Mark(_round(x(point.x)), _round(y(point.y)), symbols[point.kind], _title(point))
            for point in points
        ],
        legend=[(described(kind), symbols[kind], kinds.count(kind)) for kind in symbols if kind in kinds],
        members=len(members),
        line=f"of {objective(axes[0]).label} and {objective(axes[1]).label} alone" if len(labels) > 1 else "",
    )


def _logarithmic(axis: str, values: Sequence[float]) -> bool:
    return objective(axis).logarithmic and min(values) > 0


def _scale(values: Sequence[float], axis: str, start: float, end: float) -> Scale:
    """Map values of an objective to places between `start` and `end`, with some room."""
    logarithmic = _logarithmic(axis, values)
    first, last = np.array([min(values), max(values)], float)
    if logarithmic:
        first, last = np.log(first), np.log(last)
    span = (last - first) or abs(first) * 0.1 or 1.0
    low, high = first - PAD * span, last + PAD * span

    def place(value: float) -> float:
        at = np.log(value) if logarithmic else value
        return float(start + (at - low) / (high - low) * (end - start))

    return place


def _ticks(values: Sequence[float], axis: str) -> list[float]:
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = min(values), max(values)
    logarithmic = _logarithmic(axis, values)
    subs = (1, 2, 5) if high > 10 * low else (1, 2, 3, 4, 6)
    locator = LogLocator(base=10, subs=subs) if logarithmic else MaxNLocator(5)
    ticks = [float(value) for value in locator.tick_values(low, high)]
    return [value for value in ticks if value > 0] if logarithmic else ticks


def _columns(ticks: Sequence[float], x: Scale) -> Iterator[GridLine]:
    floor = HEIGHT - BOTTOM
    for value in ticks:
        at = _round(x(value))
        if LEFT <= at <= WIDTH - RIGHT:
            yield GridLine(f"M{at} {TOP}V{floor}", at, floor + 15, "middle", _shown(value))


def _rows(ticks: Sequence[float], y: Scale) -> Iterator[GridLine]:
    for value in ticks:
        at = _round(y(value))
        if TOP <= at <= HEIGHT - BOTTOM:
            yield GridLine(f"M{LEFT} {at}H{WIDTH - RIGHT}", LEFT - 6, _round(at + 4), "end", _shown(value))


def _shown(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else metric(value)


def _steps(members: Sequence[Point], x: Scale, y: Scale) -> str:
    path = f"M{x(members[0].x):.1f} {y(members[0].y):.1f}"
    return path + "".join(f"H{x(member.x):.1f}V{y(member.y):.1f}" for member in members[1:])


def _bar(point: Point, x: Scale, y: Scale) -> str:
    """Return the path of the interval of a member, clipped to the chart, with a tick at its mean: of the
    expected error, or over seeds where that is not known."""
    error = point.expected if isfinite(point.expected.value) else point.over_seeds
    if not isfinite(error.low):
        return ""
    at = x(point.x)
    values = (error.low, error.value, error.high)
    low, mean, high = (np.clip(y(100 * value), TOP, HEIGHT - BOTTOM) for value in values)
    return f"M{at:.1f} {low:.1f}V{high:.1f}M{at - 4:.1f} {mean:.1f}h8"


def _title(point: Point) -> str:
    return f"{point.name}: {', '.join((*point.roles, *point.facts))}" if point.member else ""


def _symbols(types: Sequence[str]) -> dict[str, Symbol]:
    """Return the symbol of each type in the order of the legend."""
    return {
        kind: Symbol(css_class(kind, types), PATHS[marker(kind, types)]) for kind in in_order((*types, MIXED))
    }


def _round(value: float) -> float:
    """Round to a tenth of a pixel, which is finer than a screen shows."""
    return round(value, 1)
