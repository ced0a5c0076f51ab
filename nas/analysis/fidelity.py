"""Agreement between rungs of successive halving on the networks that reached both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.reliability import RESAMPLES, Fidelity
from nas.analysis.table import dominating_type
from nas.formatting import UNLIMITED, table_of, to_text
from nas.stats.estimate import Estimate
from nas.stats.ranks import BEST, agreement

if TYPE_CHECKING:
    from nas.study.run import Run

SELECTED = (
    "Only promoted networks reach a higher rung, and the best of a rung are harder to rank than all of it: "
    "over all networks the agreement is mostly higher. (1 + tau) / 2 of all pairs keep their order."
)


def rungs_of(run: Run, *, seed: int = 0) -> tuple[Fidelity, ...]:
    """Return the agreement of each rung with the next, then of the first with the last; () without rungs."""
    rungs = run.config.fidelity
    pairs = [*pairwise(rungs), *([(rungs[0], rungs[-1])] if len(rungs) > 2 else ())]
    return tuple(_fidelity(run, short, long, seed) for short, long in pairs)


def _fidelity(run: Run, short: int, long: int, seed: int) -> Fidelity:
    """Compare two rungs over the trials that did not fail, each training once."""
    both = [
        trial
        for trial in run.study.trials
        if trial.state != "failed" and trial.duplicate_of is None and len(trial.curve) >= long
    ]
    errors = np.array([[trial.curve[epochs - 1]["val_error"] for epochs in (short, long)] for trial in both])
    x, y = errors.reshape(-1, 2).T
    contexts = [trial.proposal.design.get("context", f"trial {trial.number}") for trial in both]
    numbers = {context: number for number, context in enumerate(dict.fromkeys(contexts))}
    cluster = np.array([numbers[context] for context in contexts], np.intp)
    types = tuple(dominating_type(trial.genotype.module_types) for trial in both)
    alike = agreement(x, y, RESAMPLES, np.random.default_rng(seed), cluster)
    return Fidelity(short, long, x, y, types, alike)


def rungs_text(fidelities: Sequence[Fidelity], width: int = UNLIMITED) -> str:
    """Return the agreement as a table with one row per pair of rungs."""
    table = table_of(
        "epochs", "networks>", "rank correlation", "Kendall's tau", f"overlap of the best {BEST:.0%}"
    )
    for fidelity in fidelities:
        alike = fidelity.agreement
        figures = map(_limits, (alike.rho, alike.tau, alike.top))
        table.add_row(f"{fidelity.epochs} and {fidelity.longer}", str(len(fidelity.short)), *figures)
    return to_text("Agreement of the errors at two rungs", table, SELECTED, width=width)


def _limits(estimate: Estimate) -> str:
    """`0.80 [0.70, 0.90]`, without limits where they are not known."""
    if math.isnan(estimate.value):
        return "not known"
    limits = "" if math.isnan(estimate.low) else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{limits}"


def rungs_list(fidelities: Sequence[Fidelity]) -> list[dict[str, Any]]:
    """Return the rungs as JSON, estimates as [value, low, high]; None for unknown values."""
    return [
        {
            "epochs": fidelity.epochs,
            "longer": fidelity.longer,
            "networks": len(fidelity.short),
            "rank_correlation": _triple(fidelity.agreement.rho),
            "kendall_tau": _triple(fidelity.agreement.tau),
            "top_overlap": _triple(fidelity.agreement.top),
            "top_networks": fidelity.agreement.best,
        }
        for fidelity in fidelities
    ]


def _triple(estimate: Estimate) -> list[float | None] | None:
    if math.isnan(estimate.value):
        return None
    return [None if math.isnan(x) else x for x in (estimate.value, estimate.low, estimate.high)]
