"""Critical-difference diagram of mean ranks over data sets (Demšar, 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, isfinite
from typing import TYPE_CHECKING

import numpy as np

from nas.formatting import count
from nas.stats.meta import Ranking
from nas.stats.resampling import tied_groups
from nas.visualization.plots.style import COLOURS, INK, canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, BAR = 0.3, 0.16
"""Inches between the names of two types, and between two bars."""

WIDTH = 5.0


@in_style
def ranks_figure(ranking: Ranking, types: Sequence[str]) -> Figure:
    """Mean rank of each type, the best on the left; a bar joins types that are not separated."""
    order = np.argsort(ranking.ranks, kind="stable")
    groups = _groups(ranking, types)
    left = -(-len(types) // 2)
    depth = BAR * (len(groups) + 1) + ROW * left
    figure, axes = canvas(WIDTH, 1.0 + depth)
    low, high = floor(ranking.ranks.min()), max(ceil(ranking.ranks.max()), floor(ranking.ranks.min()) + 1)
    axes.plot([low, high], [0, 0], color=INK, linewidth=1, clip_on=False)
    for tick in range(low, high + 1):
        axes.plot([tick, tick], [0, 0.06], color=INK, linewidth=1, clip_on=False)
        axes.annotate(str(tick), (tick, 0.1), ha="center", va="bottom", fontsize=8)
    _bars(axes, ranking, types, groups)
    _names(axes, ranking, types, order, BAR * (len(groups) + 1))
    if isfinite(ranking.critical):
        _ruler(axes, low, min(ranking.critical, high - low), ranking.critical)
    margin = 0.45 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(-depth - 0.1, 0.75))
    axes.set_axis_off()
    p = f"p = {ranking.p:.3f}" if ranking.p >= 0.001 else "p < .001"
    title = f"mean rank over {count(ranking.sets, 'data set')}, 1 is best; Friedman {p}"
    axes.set_title(title, fontsize=9, loc="left")
    return figure


def _groups(ranking: Ranking, types: Sequence[str]) -> list[list[str]]:
    """The largest groups of types that are not separated, single types left out."""
    pairs = [(a, b) for a in range(len(types)) for b in range(a) if ranking.separated(a, b)]
    separated = {frozenset((types[a], types[b])) for a, b in pairs}
    return [group for group in tied_groups(list(types), ranking.ranks, separated) if len(group) > 1]


def _bars(axes: Axes, ranking: Ranking, types: Sequence[str], groups: Sequence[Sequence[str]]) -> None:
    for row, group in enumerate(groups, 1):
        own = [ranking.ranks[list(types).index(name)] for name in group]
        ends = [min(own) - 0.02, max(own) + 0.02]
        axes.plot(ends, [-BAR * row] * 2, color=COLOURS[0], linewidth=3.5, solid_capstyle="butt", zorder=3)


def _names(axes: Axes, ranking: Ranking, types: Sequence[str], order: np.ndarray, top: float) -> None:
    """The names beside the axis, the better half on the left, each led to its rank by a line."""
    left = -(-len(types) // 2)
    low, high = floor(ranking.ranks.min()), max(ceil(ranking.ranks.max()), floor(ranking.ranks.min()) + 1)
    edge = 0.06 * (high - low)
    for place, at in enumerate(order):
        better = place < left
        row = place if better else len(types) - 1 - place
        x, y = low - edge if better else high + edge, -top - ROW * row
        rank = float(ranking.ranks[at])
        axes.plot([rank, rank, x], [0, y, y], color=INK, linewidth=0.8, clip_on=False)
        text = f"{types[at]}  {rank:.2f}" if better else f"{rank:.2f}  {types[at]}"
        shift = -3 if better else 3
        axes.annotate(
            text,
            (x, y),
            (shift, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            ha="right" if better else "left",
        )


def _ruler(axes: Axes, start: float, shown: float, critical: float) -> None:
    """Draw the critical difference of mean ranks above the axis."""
    axes.plot([start, start + shown], [0.42, 0.42], color=INK, linewidth=1.2, marker="|", markersize=6)
    text = f"critical difference {critical:.2f}" + (" (longer than the axis)" if critical > shown else "")
    axes.annotate(text, (start, 0.52), va="bottom", fontsize=8)
