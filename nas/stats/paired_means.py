"""Means of paired differences over contexts: intervals, tests and equivalence, for many contrasts at once.

Two tests are made of each mean, and the larger p counts. Random sign flips are exact where differences are
symmetric; a studentised bootstrap (bootstrap-t; Davison and Hinkley, 1997) follows their skewness, which
sign flips do not see, as far as a sample shows it. The interval holds every mean that either test does not
reject, so it excludes zero exactly where p is below 0.05.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.stats.estimate import Estimate
from nas.stats.resampling import CHUNK, Floats, bootstrap_counts

Mask = NDArray[np.bool_]

RESAMPLES = 4000
"""Bootstrap samples unless a family of many tests asks for more."""

FLIPS = 10_000
"""Random halves of the contexts; all of them are tried where there are no more."""

TAIL = 2.5
"""Widening of a limit, in units of the skewness of the mean. With it the intervals on published tables of
trainings, whose differences have a skewness of 3 to 7, cover 90 to 97 % from 20 contexts on; without it 86
to 95 %. It changes nothing without skewness."""

TINY = 1e-12


@dataclass(frozen=True)
class PairedMeans:
    """Results of `paired_means`, one entry per column of differences: the mean `value` with the limits `low`
    and `high` of its 95 % interval, `p` of a mean of zero, `p_equivalent` of a mean beyond the margin,
    the standard deviation `sd` and the `skewness` of the differences, and how many there are. NaN where
    fewer than three differences are known."""

    value: Floats
    low: Floats
    high: Floats
    p: Floats
    p_equivalent: Floats
    sd: Floats
    skewness: Floats
    count: Floats

    def estimate(self, column: int) -> Estimate:
        """The mean of one column with its limits."""
        return Estimate(float(self.value[column]), float(self.low[column]), float(self.high[column]))


def paired_means(
    differences: Floats, margin: float, rng: np.random.Generator, resamples: int = RESAMPLES
) -> PairedMeans:
    """Estimate and test the mean of each column of `differences` (contexts, contrasts).

    Args:
        differences: One row per context, drawn independently; NaN where a context lacks the contrast.
        margin: Smallest effect of interest, in the unit of the differences; a mean shown to lie within plus
            and minus this margin is equivalent to zero (two one-sided tests, TOST).
        rng: Source of the resamples, which all columns share.
        resamples: Bootstrap samples.
    """
    known = np.isfinite(differences)
    count = known.sum(axis=0).astype(float)
    filled = np.where(known, differences, 0.0)
    value = np.where(count > 0, filled.sum(axis=0) / np.maximum(count, 1), np.nan)
    centred = np.where(known, differences - value, 0.0)
    variance = (centred**2).sum(axis=0) / np.maximum(count - 1, 1)
    constant = np.sqrt(variance) <= TINY * np.maximum(np.abs(value), 1.0)
    sd = np.where(count > 2, np.where(constant, 0.0, np.sqrt(variance)), np.nan)
    se = sd / np.sqrt(np.maximum(count, 1))
    pivots, subsets = _bootstrap_t(centred, known, resamples, rng), _subset_means(filled, known, rng)
    pivots[:, constant] = 0.0
    limits = _quantiles(subsets), value - _quantiles(pivots)[::-1] * se  # of the two tests

    skewness = _skewness(centred, count, variance)
    below, above = _stretch(-skewness, count), _stretch(skewness, count)

    def tails(mean: float) -> tuple[Floats, Floats]:
        """One-sided p of a mean at or above and of one at or below this."""
        at = value + (mean - value) / np.where(mean > value, above, below)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(value == at, 0.0, (value - at) / se)
        low, high = _share(pivots, "<=", t), _share(pivots, ">=", t)
        return np.fmax(low, _share(subsets, ">=", at)), np.fmax(high, _share(subsets, "<=", at))

    enough = count > 2
    low, high = np.fmin(limits[0][0], limits[1][0]), np.fmax(limits[0][1], limits[1][1])
    return PairedMeans(
        value=value,
        low=np.where(enough, value - below * (value - low), np.nan),
        high=np.where(enough, value + above * (high - value), np.nan),
        p=np.where(enough, np.minimum(2 * np.minimum(*tails(0.0)), 1.0), np.nan),
        p_equivalent=np.where(enough, np.maximum(tails(margin)[0], tails(-margin)[1]), np.nan),
        sd=sd,
        skewness=skewness,
        count=count,
    )


def _bootstrap_t(centred: Floats, known: Mask, resamples: int, rng: np.random.Generator) -> Floats:
    """Studentised means of resampled contexts, (resamples, contrasts); NaN without spread. A context that
    is drawn brings all its contrasts."""
    contexts, contrasts = centred.shape
    if not contexts:
        return np.full((1, contrasts), np.nan)
    step = max(1, CHUNK // max(contexts, contrasts))
    weights = known.astype(float)
    parts = [
        _studentised(counts @ weights, counts @ centred, counts @ centred**2)
        for counts in bootstrap_counts(contexts, resamples, step, rng)
    ]
    return np.concatenate(parts)


def _studentised(count: Floats, first: Floats, second: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = first / count
        variance = (second - first * mean) / (count - 1)
        t = mean / np.sqrt(variance / count)
    return np.where((count > 2) & (variance > TINY * second / np.maximum(count, 1)), t, np.nan)


def _stretch(skewness: Floats, count: Floats) -> Floats:
    """Factor by which the limit on the side of a long tail is moved out: a small sample holds too little of
    such a tail. Skewness within its own standard error moves nothing."""
    n = np.maximum(count, 1)
    beyond = np.maximum(np.nan_to_num(skewness) - np.sqrt(6 / n), 0)
    return np.asarray(1 + TAIL * beyond / np.sqrt(n))


def _share(drawn: Floats, side: str, bound: Floats | float) -> Floats:
    """Share of the draws of each column on one side of a bound, what was observed among them."""
    beyond = drawn <= bound if side == "<=" else drawn >= bound
    return np.asarray((1 + beyond.sum(axis=0)) / (1 + np.isfinite(drawn).sum(axis=0)))


def _quantiles(t: Floats) -> Floats:
    """The 2.5 and 97.5 % quantiles of each column that has any value, (2, contrasts)."""
    found = np.full((2, t.shape[1]), np.nan)
    some = np.isfinite(t).any(axis=0)
    if some.any():
        found[:, some] = np.nanquantile(t[:, some], [0.025, 0.975], axis=0)
    return found


def _subset_means(filled: Floats, known: Mask, rng: np.random.Generator) -> Floats:
    """Means of random halves of the contexts, (flips, contrasts). A mean is rejected by sign flips where
    too few halves have a mean on the other side of it (Hartigan's typical values), so that the quantiles
    of these means are the limits of the interval that belongs to the test."""
    weights = known.astype(float)
    parts = []
    for half in _halves(len(filled), rng):
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append((half @ filled) / (half @ weights))
    return np.concatenate(parts)


def _halves(contexts: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Random subsets of the contexts as rows of 0 and 1, some at a time: all where they are few."""
    if 2**contexts <= FLIPS:
        yield (np.arange(1, 2**contexts)[:, None] >> np.arange(contexts) & 1).astype(float)
        return
    step = max(1, CHUNK // contexts)
    for start in range(0, FLIPS, step):
        yield rng.integers(2, size=(min(step, FLIPS - start), contexts), dtype=np.int8).astype(float)


def _skewness(centred: Floats, count: Floats, variance: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        third = (centred**3).sum(axis=0) / count
        return np.where((count > 2) & (variance > 0), third / variance**1.5, np.nan)
