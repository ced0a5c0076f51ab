"""A Gaussian process over the decisions and the log FLOPs of networks.

The covariance of two networks is a sum: a linear trend in log FLOPs; an additive part, which grows with the
options they share; and a product over decisions and log FLOPs, which models interactions. A decision that
is not asked in a network, because another rules it out, counts as an option of its own. Numeric options are
ordinal: near numbers are alike. Decisions with the same options, such as the module types of all blocks,
also share columns that say how often each option was taken.

All variances, the weight of each column and the noise maximise the marginal likelihood under weak priors
(Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, chapter 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats

MIN_NOISE = 1e-4
"""Smallest variance of the noise, relative to that of the values."""

STEPS = 30
"""Steps of the optimiser of a fit, at most."""

TREND, ADDITIVE, PRODUCT, NOISE = range(4)
"""Places of the log variances among the parameters. After them come the log weights of the columns, log
FLOPs last."""

PRIOR_VARIANCES = (1.0, 0.5, 0.5, 0.02)
PRIOR_DISTANCE = 2.0
"""Sum of the weights of all columns before any trial."""

PRIOR_SIZE_WEIGHT = 0.3
PRIOR_DEVIATIONS = (1.0, 1.5, 1.5, 2.0)
WEIGHT_DEVIATION = 0.7
SIZE_WEIGHT_DEVIATION = 1.0
"""Standard deviations of the log-normal priors."""


@dataclass(frozen=True)
class Encoder:
    """Maps networks to rows of numbers: decisions, shares of options, and log FLOPs in the last column.

    positions: the number of each option, by decision; options of numeric decisions are from 0 to 1, a
    decision that is not asked is -1. groups: options and the decisions that share them. ordinal: which
    columns but the last are numbers, not categories."""

    positions: Mapping[str, Mapping[Any, float]]
    groups: Mapping[tuple[Any, ...], Sequence[str]]
    ordinal: NDArray[np.bool_]

    @classmethod
    def of(cls, domains: Mapping[str, Sequence[Any]]) -> Encoder:
        """Return the encoder of a space with these options by decision."""
        searched = {path: tuple(options) for path, options in domains.items() if len(options) > 1}
        numeric = [all(_is_number(option) for option in options) for options in searched.values()]
        positions = {
            path: _positions(options, number)
            for (path, options), number in zip(searched.items(), numeric, strict=True)
        }
        groups: dict[tuple[Any, ...], list[str]] = {}
        for path, options in searched.items():
            groups.setdefault(options, []).append(path)
        shared = {options: paths for options, paths in groups.items() if len(paths) > 1}
        return cls(positions, shared, np.array(numeric + [True] * len(list(chain(*shared))), dtype=bool))

    def encode(self, decisions: Sequence[Mapping[str, Any]], flops: Sequence[float]) -> Floats:
        """Return a row for each network, (n, columns)."""
        rows = [self._row(chosen) for chosen in decisions]
        sizes = np.log(np.maximum(1.0, np.asarray(flops, dtype=np.float64)))
        return np.column_stack(
            [np.array(rows, dtype=np.float64).reshape(len(rows), len(self.ordinal)), sizes]
        )

    def _row(self, decisions: Mapping[str, Any]) -> list[float]:
        row = [numbers.get(decisions.get(path), -1.0) for path, numbers in self.positions.items()]
        for options, paths in self.groups.items():
            taken = [decisions.get(path) for path in paths]
            row += [taken.count(option) / len(paths) for option in options]
        return row


def _is_number(option: Any) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool)


def _positions(options: Sequence[Any], numeric: bool) -> dict[Any, float]:
    if not numeric:
        return {option: float(i) for i, option in enumerate(options)}
    return {option: i / (len(options) - 1) for i, option in enumerate(sorted(options))}


@dataclass(frozen=True)
class Distances:
    """How two sets of networks differ.

    columns: in each column but log FLOPs, from 0 to 1, (columns, n, m). sizes: products of standardised log
    FLOPs (n, m). gaps: their squared differences (n, m)."""

    columns: Floats
    sizes: Floats
    gaps: Floats


class GaussianProcess:
    """A process conditioned on values (n,) of rows (n, columns); the values may have any scale.

    parameters: those of `fit_parameters`, of these rows or of some of them.
    """

    def __init__(self, encoder: Encoder, rows: Floats, values: Floats, parameters: Floats) -> None:
        from scipy.linalg import cho_factor, cho_solve

        self._ordinal, self._rows, self._parameters = encoder.ordinal, rows, parameters
        self._scale, standardized = _Scale.of(rows, values)
        covariance = _covariance(parameters, _distances(encoder.ordinal, self._scale, rows, rows))
        covariance[np.diag_indices(len(rows))] += np.exp(parameters[NOISE]) + MIN_NOISE
        self._factor = cho_factor(covariance, lower=True)
        self._weights = cho_solve(self._factor, standardized)

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of a value."""
        return float(np.sqrt(np.exp(self._parameters[NOISE]) + MIN_NOISE)) * self._scale.spread

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the value of each row, without the noise, (n,) each."""
        from scipy.linalg import solve_triangular

        scale = self._scale
        cross = _covariance(self._parameters, _distances(self._ordinal, scale, rows, self._rows))
        trend, additive, product = np.exp(self._parameters[:NOISE])
        prior = trend * (1 + scale.sizes(rows) ** 2) + additive + product
        explained = solve_triangular(self._factor[0], cross.T, lower=True)
        variance = np.maximum(1e-10, prior - (explained**2).sum(axis=0))
        return cross @ self._weights * scale.spread + scale.mean, np.sqrt(variance) * scale.spread


def fit_parameters(encoder: Encoder, rows: Floats, values: Floats) -> Floats:
    """Return the parameters of the highest posterior density for values (n,) of rows (n, columns)."""
    from scipy.optimize import minimize

    scale, standardized = _Scale.of(rows, values)
    best = minimize(
        negative_log_posterior,
        _prior_mean(len(encoder.ordinal)),
        args=(_distances(encoder.ordinal, scale, rows, rows), standardized),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS},
    )
    return np.asarray(best.x, dtype=np.float64)


@dataclass(frozen=True)
class _Scale:
    """Mean and standard deviation of the values, and of log FLOPs."""

    mean: float
    spread: float
    size_mean: float
    size_spread: float

    @classmethod
    def of(cls, rows: Floats, values: Floats) -> tuple[_Scale, Floats]:
        """Return the scale and the standardised values."""
        sizes = rows[:, -1]
        spreads = float(values.std()) or 1.0, float(sizes.std()) or 1.0
        scale = cls(float(values.mean()), spreads[0], float(sizes.mean()), spreads[1])
        return scale, (values - scale.mean) / scale.spread

    def sizes(self, rows: Floats) -> Floats:
        """Return the standardised log FLOPs of rows."""
        return np.asarray((rows[:, -1] - self.size_mean) / self.size_spread, dtype=np.float64)


def _distances(ordinal: NDArray[np.bool_], scale: _Scale, a: Floats, b: Floats) -> Distances:
    left, right = a.T[:-1, :, None], b.T[:-1, None, :]
    graded = ordinal[:, None, None] & (left >= 0) & (right >= 0)
    columns = np.where(graded, np.abs(left - right), left != right)
    x, y = scale.sizes(a)[:, None], scale.sizes(b)[None, :]
    return Distances(columns, x * y, (x - y) ** 2)


def _prior_mean(columns: int) -> Floats:
    weights = np.full(columns, PRIOR_DISTANCE / max(1, columns))
    return np.log([*PRIOR_VARIANCES, *weights, PRIOR_SIZE_WEIGHT])


def _prior_deviations(columns: int) -> Floats:
    return np.array([*PRIOR_DEVIATIONS, *[WEIGHT_DEVIATION] * columns, SIZE_WEIGHT_DEVIATION])


def _covariance(parameters: Floats, distances: Distances) -> Floats:
    trend, additive, product = np.exp(parameters[:NOISE])
    weights, size_weight = np.exp(parameters[NOISE + 1 : -1]), np.exp(parameters[-1])
    distance = np.tensordot(weights, distances.columns, axes=1)
    alike = np.exp(-distance - size_weight * distances.gaps / 2)
    shared = 1 - distance / weights.sum()
    return np.asarray(trend * (1 + distances.sizes) + additive * shared + product * alike)


def negative_log_posterior(parameters: Floats, distances: Distances, values: Floats) -> tuple[float, Floats]:
    """Return the negative log of marginal likelihood times prior, but for constants, and its gradient."""
    trend, additive, product, noise = np.exp(parameters[: NOISE + 1])
    weights, size_weight = np.exp(parameters[NOISE + 1 : -1]), np.exp(parameters[-1])
    distance = np.tensordot(weights, distances.columns, axes=1)
    alike = np.exp(-distance - size_weight * distances.gaps / 2)
    shared = 1 - distance / weights.sum()
    covariance = trend * (1 + distances.sizes) + additive * shared + product * alike
    covariance[np.diag_indices(len(values))] += noise + MIN_NOISE
    inverse = np.linalg.inv(covariance)
    solved = inverse @ values
    outer = np.outer(solved, solved) - inverse  # twice the derivative of the log likelihood by the covariance
    by_distance = -outer * (product * alike + additive / weights.sum())
    by_weight = np.tensordot(distances.columns, by_distance, axes=([1, 2], [0, 1]))
    by_weight += additive * (outer * distance).sum() / weights.sum() ** 2
    gradient = np.concatenate(
        [
            [
                trend * (outer * (1 + distances.sizes)).sum(),
                additive * (outer * shared).sum(),
                product * (outer * alike).sum(),
                noise * np.trace(outer),
            ],
            weights * by_weight,
            [-size_weight / 2 * product * (outer * alike * distances.gaps).sum()],
        ]
    )
    columns = len(weights)
    deviations = _prior_deviations(columns)
    from_prior = (parameters - _prior_mean(columns)) / deviations
    value = (values @ solved + np.linalg.slogdet(covariance)[1] + from_prior @ from_prior) / 2
    return float(value), np.asarray(from_prior / deviations - gradient / 2)
