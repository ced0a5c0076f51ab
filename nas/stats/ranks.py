"""Agreement of the rankings by two measurements of the same networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats, Ints, ranks

BEST = 0.1
"""Part of the networks that counts as the best."""

MOST_PAIRS = 2_000_000
"""Pairs of values over all resamples: more networks need fewer resamples for the same limits."""

FEWEST = 200
"""Resamples of the largest samples."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of two rankings, each with the limits of a 95 % interval.

    rho: Spearman's rank correlation. tau: Kendall's tau-b; (1 + tau) / 2 is the share of pairs that both put
    in the same order. top: share of the `best` networks of the first ranking that are among the best of the
    second; without any agreement it is `BEST`.
    """

    rho: Estimate
    tau: Estimate
    top: Estimate
    best: int


def agreement(
    x: Floats, y: Floats, resamples: int, rng: np.random.Generator, cluster: Ints | None = None
) -> Agreement:
    """Compare the rankings of networks by x and by y (n,), low values being the best.

    Intervals are by bootstrap over clusters: `cluster` (n,) numbers what was drawn independently, by default
    each network. Estimates are unknown below 3 networks, and without limits below 3 clusters.
    """
    best = max(1, ceil(BEST * len(x)))
    if len(x) < 3:
        return Agreement(UNKNOWN, UNKNOWN, UNKNOWN, best)
    number = np.arange(len(x)) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    members = [np.flatnonzero(number == at) for at in range(int(number.max()) + 1)]
    draws = (
        _draws(members, min(resamples, max(FEWEST, MOST_PAIRS // len(x))), rng) if len(members) > 2 else []
    )
    measures = (_rho, _tau, _top)
    rho, tau, top = (_estimate(measure, x, y, draws) for measure in measures)
    return Agreement(rho, tau, top, best)


def _draws(members: list[Ints], resamples: int, rng: np.random.Generator) -> list[Ints]:
    """The rows of each resample of the clusters."""
    chosen = rng.integers(len(members), size=(resamples, len(members)))
    return [np.concatenate([members[at] for at in row]) for row in chosen]


def _estimate(
    measure: Callable[[Floats, Floats], float], x: Floats, y: Floats, draws: list[Ints]
) -> Estimate:
    value = measure(x, y)
    if not draws:
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile([measure(x[at], y[at]) for at in draws], [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _rho(x: Floats, y: Floats) -> float:
    a, b = (ranks(values) - (len(values) - 1) / 2 for values in (x, y))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm else 0.0


def _tau(x: Floats, y: Floats) -> float:
    from scipy.stats import kendalltau

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(kendalltau(x, y, method="asymptotic").statistic)


def _top(x: Floats, y: Floats) -> float:
    best = max(1, ceil(BEST * len(x)))
    first, second = (np.argsort(values, kind="stable")[:best] for values in (x, y))
    return len(np.intersect1d(first, second)) / best
