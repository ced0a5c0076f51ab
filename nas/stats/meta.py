"""Effects of several studies summarised with a variance between studies, and groups ranked over data sets."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats, ranks

NORMAL = NormalDist()
PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Summary:
    """Mean effect over studies, each of which has an effect of its own.

    mean: with its 95 % interval. p: that the mean is zero. between: standard deviation of the effects between
    studies (Paule and Mandel, 1982). prediction: limits of the effect in a new study (Higgins, Thompson and
    Spiegelhalter, 2009), 95 % but for few studies, unknown below three. studies: how many there are.
    """

    mean: Estimate
    p: float
    between: float
    prediction: Estimate
    studies: int


def random_effects(effects: Floats, errors: Floats) -> Summary:
    """Summarise effects (studies,) with their standard errors; those that are not finite are left out.

    The interval is that of Hartung and Knapp (2001), or the normal one where that is wider: few studies that
    agree by chance would else narrow it to nothing. Estimates are unknown below two studies.
    """
    from scipy.special import stdtr, stdtrit

    known = np.isfinite(effects) & np.isfinite(errors) & (errors > 0)
    y, variance, count = effects[known], errors[known] ** 2, int(known.sum())
    if count < 2:
        return Summary(UNKNOWN, float("nan"), float("nan"), UNKNOWN, count)
    between = _between(y, variance)
    weight = 1 / (variance + between)
    mean = float(weight @ y / weight.sum())
    error = sqrt(1 / weight.sum())
    knapp = error * sqrt(float(weight @ (y - mean) ** 2 / (count - 1)))
    half = max(float(stdtrit(count - 1, 0.975)) * knapp, NORMAL.inv_cdf(0.975) * error)
    p = 2 * NORMAL.cdf(-abs(mean) / error)
    if knapp > 0:
        p = max(p, float(2 * stdtr(count - 1, -abs(mean / knapp))))
    return Summary(
        Estimate(mean, mean - half, mean + half),
        p,
        sqrt(between),
        _prediction(mean, error, between, count),
        count,
    )


def _between(y: Floats, variance: Floats) -> float:
    """The variance between studies at which the weighted squares have their expectation (bisection)."""

    def excess(between: float) -> float:
        weight = 1 / (variance + between)
        return float(weight @ (y - weight @ y / weight.sum()) ** 2) - (len(y) - 1)

    if excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, float(np.ptp(y) ** 2) * len(y)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


def _prediction(mean: float, error: float, between: float, count: int) -> Estimate:
    from scipy.special import stdtrit

    if count < 3:
        return UNKNOWN
    half = float(stdtrit(count - 2, 0.975)) * sqrt(error**2 + between)
    return Estimate(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Ranking:
    """Groups ranked on several data sets (Demšar, 2006).

    ranks: mean rank of each group, 1 being the lowest. p: Friedman's test that all groups rank alike, by
    permutations, as its approximations are far off for few data sets. critical: difference of mean ranks from
    which on two groups are separated at 5 % (Nemenyi). sets: data sets.
    """

    ranks: Floats
    p: float
    critical: float
    sets: int

    def separated(self, a: int, b: int) -> bool:
        """Whether two groups differ by the critical difference, given that Friedman's test is significant."""
        return self.p < 0.05 and abs(float(self.ranks[a] - self.ranks[b])) >= self.critical


def friedman(values: Floats, *, seed: int = 0) -> Ranking:
    """Rank the groups of values (data sets, groups) in each data set; unknown below two of either."""
    from scipy.stats import studentized_range

    sets, groups = values.shape
    own = np.array([ranks(row) + 1 for row in values])
    means = own.mean(axis=0)
    if sets < 2 or groups < 2:
        return Ranking(means, float("nan"), float("nan"), sets)
    rng = np.random.default_rng(seed)
    shuffled = np.zeros((PERMUTATIONS, groups))
    for row in own:
        shuffled += rng.permuted(np.tile(row, (PERMUTATIONS, 1)), axis=1) / sets
    exceed = shuffled.var(axis=1) >= means.var() - 1e-9
    quantile = float(studentized_range.ppf(0.95, groups, np.inf)) / sqrt(2)
    critical = quantile * sqrt(groups * (groups + 1) / (6 * sets))
    return Ranking(means, float((1 + exceed.sum()) / (1 + PERMUTATIONS)), critical, sets)
