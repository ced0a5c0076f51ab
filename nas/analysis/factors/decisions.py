"""Error against each decision: its options alone and with all other decisions held constant, and the options
that the best networks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.factors.encoding import Decision, encode
from nas.analysis.table import distinct_networks
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.regression import mean_of, slopes
from nas.stats.resampling import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 1000
QUARTER = 0.25
"""Part of the networks in a draw of the empirical bootstrap (Radosavovic et al., 2020)."""

MIN_FREEDOM = 20
"""Networks beyond the number of options that partial dependence needs."""


@dataclass(frozen=True)
class Option:
    """One option of a decision.

    networks: distinct ones that took it. error: their mean error; intervals are over contexts if networks are
    paired. partial: partial dependence, the mean error if every network with this decision took the option
    and all its other decisions stayed (additive model). best: share of the draws of a quarter of the networks
    whose best network took it.
    """

    value: Any
    networks: int
    error: Estimate
    partial: Estimate
    best: float


@dataclass(frozen=True)
class DecisionEffect:
    """A decision by its path, its options in ascending order.

    errors: of the networks by option, for a plot. range: median of the best value with the limits that hold
    95 % of the draws (the empirical bootstrap); unknown where the options are no numbers.
    """

    path: str
    options: tuple[Option, ...]
    errors: tuple[Floats, ...]
    range: Estimate

    @property
    def spread(self) -> float:
        """Difference of the mean errors of its best and its worst option; 0 with one option alone."""
        means = [option.error.value for option in self.options if option.networks > 1]
        return max(means) - min(means) if means else 0.0


def decision_effects(trials: pd.DataFrame, *, seed: int = 0) -> tuple[DecisionEffect, ...]:
    """Describe the decisions of distinct complete networks, the one whose options differ most first.

    trials: with the columns of `nas.analysis.table.trial_table`. Returns () if no trial is complete, or no
    decision is recorded or varies.
    """
    if "decisions" not in trials:
        return ()
    networks = distinct_networks(trials)
    if not len(networks):
        return ()
    decisions = encode(list(networks["decisions"]))
    error = networks["error"].to_numpy(float)
    rng = np.random.default_rng(seed)
    winners = _winners(error, rng)
    cluster = networks["cluster"].to_numpy(np.intp)
    partial = _partial_dependence(decisions, error, cluster)
    effects = [_effect(path, decisions[path], error, cluster, winners, partial[path]) for path in decisions]
    return tuple(sorted(effects, key=lambda effect: (-effect.spread, effect.path)))


def _winners(error: Floats, rng: np.random.Generator) -> Ints:
    """Return the best network of each draw of a quarter of the networks."""
    drawn = rng.integers(len(error), size=(RESAMPLES, max(1, ceil(QUARTER * len(error)))))
    return np.asarray(drawn[np.arange(RESAMPLES), error[drawn].argmin(axis=1)])


def _effect(
    path: str,
    decision: Decision,
    error: Floats,
    cluster: Ints,
    winners: Ints,
    partial: Sequence[Estimate],
) -> DecisionEffect:
    order = sorted(range(len(decision.options)), key=lambda at: _ascending(decision.options[at]))
    taken = decision.level[winners]
    rows = [np.flatnonzero(decision.level == at) for at in order]
    options = tuple(
        Option(
            decision.options[at],
            len(own),
            mean_of(error[own], cluster[own]),
            partial[at],
            float((taken == at).mean()),
        )
        for at, own in zip(order, rows, strict=True)
    )
    return DecisionEffect(path, options, tuple(error[own] for own in rows), _range(decision.options, taken))


def _ascending(option: Any) -> tuple[bool, float, str]:
    number = isinstance(option, (int, float))
    return not number, float(option) if number else 0.0, str(option)


def _range(options: Sequence[Any], taken: Ints) -> Estimate:
    """Return median and 95 % range of the best value, over the draws in which the decision came up."""
    open_draws = taken[taken >= 0]
    if not len(open_draws) or not all(type(option) in (int, float) for option in options):
        return UNKNOWN
    values = np.array(options, float)[open_draws]
    low, value, high = np.quantile(values, [0.025, 0.5, 0.975], method="nearest")
    return Estimate(float(value), float(low), float(high))


def _partial_dependence(
    decisions: Mapping[str, Decision], error: Floats, cluster: Ints
) -> dict[str, list[Estimate]]:
    """Estimate, for each option, the mean error if all networks with the decision took it.

    The additive model is fitted by least squares with robust errors (HC3), because ridge shrinks effects
    and gives no honest interval. Estimates are unknown if there are too few networks for the options.
    """
    sizes = [len(decision.options) for decision in decisions.values()]
    if len(error) < 1 + sum(sizes) + MIN_FREEDOM:
        return {path: [UNKNOWN] * size for path, size in zip(decisions, sizes, strict=True)}
    ends = np.cumsum([0, *sizes])
    columns, contrasts = [np.ones((len(error), 1))], np.zeros((ends[-1], 1 + ends[-1]))
    for start, size, decision in zip(ends[:-1], sizes, decisions.values(), strict=True):
        is_open = decision.level >= 0
        taken = np.bincount(decision.level[is_open], minlength=size) / is_open.sum()
        # Centred on the networks with the decision, so its effect excludes that of what opened it.
        columns.append(((decision.level[:, None] == range(size)) - taken) * is_open[:, None])
        contrasts[start : start + size, 1 + start : 1 + start + size] = np.eye(size) - taken
    effects = [effect.estimate for effect in slopes(error, np.hstack(columns), contrasts, cluster)]
    return {
        path: _around(decision, error, effects[start : start + size])
        for start, size, (path, decision) in zip(ends[:-1], sizes, decisions.items(), strict=True)
    }


def _around(decision: Decision, error: Floats, effects: Sequence[Estimate]) -> list[Estimate]:
    """Return effects as errors, around the mean of the networks with the decision."""
    mean = float(error[decision.level >= 0].mean())
    return [Estimate(mean + effect.value, mean + effect.low, mean + effect.high) for effect in effects]
