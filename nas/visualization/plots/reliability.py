"""Reliability of an error: over training seeds, and over longer schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.reliability import Fidelity, Repeats
from nas.formatting import count
from nas.stats.estimate import Estimate
from nas.stats.resampling import Floats
from nas.visualization.plots.style import INK, canvas, dots, in_style, looks, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 4.8
"""Inches of a plot with its legend beside it."""


@in_style
def repeats_figure(repeats: Repeats, types: Sequence[str] = ()) -> Figure:
    """Draw one training against another of the same network."""
    figure, axes = canvas(WIDE)
    _scatter(axes, repeats.first, repeats.second, repeats.types, types)
    figure.legend(loc="outside right upper")
    both = scale("error", np.concatenate([repeats.first, repeats.second]))
    ends = [both.min(), both.max()]
    axes.plot(ends, ends, color=INK, linewidth=0.8, zorder=0.9)
    noise = f"SD between seeds {100 * repeats.seed_sd:.2f} points"
    axes.set_title(f"{_rho(repeats.correlation)}\n{noise}", fontsize=9, loc="left")
    axes.set(xlabel="error of one training, %", ylabel="error of another seed, %")
    return figure


@in_style
def fidelity_figure(fidelity: Fidelity, types: Sequence[str] = ()) -> Figure:
    """Draw a long training against a short one of the same network."""
    figure, axes = canvas(WIDE)
    _scatter(axes, fidelity.short, fidelity.long, fidelity.types, types)
    figure.legend(loc="outside right upper")
    axes.set_title(_agreement(fidelity), fontsize=9, loc="left")
    axes.set_xlabel(f"error at {count(fidelity.epochs, 'epoch')}, %")
    axes.set_ylabel(f"error at {count(fidelity.longer, 'epoch')}, %")
    return figure


def _scatter(axes: Axes, x: Floats, y: Floats, kinds: Sequence[str], types: Sequence[str]) -> None:
    own = np.array(kinds)
    for name, look in looks(kinds, types).items():
        at = own == name
        dots(axes, scale("error", x[at]), scale("error", y[at]), look, name, among=len(x))


def _agreement(found: Fidelity) -> str:
    """The figures of a title, in two lines."""
    alike, networks = found.agreement, count(len(found.short), "network")
    if np.isnan(alike.rho.value):
        return f"{_rho(alike.rho)}\n{networks}"
    best = f"{alike.top.value:.0%} of the best {alike.best} stay the best"
    return f"{_rho(alike.rho)}, tau {alike.tau.value:.2f}\n{networks}; {best}"


def _rho(estimate: Estimate) -> str:
    if np.isnan(estimate.value):
        return "too few networks for a correlation"
    return f"rank correlation {estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
