"""Warps of the error: scales on which a Gaussian process models it.

Errors have a heavy upper tail, of networks near chance, and differ most where they are small. No single
scale is the best on every table of trained networks, so callers draw one of `WARPS` for each proposal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas.pareto import Floats

MIN_ERROR = 1e-4
"""Errors are raised to this before their logarithm is taken."""

REFITS = 5
"""Times that the trend is fitted again after clipping what lies above it."""


@dataclass(frozen=True)
class Warped:
    """Errors on another scale.

    values: the warped errors (n,). errors: maps warped values (m, k) of m networks and their log FLOPs (m,)
    to errors. stretch: the variance of the values relative to that of the logarithms they come from."""

    values: Floats
    errors: Callable[[Floats, Floats], Floats]
    stretch: float = 1.0


def log_warp(errors: Floats, log_flops: Floats) -> Warped:
    """Return the logarithms of the errors."""
    return Warped(np.log(np.maximum(errors, MIN_ERROR)), lambda values, sizes: np.exp(values))


def rank_warp(errors: Floats, log_flops: Floats) -> Warped:
    """Return the normal scores of the errors, which no outlier distorts."""
    logs = np.log(np.maximum(errors, MIN_ERROR))
    scores, inverse = _normal_scores(logs)
    return Warped(scores, lambda values, sizes: np.exp(inverse(values)), _stretch(scores, logs))


def residual_rank_warp(errors: Floats, log_flops: Floats) -> Warped:
    """Return the normal scores of what a trend in log FLOPs leaves unexplained of the logarithms."""
    logs = np.log(np.maximum(errors, MIN_ERROR))
    slope, offset = _lower_trend(logs, log_flops)
    rest = logs - slope * log_flops - offset
    scores, inverse = _normal_scores(rest)

    def errors_of(values: Floats, sizes: Floats) -> Floats:
        return np.exp(slope * sizes[:, None] + offset + inverse(values))

    return Warped(scores, errors_of, _stretch(scores, rest))


WARPS = (log_warp, rank_warp, residual_rank_warp)


def _stretch(scores: Floats, values: Floats) -> float:
    return float(scores.var() / values.var()) if values.var() > 0 else 1.0


def _normal_scores(values: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Return normal scores by rank, and the function back, which is linear beyond the lowest value."""
    from scipy.special import ndtri

    ordered, n = np.sort(values), len(values)
    ranks = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    scores = ndtri(ranks / n * (1 - 1 / n) + 0.5 / n)
    knots, first = np.unique(scores, return_index=True)
    known, middle = values[first], len(knots) // 2
    span = knots[middle] - knots[0]
    slope = (known[middle] - known[0]) / span if span > 0 else 0.1

    def inverse(scores: Floats) -> Floats:
        below = known[0] + slope * (scores - knots[0])
        return np.where(scores < knots[0], below, np.interp(scores, knots, known))

    return scores, inverse


def _lower_trend(values: Floats, log_flops: Floats) -> tuple[float, float]:
    """Return slope and offset of a line through the better half: what lies above is clipped to its median."""
    if np.ptp(log_flops) == 0:
        return 0.0, float(np.median(values))
    clipped, slope, offset = values, 0.0, 0.0
    for _ in range(REFITS):
        slope, offset = np.polyfit(log_flops, clipped, 1)
        line = slope * log_flops + offset
        clipped = line + np.minimum(values - line, np.median(values - line))
    return float(slope), float(offset)
