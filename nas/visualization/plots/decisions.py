"""Error against each decision, and the importance of factors at each budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.factors.budgets import Budget
from nas.analysis.factors.decisions import DecisionEffect
from nas.analysis.text.decisions import importance, supported
from nas.formatting import count
from nas.visualization.plots.effects import heatmap
from nas.visualization.plots.style import COLOURS, GREY, INK, WIDTH, canvas, in_style, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, PANEL = 3, (2.5, 2.1)
"""Panels side by side, and inches of one."""

MOST_DOTS = 50
"""Networks of an option drawn one by one; more become an image in the plot."""

WIDEST = 34
"""Characters of option names that a panel shows side by side; longer ones are turned."""

JITTER = 0.25
"""Part of the distance of two options over which networks are spread."""

DARKEST = 0.45
"""Opacity behind an option that all best networks take."""


@in_style
def decisions_figure(effects: Sequence[DecisionEffect], most: int = 12) -> Figure:
    """Errors of networks by option of each decision, one panel per decision, those that differ most first.

    Points are networks, crosses the partial dependence with its interval; the ground behind an option is the
    darker the more often the best of a quarter of the networks took it.
    """
    from matplotlib.figure import Figure

    shown = effects[:most]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(0.4 + columns * PANEL[0], 0.3 + rows * PANEL[1]), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, effect in zip(panels.flat, shown, strict=False):
        _panel(axes, effect)
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    figure.supylabel("validation error, %", fontsize=9)
    return figure


def _panel(axes: Axes, effect: DecisionEffect) -> None:
    rng = np.random.default_rng(0)
    for at, (option, errors) in enumerate(zip(effect.options, effect.errors, strict=True)):
        axes.axvspan(at - 0.5, at + 0.5, color=COLOURS[5], alpha=DARKEST * option.best, linewidth=0, zorder=0)
        x = at + rng.uniform(-JITTER, JITTER, len(errors))
        axes.scatter(
            x, scale("error", errors), s=5, c=GREY, alpha=0.4, linewidths=0, rasterized=len(x) > MOST_DOTS
        )
    partial = [(at, o.partial) for at, o in enumerate(effect.options) if np.isfinite(o.partial.value)]
    if partial:
        places = [at for at, _ in partial]
        value, low, high = 100 * np.array([(p.value, p.low, p.high) for _, p in partial]).T
        bars = np.array([value - low, high - value])
        line = "x-" if np.isfinite(effect.range.value) else "x"  # nothing lies between two names
        axes.errorbar(
            places, value, yerr=bars, fmt=line, color=COLOURS[4], markersize=5, capsize=2, linewidth=1
        )
    axes.set_xticks(range(len(effect.options)), [str(option.value) for option in effect.options], fontsize=7)
    if max(len(str(option.value)) for option in effect.options) * len(effect.options) > WIDEST:
        axes.tick_params(axis="x", rotation=35)
    axes.set_xlim(-0.5, len(effect.options) - 0.5)
    axes.grid(axis="x", visible=False)
    axes.set_title(effect.path, fontsize=8, loc="left")


@in_style
def budgets_figure(budgets: Sequence[Budget], most: int = 12) -> Figure:
    """Importance of each factor (rows) at each budget (columns), in percent."""
    columns = [importance(budget) for budget in budgets]
    names = list(dict.fromkeys(name for column in reversed(columns) for name in column))[:most]
    table = np.array([[column.get(name, np.nan) for column in columns] for name in names], float)
    table = np.maximum(table.reshape(len(names), len(columns)), 0)
    figure, axes = canvas(WIDTH, 1.3 + 0.3 * len(names))
    texts = [["" if np.isnan(value) else f"{100 * value:.0f}" for value in row] for row in table]
    heatmap(axes, np.sqrt(table), texts)
    axes.set_yticks(range(len(names)), names)
    labels = [f"{count(b.epochs, 'epoch')}\n{count(b.networks, 'network')}" for b in budgets]
    axes.set_xticks(range(len(budgets)), labels)
    shares = all(map(supported, budgets))
    title = "total share of variance, %" if shares else "share in what leads to the best, %"
    axes.set_title(title, fontsize=9, loc="left", color=INK)
    return figure
