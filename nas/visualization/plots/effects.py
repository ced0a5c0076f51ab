"""Effects of module types: contrasts, profiles over cost and depth, and interactions of factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.comparison import Contrast
from nas.analysis.complexities import AtEqual
from nas.analysis.factors.factors import Interaction
from nas.analysis.paired.contrast import PairedContrast
from nas.analysis.profiles import Profile
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats
from nas.study.objectives import objective
from nas.visualization.plots.style import COLOURS, INK, MARKERS, WIDTH, canvas, in_style, log_axis, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW = 0.42
"""Height of a contrast in a forest plot, in inches."""
LEAST = 0.005
"""Least share of the variance for which a factor or an interaction is shown."""
APART = 0.008
"""Share of x by which types at one place are set apart, so that their intervals do not overlap."""


@in_style
def forest_figure(contrasts: Sequence[Contrast | PairedContrast]) -> Figure:
    """Draw the difference of error of each contrast with its interval: raw or at the same shape (E1), and
    at equal FLOPs (E2)."""
    shown = _estimates(contrasts)
    figure, axes = canvas(WIDTH, 1.1 + ROW * len(shown))
    places = np.arange(len(shown))[::-1]
    names = ("E1, same shape", "E2, equal FLOPs")
    if isinstance(contrasts[0], Contrast):
        names = ("raw", "equal FLOPs")
    for i, (name, marker) in enumerate(zip(names, "os", strict=True)):
        value, low, high = 100 * np.array([_limits(effects[i]) for effects in shown.values()]).T
        y = places + 0.14 - 0.28 * i
        bars = np.nan_to_num(np.array([value - low, high - value]))
        face = "none" if i == 0 else COLOURS[4]
        look: dict[str, Any] = {"color": COLOURS[4 * i], "markerfacecolor": face or COLOURS[0]}
        axes.errorbar(value, y, xerr=bars, fmt=marker, markersize=5, capsize=2, label=name, **look)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(places, [f"{a} → {b}" for a, b in shown])
    axes.set(xlabel="change of error, percentage points", ylim=(-0.6, len(shown) - 0.4))
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@in_style
def complexities_figure(comparisons: Sequence[AtEqual]) -> Figure:
    """Draw the change of error of each contrast with its interval, at equal values of each complexity."""
    pairs = [f"{d.a} → {d.b}" for d in comparisons[0].differences]
    figure, axes = canvas(WIDTH, 1.1 + ROW * len(pairs))
    places = np.arange(len(pairs))[::-1]
    for i, comparison in enumerate(comparisons):
        value, low, high = 100 * np.array([_limits(d.effect) for d in comparison.differences]).T
        bars = np.nan_to_num(np.array([value - low, high - value]))
        y = places + 0.5 * ((len(comparisons) - 1) / 2 - i) / max(1, len(comparisons) - 1)
        look: dict[str, Any] = {
            "color": COLOURS[i],
            "fmt": MARKERS[i],
            "label": f"equal {objective(comparison.complexity).label}",
        }
        axes.errorbar(value, y, xerr=bars, markersize=4.5, capsize=2, **look)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(places, pairs)
    axes.set(xlabel="change of error, percentage points", ylim=(-0.6, len(pairs) - 0.4))
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@in_style
def profile_figure(profiles: Mapping[str, Profile], axis: str, types: Sequence[str] = ()) -> Figure:
    """Draw the mean deviation of each type from the mean of all, over "flops" or "depth"."""
    figure, axes = canvas()
    for i, (name, (colour, marker)) in enumerate(looks(profiles, types).items()):
        profile = profiles[name]
        x = profile.x * (1 + APART * (i - (len(profiles) - 1) / 2))
        value, low, high = 100 * np.array([_limits(e) for e in profile.effects]).T
        bars = np.nan_to_num(np.array([value - low, high - value]))
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2}
        axes.errorbar(x, value, yerr=bars, capsize=2, elinewidth=0.8, label=name, **look)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylabel("error minus mean, percentage points")
    axes.set_xlabel("FLOPs" if axis == "flops" else "depth, blocks")
    if axis == "depth":
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    else:
        log_axis(axes, "x", np.concatenate([profile.x for profile in profiles.values()]))
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@in_style
def interaction_figure(main: Mapping[str, float], interactions: Sequence[Interaction], most: int) -> Figure:
    """Draw the share of the variance of error of each factor alone (the diagonal) and of pairs.

    The first `most` factors that have a share of at least `LEAST` in either are shown.
    """
    others = {name for pair in interactions if pair.share.value >= LEAST for name in (pair.a, pair.b)}
    names = [name for name, share in main.items() if share >= LEAST or name in others][:most]
    names = names or list(main)[:most]
    table = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(table, [main.get(name, np.nan) for name in names])
    for pair in interactions:
        if pair.a in names and pair.b in names:
            a, b = names.index(pair.a), names.index(pair.b)
            table[max(a, b), min(a, b)] = pair.share.value
    figure, axes = canvas(WIDTH, 1.5 + 0.42 * len(names))
    # Colours follow the square root: one factor alone often has ten times the share of any pair.
    heatmap(axes, np.sqrt(table), [["" if np.isnan(v) else _in_percent(v) for v in row] for row in table])
    axes.set_xticks(np.arange(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_title("share of variance, %;\nsingle factors on the diagonal", fontsize=9, loc="left")
    return figure


def _in_percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.1f}"


def heatmap(axes: Any, table: Floats, texts: Sequence[Sequence[str]]) -> None:
    """Draw cells in the colours of cividis, each with its text; NaN stays empty. Row 0 is on top."""
    import matplotlib

    top = float(np.nanmax(table, initial=0.0)) or 1.0
    colours = matplotlib.colormaps["cividis"]
    edges = [np.arange(size + 1) - 0.5 for size in table.shape]
    cells, look = np.ma.masked_invalid(table), {"edgecolors": "white", "linewidth": 0.5}
    axes.pcolormesh(edges[1], edges[0], cells, cmap=colours, vmin=0, vmax=top, **look)
    for (row, column), value in np.ndenumerate(table):
        if texts[row][column]:
            ink = INK if np.isnan(value) else "#fffffe" if value < 0.55 * top else "#000001"
            axes.text(column, row, texts[row][column], ha="center", va="center", color=ink, fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _estimates(
    contrasts: Sequence[Contrast | PairedContrast],
) -> dict[tuple[str, str], tuple[Estimate, Estimate]]:
    """Return both effects of each pair of types with at least one known effect; NaN if an estimand was not
    compared."""
    found: dict[tuple[str, str], tuple[Estimate, Estimate]] = {}
    for c in contrasts:
        first, second = found.get((c.a, c.b), (UNKNOWN, UNKNOWN))
        if isinstance(c, Contrast):
            first, second = c.raw, c.equal_flops
        elif c.estimand == "E1":
            first = c.effect
        else:
            second = c.effect
        found[c.a, c.b] = first, second
    return {pair: effects for pair, effects in found.items() if np.isfinite([e.value for e in effects]).any()}


def _limits(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
