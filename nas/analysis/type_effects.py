"""Effects of module types within strata, with bootstrap intervals and permutation tests.

One row a network (or a run); deterministic given the generator. The model behind every effect is
one line:

    error = stratum + sum over types of effect * share of blocks of that type

With networks of one type each it is a comparison of group means; a network of mixed
blocks counts for each type as far as its blocks are of that type. The stratum is nothing
(raw), a FLOPs bin (equal FLOPs) or a context (paired blocks); the cluster is what was
drawn independently (a distinct network, or a context).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nas.stats.resampling import CHUNK, Floats, Ints, bootstrap_counts


@dataclass(frozen=True)
class Sample:
    """Rows to compare. `shares` (n, types) sums to 1 in each row; `error` (n,);
    `stratum` and `cluster` (n,) count from 0 without gaps."""

    shares: Floats
    error: Floats
    stratum: Ints
    cluster: Ints


@dataclass(frozen=True)
class Effects:
    """Error of a network made of one type only, averaged over the strata of the sample.

    `means` (types,) with their sandwich covariance (types, types), and the same of each
    bootstrap resample, from which intervals are studentised (bootstrap-t; Davison and
    Hinkley, 1997): errors are skewed, and percentile limits then miss too often.
    """

    means: Floats
    covariance: Floats
    draws: Floats
    draw_covariances: Floats

    def interval(self, contrast: Floats, level: float = 0.95) -> tuple[float, float, float]:
        """Value of a weighted sum of the means, and its limits; NaN where not estimable."""
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
        """Error of type a alone, with limits."""
        return self.interval(np.eye(len(self.means))[a])

    def difference(self, a: int, b: int) -> tuple[float, float, float]:
        """Change of error when type a is replaced by type b, with limits."""
        unit = np.eye(len(self.means))
        return self.interval(unit[b] - unit[a])


def _inverse(scatter: Floats, tolerance: float = 1e-9) -> Floats:
    """Inverses of matrices (…, p, p); NaN where one is singular."""
    if not scatter.shape[-1]:
        return scatter
    values = np.linalg.eigvalsh(scatter)
    flat = values[..., 0] <= tolerance * np.maximum(values[..., -1], 1e-300)
    inverse = np.linalg.inv(np.where(flat[..., None, None], np.eye(scatter.shape[-1]), scatter))
    return np.where(flat[..., None, None], np.nan, inverse)


@dataclass(frozen=True)
class _Rows:
    """A sample in the order of its clusters, with what every weighting of it needs: products of
    v = (shares but the first, error) by stratum, and columns to read a stratum's value at a row."""

    sample: Sample
    members: list[Ints]
    products: list[Floats]
    columns: Floats
    starts: Ints

    @classmethod
    def of(cls, sample: Sample) -> _Rows:
        at = np.argsort(sample.cluster, kind="stable")
        rows = Sample(sample.shares[at], sample.error[at], sample.stratum[at], sample.cluster[at])
        v = np.hstack([rows.shares[:, 1:], rows.error[:, None]])
        products = np.hstack([np.ones((len(v), 1)), v, (v[:, :, None] * v[:, None, :]).reshape(len(v), -1)])
        inside = rows.stratum == np.arange(int(rows.stratum.max()) + 1)[:, None]
        members = [np.flatnonzero(row) for row in inside]
        columns = np.vstack([rows.shares[:, 1:].T, -inside.astype(float)])
        starts = np.flatnonzero(np.diff(rows.cluster, prepend=-1))
        return cls(rows, members, [products[row] for row in members], columns, starts)


