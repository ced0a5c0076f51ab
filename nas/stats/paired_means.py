"""Means of paired differences over contexts: intervals, tests and equivalence, for many contrasts at once.

Two tests are made of each mean, and the larger p counts. Random sign flips are exact where differences are
symmetric; a studentised bootstrap (bootstrap-t; Davison and Hinkley, 1997) follows their skewness, which
sign flips do not see. Both take the standard error as better known than it is where differences have long
tails, so their limits are widened by the degrees of freedom that an estimated variance has at the kurtosis
of the sample (Satterthwaite, 1946). The interval holds every mean that either test does not reject, so it
excludes zero exactly where p is below 0.05.

No method sees what a sample lacks: with n contexts, what happens in fewer than 3 / n of them may be unseen.
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
"""Bootstrap samples, unless a family of many tests needs more."""

MOST_DRAWN = 2_000_000
"""Most means that are held of all resamples: more contrasts are treated in parts, to bound the memory."""

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
        """Return the mean of one column with its limits."""
        return Estimate(float(self.value[column]), float(self.low[column]), float(self.high[column]))


def paired_means(
    differences: Floats, margin: float, rng: np.random.Generator, resamples: int = RESAMPLES
) -> PairedMeans:
    """Estimate and test the mean of each column of `differences` (contexts, contrasts).

    Args:
        differences: One row per context, drawn independently; NaN where a context lacks the contrast.
        margin: Smallest effect of interest, in the unit of the differences; a mean shown to lie within plus
            and minus this margin is equivalent to zero (two one-sided tests, TOST).
        rng: Source of the resamples.
        resamples: Bootstrap samples, and random sign flips in pairs of opposites.
    """
    contrasts = differences.shape[1]
    if contrasts > 1 and contrasts * resamples > MOST_DRAWN:
        parts = np.array_split(differences, 2, axis=1)
        halves = [vars(paired_means(part, margin, rng, resamples)) for part in parts]
        return PairedMeans(**{name: np.concatenate([half[name] for half in halves]) for name in halves[0]})
    known = np.isfinite(differences)
    count = known.sum(axis=0).astype(float)
    filled = np.where(known, differences, 0.0)
    value = np.where(count > 0, filled.sum(axis=0) / np.maximum(count, 1), np.nan)
    centred = np.where(known, differences - value, 0.0)
    variance = (centred**2).sum(axis=0) / np.maximum(count - 1, 1)
    constant = np.sqrt(variance) <= TINY * np.maximum(np.abs(value), 1.0)
    sd = np.where(count > 2, np.where(constant, 0.0, np.sqrt(variance)), np.nan)
    se = sd / np.sqrt(np.maximum(count, 1))
    pivots, subsets = (
        _bootstrap_t(centred, known, resamples, rng),
        _subset_means(filled, known, resamples, rng),
    )
    pivots[:, constant] = 0.0
    limits = _quantiles(subsets), value - _quantiles(pivots)[::-1] * se  # of the two tests

    wider = _widening(centred, count)

    def tails(mean: float) -> tuple[Floats, Floats]:
        """Return the one-sided p of a mean at or above this value, and of one at or below it."""
        at = value + (mean - value) / wider
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(value == at, 0.0, (value - at) / se)
        low, high = _share(pivots, "<=", t), _share(pivots, ">=", t)
        return np.fmax(low, _share(subsets, ">=", at)), np.fmax(high, _share(subsets, "<=", at))

    enough = count > 2
    low, high = np.fmin(limits[0][0], limits[1][0]), np.fmax(limits[0][1], limits[1][1])
    return PairedMeans(
        value=value,
        low=np.where(enough, value - wider * (value - low), np.nan),
        high=np.where(enough, value + wider * (high - value), np.nan),
        p=np.where(enough, np.minimum(2 * np.minimum(*tails(0.0)), 1.0), np.nan),
        p_equivalent=np.where(enough, np.maximum(tails(margin)[0], tails(-margin)[1]), np.nan),
        sd=sd,
        skewness=_skewness(centred, count, variance),
        count=count,
    )


def _bootstrap_t(centred: Floats, known: Mask, resamples: int, rng: np.random.Generator) -> Floats:
    """Return studentised means of resampled contexts, (resamples, contrasts); NaN without spread. A context
    that is drawn brings all its contrasts."""
    contexts, contrasts = centred.shape
    if not contexts:
        return np.full((1, contrasts), np.nan)
    step = max(1, CHUNK // max(contexts, contrasts))
    totals = np.concatenate([known.astype(float), centred, centred**2], axis=1)
    parts = [
        _studentised(*np.split(counts @ totals, 3, axis=1))
        for counts in bootstrap_counts(contexts, resamples, step, rng)
    ]
    return np.concatenate(parts)


def _studentised(count: Floats, first: Floats, second: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = first / count
        variance = (second - first * mean) / (count - 1)
        t = mean / np.sqrt(variance / count)
    return np.where((count > 2) & (variance > TINY * second / np.maximum(count, 1)), t, np.nan)


def _widening(centred: Floats, count: Floats) -> Floats:
    """Return the factor that widens the limits of each column: the ratio of the quantiles of Student's t on
    the degrees of freedom of its variance, and on n - 1.

    The variance of an estimated variance is 2 / (n - 1) + kurtosis / n, relative to its square. The kurtosis
    is that in excess of normal tails, corrected for its bias in small samples. The factor is 1 for normal
    tails or shorter ones.
    """
    from scipy.special import stdtrit

    freedom = np.maximum(count - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = (centred**4).sum(axis=0) * count / ((centred**2).sum(axis=0)) ** 2 - 3
        excess = freedom * ((count + 1) * raw + 6) / ((count - 2) * (count - 3))
        known = 2 / (2 / freedom + excess / count)
    known = np.where((count > 3) & (known > 0) & (known < freedom), known, freedom)
    return np.asarray(stdtrit(known, 0.975) / stdtrit(freedom, 0.975))


def _share(drawn: Floats, side: str, bound: Floats | float) -> Floats:
    """Return the share of draws of each column on one side of a bound, counting the observation as a draw."""
    beyond = drawn <= bound if side == "<=" else drawn >= bound
    return np.asarray((1 + beyond.sum(axis=0)) / (1 + np.isfinite(drawn).sum(axis=0)))


def _quantiles(t: Floats) -> Floats:
    """Return the 2.5 and 97.5 % quantiles of each column that has any value, (2, contrasts)."""
    quantiles = np.full((2, t.shape[1]), np.nan)
    some = np.isfinite(t).any(axis=0)
    if some.any():
        quantiles[:, some] = np.nanquantile(t[:, some], [0.025, 0.975], axis=0)
    return quantiles


def _subset_means(filled: Floats, known: Mask, draws: int, rng: np.random.Generator) -> Floats:
    """Return the means of random subsets of the contexts, (subsets, contrasts). A mean is rejected by sign
    flips where too few subsets have a mean on the other side of it (Hartigan's typical values), so that the
    quantiles of these means are the limits of the interval that belongs to the test."""
    columns, weights = filled.shape[1], known.astype(float)
    if known.all():
        weights = weights[:, :1]
    totals = np.concatenate([filled, weights], axis=1)
    parts = []
    for subsets, complete in _subsets(len(filled), draws, rng):
        sums = subsets @ totals
        for part in (sums,) if complete else (sums, totals.sum(axis=0) - sums):
            with np.errstate(divide="ignore", invalid="ignore"):
                parts.append(part[:, :columns] / part[:, columns:])
    return np.concatenate(parts)


def _subsets(contexts: int, draws: int, rng: np.random.Generator) -> Iterator[tuple[Floats, bool]]:
    """Yield subsets of the contexts as rows of 0 and 1, in chunks, and whether they are all there are.
    They are random where there are more than two for each draw, and the rest of each is another."""
    if 2**contexts <= 2 * draws:
        yield (np.arange(1, 2**contexts)[:, None] >> np.arange(contexts) & 1).astype(float), True
        return
    step = max(1, CHUNK // contexts)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        yield rng.integers(2, size=(rows, contexts), dtype=np.int8).astype(float), False


def _skewness(centred: Floats, count: Floats, variance: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        third = (centred**3).sum(axis=0) / count
        return np.where((count > 2) & (variance > 0), third / variance**1.5, np.nan)
