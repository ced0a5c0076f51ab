"""A Gaussian process over the decisions and the log FLOPs of networks.

The covariance of two networks is a sum: a linear trend in log FLOPs; an additive part, linear in the columns
that encode the decisions (`nas.surrogate.encoder`); and a product over decisions and log FLOPs, which models
interactions.

Every distance is a squared distance of columns, so it takes one product of matrices. The columns of a
decision have one weight, which decisions of the same name in other stages and blocks share. All variances,
weights and the noise maximise the marginal likelihood under weak priors (Rasmussen and Williams 2006,
Gaussian Processes for Machine Learning, chapter 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.pareto import Floats
from nas.surrogate.encoder import Encoder
from nas.surrogate.stages import LASTING, Correlations, Stages, Trainings

MIN_NOISE = 1e-4
"""Smallest variance of the noise, relative to that of the values."""

MAX_CHANGE = 15.0
"""Most by which the logarithm of a parameter may differ from its prior, so that its exponential is finite."""
STEPS = 15
"""Steps of the optimiser of a fit, at most."""

TREND, ADDITIVE, PRODUCT, NOISE = range(4)
"""Places of the log variances among the parameters. After them come the log weights of the groups of columns,
that of log FLOPs last."""

PRIOR_VARIANCES = (1.0, 0.5, 0.5, 0.02)
PRIOR_DISTANCE = 2.0
"""Sum of the weights of all decisions before any trial."""

PRIOR_SIZE_WEIGHT = 0.3
PRIOR_DEVIATIONS = (1.0, 1.5, 1.5, 2.0)
WEIGHT_DEVIATION = 0.7
SIZE_WEIGHT_DEVIATION = 1.0
"""Standard deviations of the log-normal priors."""

DRAWS = 16
"""Parameters drawn about the most probable ones; an even number."""
CHANGE = 1e-3
"""Change of a parameter by which the curvature of its density is measured."""

UNSTAGED = Correlations(1.0, 1.0, 0.0)
"""Correlations of different trainings that have ended."""


class GaussianProcess:
    """A process conditioned on values (n,) of rows (n, columns); the values may have any scale.

    parameters: those of `fit_parameters`, of these rows or of some of them. stages: those of the rows;
    without them each is of a training of its own that has ended. luck: the least variance of the noise of
    each value (n,), beside which the parameters have more.
    """

    def __init__(
        self,
        encoder: Encoder,
        rows: Floats,
        values: Floats,
        parameters: Floats,
        stages: Stages | None = None,
        luck: Floats | float = 0.0,
    ) -> None:
        from scipy.linalg import cho_factor, cho_solve

        self._parameters, self._group, self._stages = parameters, encoder.group, stages
        self._scale, standardized = _Scale.of(rows, values)
        self._center = rows[:, :-1].mean(axis=0)
        self._scaled = self._scaled_rows(rows)
        stage = Correlations.of(stages, stages) if stages else UNSTAGED
        covariance = self._covariance(self._scaled, stage)
        own = np.exp(parameters[NOISE]) if stages is None else 0.0  # else in the covariance
        self._least = self._scale.least_noise(luck)
        covariance[np.diag_indices(len(rows))] += own + self._least
        self._factor = cho_factor(covariance, lower=True)
        self._weights = cho_solve(self._factor, standardized)

    @property
    def noise(self) -> float:
        """Standard deviation of the luck of a training, at its end."""
        share = 1 - LASTING if self._stages else 1.0  # without stages, all that is not explained
        variance = share * np.exp(self._parameters[NOISE]) + np.mean(self._least)
        return float(np.sqrt(variance)) * self._scale.spread

    def predict(self, rows: Floats, trainings: Trainings | None = None) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the value of each row, (n,) each: the mean of many trainings
        of the network at their end. trainings: the number of the training of each network whose values at
        stages tell of what is its own, (n,)."""
        from scipy.linalg import solve_triangular

        scaled, scale = self._scaled_rows(rows), self._scale
        trainings = np.full(len(rows), -1) if trainings is None else trainings
        stage = Correlations.at_end(trainings, self._stages) if self._stages else UNSTAGED
        cross = self._covariance(scaled, stage)
        trend, additive, product, noise = np.exp(self._parameters[: NOISE + 1])
        columns, sizes = scaled
        prior = trend * (1 + sizes**2) + additive * (columns**2).sum(axis=1) + product
        if self._stages:
            prior = prior + noise * LASTING
        explained = solve_triangular(self._factor[0], cross.T, lower=True)
        variance = np.maximum(1e-10, prior - (explained**2).sum(axis=0))
        return cross @ self._weights * scale.spread + scale.mean, np.sqrt(variance) * scale.spread

    def _scaled_rows(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return the centred columns times the roots of their weights, and the standardised log FLOPs."""
        weights = np.exp(self._parameters[NOISE + 1 : -1])[self._group]
        return (rows[:, :-1] - self._center) * np.sqrt(weights), self._scale.sizes(rows)

    def _covariance(self, scaled: tuple[Floats, Floats], stage: Correlations) -> Floats:
        """Return the covariance of rows and those the process is conditioned on."""
        (left, x), (right, y) = scaled, self._scaled
        trend, additive, product, noise = np.exp(self._parameters[: NOISE + 1])
        exponent = _squared_distances(left, right) + np.exp(self._parameters[-1]) * (x[:, None] - y) ** 2 / 2
        networks = additive * (left @ right.T) + product * np.exp(-exponent)
        by_size = trend * (1 + np.outer(x, y))
        return np.asarray(by_size * stage.trend + networks * stage.decisions + noise * stage.residual)


def fit_parameters(
    encoder: Encoder,
    rows: Floats,
    values: Floats,
    stages: Stages | None = None,
    luck: Floats | float = 0.0,
) -> Floats:
    """Return the parameters of the highest posterior density for values (n,) of rows (n, columns), whose
    noise has at least the variances `luck` (n,)."""
    from scipy.optimize import minimize

    scale, standardized = _Scale.of(rows, values)
    prior = prior_mean(encoder)
    best = minimize(
        negative_log_posterior,
        prior,
        args=(prior, Distances.of(encoder, scale, rows, stages, luck), standardized),
        bounds=[(mean - MAX_CHANGE, mean + MAX_CHANGE) for mean in prior],
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS},
    )
    return np.asarray(best.x, dtype=np.float64)


def draw_parameters(
    best: Floats, encoder: Encoder, rows: Floats, values: Floats, luck: Floats | float = 0.0
) -> Floats:
    """Return draws of the parameters (draws, parameters) about those of the highest posterior density, from
    the normal density with its curvature there (Laplace's approximation, Rasmussen and Williams 2006,
    section 3.4), which is taken to be nowhere wider than the priors. The rest is as of `fit_parameters`."""
    scale, standardized = _Scale.of(rows, values)
    prior, distances = prior_mean(encoder), Distances.of(encoder, scale, rows, luck=luck)

    def gradient(parameters: Floats) -> Floats:
        return negative_log_posterior(parameters, prior, distances, standardized)[1]

    steps = CHANGE * np.eye(len(best))
    curvature = np.array([gradient(best + step) - gradient(best - step) for step in steps]) / (2 * CHANGE)
    precisions, axes = np.linalg.eigh((curvature + curvature.T) / 2)
    spreads = 1 / np.sqrt(np.maximum(precisions, max(PRIOR_DEVIATIONS) ** -2))
    half = np.random.default_rng(0).standard_normal((DRAWS // 2, len(best)))
    return np.asarray(best + np.concatenate([half, -half]) @ (axes * spreads) @ axes.T)


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

    def least_noise(self, luck: Floats | float) -> Floats | float:
        """Return the least variance of the noise of standardised values, given that of the values."""
        return MIN_NOISE + luck / self.spread**2

    def sizes(self, rows: Floats) -> Floats:
        """Return the standardised log FLOPs of rows."""
        return np.asarray((rows[:, -1] - self.size_mean) / self.size_spread, dtype=np.float64)


@dataclass(frozen=True)
class Distances:
    """How values differ from each other.

    groups: squared distance in each group of columns, (groups, n, n). sizes: products of standardised log
    FLOPs (n, n). gaps: their squared differences (n, n). stage: correlations by epochs. least: the least
    variance of the noise (n,), relative to that of the values."""

    groups: Floats
    sizes: Floats
    gaps: Floats
    stage: Correlations
    least: Floats | float

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        scale: _Scale,
        rows: Floats,
        stages: Stages | None = None,
        luck: Floats | float = 0.0,
    ) -> Distances:
        count = int(encoder.group.max(initial=-1)) + 1
        parts = [rows[:, :-1][:, encoder.group == number] for number in range(count)]
        groups = np.array([_squared_distances(part, part) for part in parts])
        sizes = scale.sizes(rows)
        return cls(
            groups.reshape(count, len(rows), len(rows)),
            np.outer(sizes, sizes),
            (sizes[:, None] - sizes) ** 2,
            Correlations.of(stages, stages) if stages else Correlations(1.0, 1.0, np.eye(len(rows))),
            scale.least_noise(luck),
        )


def _squared_distances(a: Floats, b: Floats) -> Floats:
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)
    return np.asarray(np.maximum(0.0, squares - 2 * a @ b.T))


def _centred(matrix: Floats) -> Floats:
    """Return a symmetric matrix less its means by row and column."""
    means = matrix.mean(axis=0)
    return np.asarray(matrix - means - means[:, None] + means.mean())


def prior_mean(encoder: Encoder) -> Floats:
    """Return the parameters before any trial."""
    count, groups = max(1, len(encoder.columns)), int(encoder.group.max(initial=-1)) + 1
    weights = np.full(groups, PRIOR_DISTANCE / count)
    return np.log([*PRIOR_VARIANCES, *weights, PRIOR_SIZE_WEIGHT])


def negative_log_posterior(
    parameters: Floats, prior: Floats, distances: Distances, values: Floats
) -> tuple[float, Floats]:
    """Return the negative log of marginal likelihood times prior, but for constants, and its gradient."""
    trend, additive, product, noise = np.exp(parameters[: NOISE + 1])
    weights, size_weight = np.exp(parameters[NOISE + 1 : -1]), np.exp(parameters[-1])
    distance = np.tensordot(weights, distances.groups, axes=1)
    alike = np.exp(-distance - size_weight * distances.gaps / 2)
    shared = _centred(distance) / -2  # the inner products of the centred columns (Torgerson 1952)
    stage, by_size = distances.stage, (1 + distances.sizes) * distances.stage.trend
    networks = (additive * shared + product * alike) * stage.decisions
    covariance = np.asarray(trend * by_size + networks + noise * stage.residual)
    covariance[np.diag_indices(len(values))] += distances.least
    inverse = np.linalg.inv(covariance)
    solved = inverse @ values
    outer = np.outer(solved, solved) - inverse  # twice the derivative of the log likelihood by the covariance
    of_networks = np.asarray(outer * stage.decisions)
    by_distance = -product * of_networks * alike - additive / 2 * _centred(of_networks)
    by_weight = distances.groups.reshape(len(weights), by_distance.size) @ by_distance.ravel()
    gradient = np.concatenate(
        [
            [
                trend * (outer * by_size).sum(),
                additive * (of_networks * shared).sum(),
                product * (of_networks * alike).sum(),
                noise * (outer * stage.residual).sum(),
            ],
            weights * by_weight,
            [-size_weight / 2 * product * (of_networks * alike * distances.gaps).sum()],
        ]
    )
    deviations = np.array([*PRIOR_DEVIATIONS, *[WEIGHT_DEVIATION] * len(weights), SIZE_WEIGHT_DEVIATION])
    from_prior = (parameters - prior) / deviations
    value = (values @ solved + np.linalg.slogdet(covariance)[1] + from_prior @ from_prior) / 2
    return float(value), np.asarray(from_prior / deviations - gradient / 2)
