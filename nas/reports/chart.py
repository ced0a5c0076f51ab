"""The scatter of the front as an inline SVG, whose type is as large on a phone as on a desk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np

from nas.analysis.table import MIXED
from nas.formatting import metric
from nas.reports.front import Point, classes
from nas.reports.markup import Html, join, tag, text
from nas.study.objectives import objective
from nas.visualization.plots.style import MARKERS, label

WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 24, 42
PAD = 0.06
"""Part of each axis that stays free beyond the outermost points."""

SHAPES = {
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


def chart(points: Sequence[Point], axes: tuple[str, str], types: Sequence[str], task: str) -> Html:
    """The points with the front as steps, the intervals of its members over seeds, and a legend."""
    members = [point for point in points if point.member]
    x = _scale([point.x for point in points], axes[0], LEFT, WIDTH - RIGHT)
    y = _scale([point.y for point in points], axes[1], HEIGHT - BOTTOM, TOP)
    marks = [_mark(at, point, x, y, types) for at, point in enumerate(points)]
    bars = [_bar(point, x, y) for point in members] if axes[1] == "error" else []
    grid = _grid(points, axes, x, y, task)
    content = join([*grid, _steps(members, x, y), *bars, *marks], "")
    names = " and ".join(objective(axis).label for axis in axes)
    words = f"{len(members)} of {len(points)} networks are on the front of {names}."
    named = f'role="group" aria-label="{text(words)}"'
    svg = Html(f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" {named}>{content}</svg>')
    tip = tag("div", class_="tip-box", hidden="", aria_hidden="true")
    return join([tag("div", svg, tip, class_="front"), _legend(points, types)])


def _logarithmic(axis: str, values: Sequence[float]) -> bool:
    return objective(axis).logarithmic and min(values) > 0


def _scale(values: Sequence[float], axis: str, start: float, end: float) -> Scale:
    """Map values of an objective to units between `start` and `end`, with some room."""
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


def _grid(points: Sequence[Point], axes: tuple[str, str], x: Scale, y: Scale, task: str) -> list[Html]:
    floor = HEIGHT - BOTTOM
    parts = []
    for value in _ticks([point.x for point in points], axes[0]):
        at = x(value)
        if LEFT <= at <= WIDTH - RIGHT:
            parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{floor}"/>')
            parts.append(_label(at, floor + 15, "middle", _shown(value)))
    for value in _ticks([point.y for point in points], axes[1]):
        at = y(value)
        if TOP <= at <= floor:
            parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_label(LEFT - 6, at + 4, "end", _shown(value)))
    parts.append(_label(WIDTH - RIGHT, HEIGHT - 6, "end", label(axes[0], task)))
    parts.append(_label(4, 13, "start", label(axes[1], task)))
    return [Html(part) for part in parts]


def _ticks(values: Sequence[float], axis: str) -> Sequence[float]:
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = min(values), max(values)
    subs = (1, 2, 5) if high > 10 * low else (1, 2, 3, 4, 6)
    locator = LogLocator(base=10, subs=subs) if _logarithmic(axis, values) else MaxNLocator(5)
    return [float(value) for value in locator.tick_values(low, high)]


def _shown(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else metric(value)


def _label(x: float, y: float, anchor: str, content: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(content)}</text>'


def _steps(members: Sequence[Point], x: Scale, y: Scale) -> Html:
    path = f"M{x(members[0].x):.1f} {y(members[0].y):.1f}"
    path += "".join(f"H{x(member.x):.1f}V{y(member.y):.1f}" for member in members[1:])
    return Html(f'<path class="step" d="{path}"/>')


def _bar(point: Point, x: Scale, y: Scale) -> Html:
    """The interval over seeds, as far as the chart goes, with a tick at its mean."""
    found = point.over_seeds
    if not isfinite(found.low):
        return Html("")
    at = x(point.x)
    low, mean, high = (
        np.clip(y(100 * v), TOP, HEIGHT - BOTTOM) for v in (found.low, found.value, found.high)
    )
    return Html(f'<path class="bar" d="M{at:.1f} {low:.1f}V{high:.1f}M{at - 4:.1f} {mean:.1f}h8"/>')


def _mark(at: int, point: Point, x: Scale, y: Scale, types: Sequence[str]) -> Html:
    parts = _symbol(point.kind, types)
    attributes = f'class="point" data-at="{at}" transform="translate({x(point.x):.1f} {y(point.y):.1f})"'
    if point.member:
        parts += '<circle class="ring" r="7.5"/>'
        words = f"{point.name}: {', '.join((*point.roles, *point.facts))}"
        attributes += f' tabindex="0" role="button" aria-label="{text(words)}"'
    return Html(f"<g {attributes}>{parts}</g>")


def _symbol(kind: str, types: Sequence[str]) -> str:
    order = sorted(types)
    marker = "." if kind == MIXED else MARKERS[order.index(kind) % len(MARKERS)]
    return f'<path class="{classes(types)[kind]}" d="{SHAPES[marker]}"/>'


def _legend(points: Sequence[Point], types: Sequence[str]) -> Html:
    kinds = [point.kind for point in points]
    shown = [kind for kind in (*sorted(types), MIXED) if kind in kinds]
    items = [
        tag(
            "li",
            Html(f'<svg viewBox="-7 -7 14 14">{_symbol(kind, types)}</svg> '),
            f"{kind} ({kinds.count(kind)})",
        )
        for kind in shown
    ]
    ring = (
        '<svg viewBox="-9 -9 18 18"><circle class="ring" r="7.5" fill="none" stroke="currentColor"/></svg> '
    )
    items.append(tag("li", Html(ring), f"on the front ({sum(point.member for point in points)})"))
    return tag("ul", *items, class_="legend")