def _sums(rows: _Rows, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the sums of each stratum under each weighting (b, n) of the rows: the weight (b, strata), the
    weighted sum of v (b, strata, types), and that of its products (b, strata, types, types)."""
    size = rows.sample.shares.shape[1]
    pairs = zip(rows.members, rows.products, strict=True)
    sums = np.stack([weights[:, at] @ products for at, products in pairs], axis=1)
    weight, first, second = sums[..., 0], sums[..., 1 : 1 + size], sums[..., 1 + size :]
    return weight, first, second.reshape(*first.shape, size)


def _fit(rows: _Rows, weights: Floats) -> tuple[Floats, Floats]:
    """Type means (b, types) and their sandwich covariances (b, types, types) for b weightings
    (b, n) of the rows."""
    sample, types = rows.sample, rows.sample.shares.shape[1]
    weight, first, second = _sums(rows, weights)
    centres = first / np.where(weight > 0, weight, 1.0)[..., None]
    scatter = (second - first[..., :, None] * centres[..., None, :]).sum(axis=1)
    total = weight.sum(axis=1, keepdims=True)
    centre = np.einsum("bs,bst->bt", weight / total, centres)
    inverse = _inverse(scatter[:, :-1, :-1])
    slopes = inverse @ scatter[:, :-1, -1:]
    moves = np.eye(types)[:, 1:] - centre[:, None, :-1]  # from the mean network to one of a single type
    means = centre[:, None, -1] + (moves @ slopes)[..., 0]

    level = centres[..., -1] - (centres[..., :-1] @ slopes)[..., 0]
    residual = sample.error - np.concatenate([slopes[..., 0], -level], axis=1) @ rows.columns
    shift = level - (weight * level).sum(axis=1, keepdims=True) / total
    fitted = centres[..., :-1], residual, shift, moves @ inverse
    if len(rows.starts) < len(sample.error):
        return means, _spread_of_clusters(rows, weights, *fitted)
    return means, _spread_of_rows(rows, weights, weight, *fitted)


def _spread_of_rows(
    rows: _Rows,
    weights: Floats,
    weight: Floats,
    centres: Floats,
    residual: Floats,
    shift: Floats,
    levers: Floats,
) -> Floats:
    """The covariances where each row is a cluster. What a row moves the means by is
    levers (x - centre) residual + (residual + shift) / total, so the sum of its squares needs sums over
    rows of residual-weighted products alone, and no array of rows by types."""
    own = weights * residual
    total, (count, first, second) = weight.sum(axis=1)[:, None, None], _sums(rows, own * residual)
    once, first_once, _ = _sums(rows, own)
    first, second = first[..., :-1], second[..., :-1, :-1]
    crossed = first[..., :, None] * centres[..., None, :]
    outer = count[..., None, None] * centres[..., :, None] * centres[..., None, :]
    slopes = levers @ (second - crossed - crossed.swapaxes(2, 3) + outer).sum(axis=1)
    moved = (first - count[..., None] * centres) + shift[..., None] * (
        first_once[..., :-1] - once[..., None] * centres
    )
    both = levers @ (moved.sum(axis=1)[..., None] / total)
    levels = (count + 2 * shift * once + shift**2 * weight).sum(axis=1)[:, None, None] / total**2
    return np.asarray(slopes @ levers.swapaxes(1, 2) + both + both.swapaxes(1, 2) + levels)


def _spread_of_clusters(
    rows: _Rows, weights: Floats, centres: Floats, residual: Floats, shift: Floats, levers: Floats
) -> Floats:
    """The covariances where the rows of a cluster move the means together."""
    total, strata = weights.sum(axis=1)[:, None, None], rows.sample.stratum
    influence = np.concatenate([levers, levers @ centres.swapaxes(1, 2)], axis=2) @ rows.columns
    influence *= residual[:, None, :]
    influence += (residual + shift[:, strata])[:, None, :] / total
    influence = np.add.reduceat(influence, rows.starts, axis=2)
    return (influence * weights[:, None, rows.starts]) @ influence.swapaxes(1, 2)


def type_effects(sample: Sample, resamples: int, rng: np.random.Generator) -> Effects:
    """Means by type, adjusted for stratum, with a bootstrap over clusters; NaN where the sample
    cannot tell the types apart."""
    rows = _Rows.of(sample)
    means, covariance = _fit(rows, np.ones((1, len(sample.error))))
    step = max(1, CHUNK // sample.shares.size)
    cluster = rows.sample.cluster
    drawn = bootstrap_counts(int(cluster[-1]) + 1, resamples, step, rng)
    fits = [_fit(rows, counts[:, cluster]) for counts in drawn]
    draws, covariances = (np.concatenate(parts) for parts in zip(*fits, strict=True))
    return Effects(means[0], covariance[0], draws, covariances)


def _demean(values: Floats, stratum: Ints) -> Floats:
    """Values (n, …) less the mean of their stratum."""
    counts = np.bincount(stratum)
    columns = values.reshape(len(values), -1)
    sums = np.stack([np.bincount(stratum, weights=c) for c in columns.T], axis=1)
    return (columns - (sums / np.maximum(counts, 1)[:, None])[stratum]).reshape(values.shape)


def permutation_p(sample: Sample, resamples: int, rng: np.random.Generator) -> Floats:
    """Two-sided p of each pair of types, in the order of `combinations(range(types), 2)`.

    Errors are permuted within strata, and the statistic is studentised with a variance robust
    to unequal spread, so that the test of one pair holds whatever other types do. NaN where
    not estimable.
    """
    order = np.argsort(sample.stratum, kind="stable")
    stratum, types = sample.stratum[order], sample.shares.shape[1]
    x, y = _demean(sample.shares[order, 1:], stratum), _demean(sample.error[order], stratum)
    pairs = list(combinations(range(types), 2))
    gram = x.T @ x
    values = np.linalg.eigvalsh(gram)
    if values[0] <= 1e-9 * max(values[-1], 1e-300):
        return np.full(len(pairs), np.nan)
    basis = np.vstack([np.zeros(types - 1), np.eye(types - 1)])
    contrasts = np.stack([basis[b] - basis[a] for a, b in pairs], axis=1)
    squares = (x @ np.linalg.solve(gram, contrasts)) ** 2  # a contrast weighs each row with its root
    ends = np.cumsum(np.bincount(stratum))[:-1]

    def statistics(permuted: Floats) -> Floats:
        slopes = np.linalg.solve(gram, (permuted @ x).T).T
        residual = permuted - slopes @ x.T
        residual *= residual
        return np.asarray(np.abs(slopes @ contrasts) / np.sqrt(np.maximum(residual @ squares, 1e-300)))

    observed = statistics(y[None, :])[0]
    exceed = np.zeros(len(pairs))
    step = max(1, CHUNK // len(y))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        permuted = np.tile(y, (rows, 1))
        for part in np.split(permuted, ends, axis=1):
            rng.permuted(part, axis=1, out=part)
        exceed += (statistics(permuted) >= observed * (1 - 1e-12)).sum(axis=0)
    return np.asarray((1 + exceed) / (1 + resamples))
