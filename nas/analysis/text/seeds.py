"""The front over training seeds, as columns and sentences for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from nas.analysis.seeds import LEVEL, RESAMPLES, Repeated, budget_correlation
from nas.formatting import count, interval
from nas.stats.estimate import Estimate, finite

MARK = "*"


def seeds_dict(budgets: Sequence[Repeated], epochs: int) -> list[dict[str, Any]]:
    """Return one object per budget; `rank_correlation` is with the budget of the search, `epochs`, where
    that is shorter. What is not known is None."""
    return [
        {
            "epochs": budget.epochs,
            "seeds": budget.seeds,
            "members": [
                {
                    "trial": member.trial.number,
                    "errors": list(member.errors),
                    "failed": member.failed,
                    "mean": finite(member.error.value),
                    "low": finite(member.error.low),
                    "high": finite(member.error.high),
                    "front_share": finite(member.front_share),
                    "depends_on_seed": member.depends,
                }
                for member in budget.members
            ],
            "rank_correlation": _correlation_dict(budgets, budget, epochs),
        }
        for budget in budgets
    ]


def seeds_columns(budgets: Sequence[Repeated]) -> list[tuple[str, Mapping[int, str]]]:
    """Return columns of a table with one cell per trial: mean error with interval, share of fronts."""
    columns: list[tuple[str, Mapping[int, str]]] = []
    for budget in budgets:
        errors = {
            m.trial.number: interval(m.error) + _incomplete(len(m.errors), m.failed, budget.seeds)
            for m in budget.members
        }
        columns.append((f"{count(budget.epochs, 'epoch')}, {count(budget.seeds, 'seed')}", errors))
        if not any(math.isnan(m.front_share) for m in budget.members):
            shares = {
                m.trial.number: f"{m.front_share:.0%} {MARK if m.depends else ' '}" for m in budget.members
            }
            columns.append(("on front>", shares))
    return columns


def seeds_notes(budgets: Sequence[Repeated], epochs: int) -> list[str]:
    """Return what the columns mean and what they do not show; [] without trainings."""
    if not budgets:
        return []
    notes = [
        "The further columns are means over new training seeds, the same for every network, with 95 % "
        "intervals by Student's t."
    ]
    for budget in budgets:
        if budget.epochs == epochs:
            notes.append(_shift(budget))
    if any(budget.seeds < 2 for budget in budgets):
        notes.append("One seed gives no interval; --reseed 3 or more does.")
    if any(member.depends for budget in budgets for member in budget.members):
        notes.append(
            f"{MARK} The place depends on the seed: with seeds resampled {RESAMPLES:,} times, the network is "
            f"on fewer than {LEVEL:.0%} of the fronts of these members."
        )
    notes += [_correlation_text(budgets, budget, epochs) for budget in budgets if budget.epochs > epochs]
    return notes


def _shift(budget: Repeated) -> str:
    """Return how far the search's own errors flattered the networks that it chose by them."""
    changes = [m.error.value - m.trial.objective("error") for m in budget.members if m.errors]
    mean = fmean(changes) if changes else 0.0
    way = "higher" if mean > 0 else "lower"
    return (
        "The search's own trainings are left out, as the members were chosen by them: over the new seeds "
        f"errors are {abs(100 * mean):.2f} points {way} on average."
    )


def _incomplete(known: int, failed: int, seeds: int) -> str:
    if known == seeds:
        return ""
    return f" ({failed} of {seeds} failed)" if known + failed == seeds else f" ({known} of {seeds} seeds)"


def _correlation(budgets: Sequence[Repeated], longer: Repeated, epochs: int) -> tuple[Estimate, int, bool]:
    """Correlate a longer budget with that of the search, by its means over seeds where there are such, else
    by its own errors: the estimate, the networks, and whether means were used."""
    short = next((budget for budget in budgets if budget.epochs == epochs), None)
    means = {m.trial.digest: m.error.value for m in short.members} if short else {}
    pairs = [
        (means.get(m.trial.digest, m.trial.objective("error")), m.error.value)
        for m in longer.members
        if m.errors
    ]
    x, y = zip(*pairs, strict=True) if pairs else ((), ())
    return budget_correlation(x, y), len(pairs), short is not None


def _correlation_dict(budgets: Sequence[Repeated], longer: Repeated, epochs: int) -> dict[str, Any] | None:
    if longer.epochs <= epochs:
        return None
    rho, networks, means = _correlation(budgets, longer, epochs)
    figures = {name: finite(value) for name, value in asdict(rho).items()}
    return {"epochs": epochs, **figures, "networks": networks, "means_over_seeds": means}


def _correlation_text(budgets: Sequence[Repeated], longer: Repeated, epochs: int) -> str:
    rho, networks, means = _correlation(budgets, longer, epochs)
    what = f"Rank correlation of errors between {epochs} and {longer.epochs} epochs"
    if math.isnan(rho.value):
        return f"{what}: not known; 3 members are needed."
    source = "both are means over seeds" if means else f"at {epochs} it is the search's own error"
    return (
        f"{what}: {rho.value:+.2f} [{rho.low:+.2f}, {rho.high:+.2f}] over {networks} members, by bootstrap "
        f"over them; {source}."
    )
