"""Effects of module types over networks that share no contexts, with intervals and permutation tests.

Samples have one row per network; results are deterministic given the generator. The model behind every
effect is one line:

    error = constant + sum over types of effect * share of blocks of that type

With networks of one type each it is a comparison of group means; a network of mixed blocks counts for each
type as far as its blocks are of that type. Effects at equal cost are in `nas.stats.adjusted`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nas.stats.resampling import CHUNK, Floats, bootstrap_counts


@dataclass(frozen=True)
class Sample:
    """Networks to compare: `shares` (n, types) of their blocks, each row summing to 1, and `error` (n,)."""

    shares: Floats
    error: Floats


@dataclass(frozen=True)
class Effects:
    """Error of a network made of one type only.

    `means` (types,) with their sandwich covariance (types, types), and the same of each
    bootstrap resample, from which intervals are studentised (bootstrap-t; Davison and
    Hinkley, 1997): errors are skewed, and percentile limits then miss too often.
    """

    means: Floats
    covariance: Floats
    draws: Floats
    draw_covariances: Floats

    def interval(self, contrast: Floats, level: float = 0.95) -> tuple[float, float, float]:
        """Return the value of a weighted sum of the means, and its limits; NaN if not estimable."""
        value = float(contrast @ self.means)
        error = np.sqrt(contrast @ self.covariance @ contrast)
        errors = np.sqrt(np.maximum(contrast @ self.draw_covariances @ contrast, 0))
        known = np.isfinite(errors) & (errors > 1e-9 * error)
        if not known.any():
            limit = value if error == 0 else float("nan")
            return value, limit, limit
        t = (self.draws[known] @ contrast - value) / errors[known]
        high, low = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
        return value, float(value - low * error), float(value - high * error)

    def mean(self, a: int) -> tuple[float, float, float]:
        """Return the error of type a alone, with limits."""
        return self.interval(np.eye(len(self.means))[a])

    def difference(self, a: int, b: int) -> tuple[float, float, float]:
        """Return the change of error when type a is replaced by type b, with limits."""
        unit = np.eye(len(self.means))
        return self.interval(unit[b] - unit[a])


def type_effects(sample: Sample, resamples: int, rng: np.random.Generator) -> Effects:
    """Estimate the means by type, with a bootstrap over networks; NaN if the sample cannot separate the
    types."""
    products = _products(sample)
    n = len(sample.error)
    means, covariance = _fit(sample, products, np.ones((1, n)))
    step = max(1, CHUNK // sample.shares.size)
    fits = [_fit(sample, products, counts) for counts in bootstrap_counts(n, resamples, step, rng)]
    draws, covariances = (np.concatenate(parts) for parts in zip(*fits, strict=True))
    return Effects(means[0], covariance[0], draws, covariances)


def _products(sample: Sample) -> Floats:
    """Return 1, v and the products of v = (shares but the first, error), one row per network."""
    v = np.hstack([sample.shares[:, 1:], sample.error[:, None]])
    return np.hstack([np.ones((len(v), 1)), v, (v[:, :, None] * v[:, None, :]).reshape(len(v), -1)])


def _sums(products: Floats, weights: Floats, types: int) -> tuple[Floats, Floats, Floats]:
    """Return for each weighting (b, n) the total weight (b,), the weighted sum of v (b, types), and that of
    its products (b, types, types)."""
    sums = weights @ products
    return sums[:, 0], sums[:, 1 : 1 + types], sums[:, 1 + types :].reshape(-1, types, types)


def _fit(sample: Sample, products: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return type means (b, types) and their sandwich covariances (b, types, types) for b weightings (b, n)
    of the networks."""
    types = sample.shares.shape[1]
    total, first, second = _sums(products, weights, types)
    centre = first / total[:, None]
    scatter = second - first[..., :, None] * centre[..., None, :]
    inverse = _inverse(scatter[:, :-1, :-1])
    slopes = (inverse @ scatter[:, :-1, -1:])[..., 0]
    moves = np.eye(types)[:, 1:] - centre[:, None, :-1]  # from the mean network to one of a single type
    means = centre[:, None, -1] + (moves @ slopes[..., None])[..., 0]
    level = centre[:, -1] - (centre[:, :-1] * slopes).sum(axis=1)
    residual = sample.error - slopes @ sample.shares[:, 1:].T - level[:, None]
    return means, _spread(products, weights * residual**2, total, centre[:, :-1], moves @ inverse)


def _spread(products: Floats, squares: Floats, total: Floats, centre: Floats, levers: Floats) -> Floats:
    """Return the covariances of the means, given the weighted squares (b, n) of the residuals. A network
    moves the means by (levers (x - centre) + 1 / total) times its residual, so the sum of the squares of that
    needs sums over networks alone, and no array of networks by types."""
    count, first, second = _sums(products, squares, levers.shape[1])
    first, second = first[:, :-1], second[:, :-1, :-1]
    crossed = first[..., :, None] * centre[..., None, :]
    outer = count[:, None, None] * centre[..., :, None] * centre[..., None, :]
    slopes = levers @ (second - crossed - crossed.swapaxes(1, 2) + outer)
    both = levers @ ((first - count[:, None] * centre) / total[:, None])[..., None]
    levels = (count / total**2)[:, None, None]
    return np.asarray(slopes @ levers.swapaxes(1, 2) + both + both.swapaxes(1, 2) + levels)


def _inverse(scatter: Floats, tolerance: float = 1e-9) -> Floats:
    """Return the inverses of matrices (…, p, p); NaN for singular ones."""
    if not scatter.shape[-1]:
        return scatter
    values = np.linalg.eigvalsh(scatter)
    flat = values[..., 0] <= tolerance * np.maximum(values[..., -1], 1e-300)
    inverse = np.linalg.inv(np.where(flat[..., None, None], np.eye(scatter.shape[-1]), scatter))
    return np.where(flat[..., None, None], np.nan, inverse)


def permutation_p(sample: Sample, resamples: int, rng: np.random.Generator) -> Floats:
    """Return the two-sided p of each pair of types, in the order of `combinations(range(types), 2)`.

    Errors are permuted, and the statistic is studentised with a variance robust to unequal spread, so that
    the test of one pair holds whatever other types do. NaN where not estimable.
    """
    types = sample.shares.shape[1]
    x, y = (values - values.mean(axis=0) for values in (sample.shares[:, 1:], sample.error))
    pairs = list(combinations(range(types), 2))
    gram = x.T @ x
    values = np.linalg.eigvalsh(gram)
    if values[0] <= 1e-9 * max(values[-1], 1e-300):
        return np.full(len(pairs), np.nan)
    basis = np.vstack([np.zeros(types - 1), np.eye(types - 1)])
    contrasts = np.stack([basis[b] - basis[a] for a, b in pairs], axis=1)
    squares = (x @ np.linalg.solve(gram, contrasts)) ** 2  # a contrast weighs each row with its root

    def statistics(permuted: Floats) -> Floats:
        slopes = np.linalg.solve(gram, (permuted @ x).T).T
        residual = permuted - slopes @ x.T
        residual *= residual
        return np.asarray(np.abs(slopes @ contrasts) / np.sqrt(np.maximum(residual @ squares, 1e-300)))

    observed = statistics(y[None, :])[0]
    exceed = np.zeros(len(pairs))
    step = max(1, CHUNK // len(y))
    for start in range(0, resamples, step):
        permuted = rng.permuted(np.tile(y, (min(step, resamples - start), 1)), axis=1)
        exceed += (statistics(permuted) >= observed * (1 - 1e-12)).sum(axis=0)
    return np.asarray((1 + exceed) / (1 + resamples))
