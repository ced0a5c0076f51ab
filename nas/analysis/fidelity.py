"""How the rungs of successive halving rank the networks that came to both of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.reliability import RESAMPLES, Fidelity
from nas.analysis.table import dominating_type
from nas.formatting import WIDTH, count, to_text
from nas.stats.estimate import Estimate
from nas.stats.resampling import rank_correlation

if TYPE_CHECKING:
    from nas.study.run import Run

SELECTED = (
    "Only what was promoted comes to a higher rung, and the best of a rung are harder to rank than all of "
    "it: over all networks the correlation is mostly higher."
)


def rungs_of(run: Run, *, seed: int = 0) -> tuple[Fidelity, ...]:
    """Each rung and the next, then the first and the last; () where the run has no rungs."""
    rungs = run.config.fidelity
    pairs = [*pairwise(rungs), *([(rungs[0], rungs[-1])] if len(rungs) > 2 else ())]
    return tuple(_fidelity(run, short, long, seed) for short, long in pairs)


def _fidelity(run: Run, short: int, long: int, seed: int) -> Fidelity:
    """Over trials that did not fail, each training once."""
    both = [
        trial
        for trial in run.study.trials
        if trial.state != "failed" and trial.duplicate_of is None and len(trial.curve) >= long
    ]
    errors = np.array([[trial.curve[at - 1]["val_error"] for at in (short, long)] for trial in both])
    x, y = errors.reshape(-1, 2).T
    rho = Estimate(*rank_correlation(x, y, RESAMPLES, np.random.default_rng(seed)))
    types = tuple(dominating_type(trial.genotype.module_types) for trial in both)
    return Fidelity(short, long, x, y, types, rho)


def rungs_text(found: Sequence[Fidelity], width: int = WIDTH) -> str:
    """A line for each pair of rungs, and what to make of it."""
    lines = []
    for each in found:
        rho, networks = each.correlation, count(len(each.short), "network")
        figure = "unknown" if math.isnan(rho.value) else f"{rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]"
        lines.append(f"{each.epochs:>3} and {each.longer} epochs: {figure} over {networks}")
    return to_text("Rank correlation of the errors at two rungs", *lines, SELECTED, width=width)


def rungs_list(found: Sequence[Fidelity]) -> list[dict[str, Any]]:
    """The same as JSON; what is not estimable is None."""
    return [
        {
            "epochs": each.epochs,
            "longer": each.longer,
            "networks": len(each.short),
            "rank_correlation": None
            if math.isnan(each.correlation.value)
            else [each.correlation.value, each.correlation.low, each.correlation.high],
        }
        for each in found
    ]
