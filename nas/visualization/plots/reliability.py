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


@in_style
def repeats_figure(repeats: Repeats, types: Sequence[str] = ()) -> Figure:
    """Draw one training against another of the same network."""
    figure, axes = canvas()
    _scatter(axes, repeats.first, repeats.second, repeats.types, types)
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
    figure, axes = canvas()
    _scatter(axes, fidelity.short, fidelity.long, fidelity.types, types)
    axes.set_title(f"{_rho(fidelity.correlation)}, {len(fidelity.short)} networks", fontsize=9, loc="left")
    axes.set_xlabel(f"error at {count(fidelity.epochs, 'epoch')}, %")
    axes.set_ylabel(f"error at {count(fidelity.longer, 'epoch')}, %")
    return figure


def _scatter(axes: Axes, x: Floats, y: Floats, kinds: Sequence[str], types: Sequence[str]) -> None:
    own = np.array(kinds)
    for name, look in looks(kinds, types).items():
        at = own == name
        dots(axes, scale("error", x[at]), scale("error", y[at]), look, name, among=len(x))
    axes.legend(loc="upper left")


def _rho(estimate: Estimate) -> str:
    if np.isnan(estimate.value):
        return "too few networks for a correlation"
    return f"rank correlation {estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
