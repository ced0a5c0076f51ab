"""Linear effects with other columns held constant, and smooth functions to hold constant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats, Ints

EDGES = (0.05, 0.95)
"""Quantiles at which the outer knots of a spline lie; beyond them it is a straight line."""

TINY = 1e-9
"""Share of a column's spread below which other columns are said to explain all of it."""


@dataclass(frozen=True)
class Effect:
    """Slope of one column, all others held constant.

    error: standard error, robust to unequal spread (HC3; Long and Ervin, 2000), on `freedom` degrees of
    freedom. unexplained: share of the column's variance that the others do not explain, adjusted for their
    number, so that n rows tell as much of the slope as n * unexplained rows would without them. left: rows
    less the parameters of the fit.
    """

    value: float
    error: float
    freedom: float
    unexplained: float
    left: int

    @property
    def p(self) -> float:
        """Two-sided p that the slope is zero; NaN where it cannot be estimated."""
        from scipy.special import stdtr

        if not self.error > 0:
            return float("nan")
        return float(2 * stdtr(self.freedom, -abs(self.value / self.error)))

    @property
    def estimate(self) -> Estimate:
        """The slope with the limits of its 95 % interval."""
        from scipy.special import stdtrit

        if np.isnan(self.value):
            return UNKNOWN
        half = float(stdtrit(self.freedom, 0.975)) * self.error
        return Estimate(self.value, self.value - half, self.value + half)


NO_EFFECT = Effect(float("nan"), float("nan"), float("nan"), 0.0, 0)


def partial_effect(y: Floats, x: Floats, others: Floats, base: int = 1) -> Effect:
    """Slope of y (n,) on x (n,) with the columns `others` (n, k) held constant (Frisch and Waugh, 1933).

    The constant belongs into `others`, whose first `base` columns are those that `unexplained` leaves out of
    the count. `NO_EFFECT` where the others explain all of x, or no rows are left to estimate the error.
    """
    first, basis = _orthonormal(others[:, :base]), _orthonormal(others)
    own, rest = _residual(x, basis), _residual(y, basis)
    spread, left = float(own @ own), len(y) - basis.shape[1] - 1
    if left < 1 or not spread > TINY * float(x @ x):
        return NO_EFFECT
    residual = rest - own * float(own @ rest / spread)
    leverage = (basis**2).sum(axis=1) + own**2 / spread
    effect = _robust(own / spread, rest, residual, leverage, left)
    whole = _residual(x, first)
    unexplained = spread / float(whole @ whole) * (len(y) - first.shape[1]) / (left + 1)
    return replace(effect, unexplained=min(1.0, unexplained))


def slopes(y: Floats, columns: Floats, contrasts: Floats, cluster: Ints) -> list[Effect]:
    """Weighted sums (k, p) `contrasts` of the slopes of y (n,) on `columns` (n, p), the constant among these.

    cluster: (n,), numbers what was drawn independently; standard errors are robust to what its rows share.
    `NO_EFFECT` for a sum that the columns do not determine; `unexplained` is not computed and is 1.
    """
    left, values, right = np.linalg.svd(columns, full_matrices=False)
    kept = values > TINY * values.max(initial=0.0)
    basis, loadings = left[:, kept], right[kept] / values[kept, None]
    residual, leverage = _residual(y, basis), (basis**2).sum(axis=1)
    known = np.abs(contrasts - (contrasts @ right[kept].T) @ right[kept]).max(axis=1) < 1e-6
    weights = basis @ (loadings @ contrasts.T)
    effects, freedom = [], len(y) - int(kept.sum())
    for weight, determined in zip(weights.T, known, strict=True):
        if determined and freedom > 0:
            effects.append(_robust(weight, y, residual, leverage, freedom, cluster))
        else:
            effects.append(NO_EFFECT)
    return effects


def mean_of(values: Floats, cluster: Ints) -> Estimate:
    """Mean of values (n,) with its 95 % interval, robust to what values of one cluster (n,) share; without
    limits below two clusters."""
    if len(np.unique(cluster)) < 2:
        return Estimate(float(values.mean()), float("nan"), float("nan")) if len(values) else UNKNOWN
    return slopes(values, np.ones((len(values), 1)), np.ones((1, 1)), cluster)[0].estimate


def _robust(
    weight: Floats, y: Floats, residual: Floats, leverage: Floats, left: int, cluster: Ints | None = None
) -> Effect:
    """The effect `weight` @ y of a fit with these residuals and leverages and so many rows left over."""
    free = np.maximum(1 - leverage, TINY)
    scores = weight * residual / free * (leverage < 1 - TINY)
    shares, rows, most = weight**2, len(y), left
    if cluster is not None:
        scores = np.bincount(cluster, weights=scores).astype(float)
        shares = np.bincount(cluster, weights=shares).astype(float)
        rows = len(np.unique(cluster))
        most = min(left, rows - 1)
    equal = float(shares.sum() ** 2 / (shares**2).sum())  # rows that would weigh as much if all weighed alike
    freedom = min(most, max(1.0, equal * left / len(y)))
    return Effect(float(weight @ y), float(np.sqrt(scores @ scores)), freedom, 1.0, left)


def smooth(values: Floats, degrees: int) -> Floats:
    """Columns (n, at most `degrees`) whose sums are the smooth functions of values (n,).

    Natural cubic splines with knots at quantiles (Hastie, Tibshirani and Friedman, 2009, section 5.2), or an
    indicator for each value but the first where there are no more than `degrees` + 1 of them.
    """
    distinct = np.unique(values)
    if len(distinct) <= degrees + 1:
        return np.asarray(values[:, None] == distinct[1:], float)
    x = (values - values.mean()) / values.std()
    knots = np.unique(np.quantile(x, np.linspace(*EDGES, degrees + 1)))
    if len(knots) < 3:
        return np.asarray(x[:, None])
    cubes = np.maximum(x[:, None] - knots, 0) ** 3
    bent = (cubes[:, :-1] - cubes[:, -1:]) / (knots[-1] - knots[:-1])
    columns: Floats = np.column_stack([x, bent[:, :-1] - bent[:, -1:]])
    return columns


def _orthonormal(columns: Floats) -> Floats:
    """An orthonormal basis of what the columns span, fewer where some depend on others."""
    size = np.sqrt((columns**2).sum(axis=0))
    left, values, _ = np.linalg.svd(columns[:, size > 0] / size[size > 0], full_matrices=False)
    return np.asarray(left[:, values > TINY * values.max(initial=0.0)])


def _residual(values: Floats, basis: Floats) -> Floats:
    return np.asarray(values - basis @ (basis.T @ values))
