"""A front as a scatter plot in text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas import pareto
from nas.formatting import metric

POINT, MEMBER = "·", "●"
"""Marks of a network, and of one on the front."""


def scatter(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """Plot error (percent, upward) against FLOPs (logarithmic, to the right), one string per line.

    points: (flops, error as a fraction); width and height: characters, axes included.
    """
    columns, rows = width - 8, height - 2
    costs, errors = [math.log(max(x, 1)) for x, _ in points], [y for _, y in points]
    left, right, low, high = min(costs), max(costs), min(errors), max(errors)
    grid = [[" "] * columns for _ in range(rows)]
    members = set(pareto.front(points))
    for i in sorted(range(len(points)), key=lambda i: i in members):  # the front is drawn over the rest
        column = _place(costs[i], left, right, columns)
        row = _place(errors[i], high, low, rows)
        grid[row][column] = MEMBER if i in members else POINT
    labels = [""] * rows
    labels[0], labels[-1] = f"{100 * high:.1f}%", f"{100 * low:.1f}%"
    lines = [f"{label:>6} │{''.join(line)}" for label, line in zip(labels, grid, strict=True)]
    first, last = metric(round(math.exp(left))), metric(round(math.exp(right)))
    foot = f"{first}{'FLOPs':^{max(5, columns - len(first) - len(last))}}{last}"
    return [*lines, f"       └{'─' * columns}", f"        {foot}"]


def _place(value: float, low: float, high: float, cells: int) -> int:
    """Return the cell of a value between the limits, the middle one if the limits are equal."""
    return cells // 2 if low == high else round((value - low) / (high - low) * (cells - 1))
