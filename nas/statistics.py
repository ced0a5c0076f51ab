"""Estimates with honest intervals: effects of module types within strata, and their tests.

Everything works on arrays, one row a network (or a run), and is deterministic given the
generator. The model behind every effect is one line:

    error = stratum + sum over types of effect * share of blocks of that type

With networks of one type each it is a comparison of group means; a network of mixed
blocks counts for each type as far as its blocks are of that type. The stratum is nothing
(raw), a FLOPs bin (equal FLOPs) or a context (paired blocks); the cluster is what was
drawn independently (a distinct network, or a context).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CHUNK = 1_000_000
"""Elements of the largest temporary arrays: bounds the memory at 100,000 networks."""


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


def log_bins(values: Floats, count: int) -> tuple[Floats, Ints]:
    """`count` bins of equal width in log(value) from the smallest to the largest value:
    the edges (count + 1,) and the bin of each value. Values must be above zero."""
    low, high = np.log(values.min()), np.log(values.max())
    edges = np.exp(np.linspace(low, high, count + 1))
    inner = np.searchsorted(edges[1:-1], values, side="right")
    return edges, inner.astype(np.intp)


def bootstrap_counts(clusters: int, resamples: int, step: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each cluster is drawn, (`step` resamples, clusters) at a time."""
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        draws = rng.integers(clusters, size=(rows, clusters))
        draws += clusters * np.arange(rows)[:, None]
        counts = np.bincount(draws.ravel(), minlength=rows * clusters)
        yield counts.reshape(rows, clusters).astype(np.float64)


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


def _moments(rows: _Rows, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Of v, for each weighting (b, n) of the rows: the weight of each stratum (b, strata), its mean
    (b, strata, types), products within strata (b, types, types)."""
    size = rows.sample.shares.shape[1]
    pairs = zip(rows.members, rows.products, strict=True)
    sums = np.stack([weights[:, at] @ products for at, products in pairs], axis=1)
    weight, first, second = sums[..., 0], sums[..., 1 : 1 + size], sums[..., 1 + size :]
    centres = first / np.where(weight > 0, weight, 1.0)[..., None]
    within = second.reshape(*first.shape, size) - first[..., :, None] * centres[..., None, :]
    return weight, centres, within.sum(axis=1)


def _fit(rows: _Rows, weights: Floats) -> tuple[Floats, Floats]:
    """Type means (b, types) and their sandwich covariances (b, types, types) for b weightings
    (b, n) of the rows."""
    weight, centres, scatter = _moments(rows, weights)
    sample, types = rows.sample, rows.sample.shares.shape[1]
    total = weight.sum(axis=1, keepdims=True)
    centre = np.einsum("bs,bst->bt", weight / total, centres)
    inverse = _inverse(scatter[:, :-1, :-1])
    slopes = inverse @ scatter[:, :-1, -1:]
    moves = np.eye(types)[:, 1:] - centre[:, None, :-1]  # from the mean network to one of a single type
    means = centre[:, None, -1] + (moves @ slopes)[..., 0]

    level = centres[..., -1] - (centres[..., :-1] @ slopes)[..., 0]
    residual = sample.error - np.concatenate([slopes[..., 0], -level], axis=1) @ rows.columns
    shift = (level - (weight * level).sum(axis=1, keepdims=True) / total)[:, sample.stratum]
    levers = moves @ inverse
    influence = np.concatenate([levers, levers @ centres[..., :-1].transpose(0, 2, 1)], axis=2) @ rows.columns
    influence *= residual[:, None, :]
    influence += ((residual + shift) / total)[:, None, :]
    if len(rows.starts) < len(sample.error):
        influence, weights = np.add.reduceat(influence, rows.starts, axis=2), weights[:, rows.starts]
    return means, (influence * weights[:, None, :]) @ influence.transpose(0, 2, 1)


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
    weights = x @ np.linalg.solve(gram, contrasts)  # a contrast is weights' y
    squares, ends = weights**2, np.cumsum(np.bincount(stratum))[:-1]

    def statistics(permuted: Floats) -> Floats:
        residual = permuted - (np.linalg.solve(gram, x.T @ permuted.T).T @ x.T)
        variance = residual**2 @ squares
        return np.abs(permuted @ weights) / np.sqrt(np.maximum(variance, 1e-300))

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


def sign_flip_p(differences: Floats, resamples: int, rng: np.random.Generator) -> float:
    """Two-sided p that the mean of paired differences (contexts,) is zero, by random signs;
    all signs are tried where there are no more than `resamples` of them."""
    d = differences[np.isfinite(differences)]
    if not len(d):
        return float("nan")
    if 2 ** len(d) <= resamples:
        codes = np.arange(2 ** len(d))[:, None] >> np.arange(len(d)) & 1
        return float(np.mean(np.abs((1 - 2 * codes) @ d) >= abs(d.sum()) * (1 - 1e-12)))
    exceed, step = 0, max(1, CHUNK // len(d))
    for start in range(0, resamples, step):
        signs = 1 - 2 * rng.integers(2, size=(min(step, resamples - start), len(d)))
        exceed += int((np.abs(signs @ d) >= abs(d.sum()) * (1 - 1e-12)).sum())
    return (1 + exceed) / (1 + resamples)


def mean_interval(values: Floats, resamples: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean of independent values (n,) with its 95 % limits, by bootstrap-t; NaN limits below 3."""
    n = len(values)
    value = float(values.mean()) if n else float("nan")
    spread = float(values.std(ddof=1)) if n > 2 else float("nan")
    if not spread > 0:
        return (value, value, value) if spread == 0 else (value, float("nan"), float("nan"))
    drawn = values[rng.integers(n, size=(resamples, n))]
    errors = drawn.std(axis=1, ddof=1)
    known = errors > 1e-9 * spread
    t = (drawn.mean(axis=1)[known] - value) / errors[known]
    high, low = np.quantile(t, [0.025, 0.975])
    return value, value - float(low) * spread, value - float(high) * spread


def rank_correlation(
    x: Floats, y: Floats, resamples: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Spearman's rho of pairs (n,) with its 95 % limits, by bootstrap over pairs; NaN below 3."""
    if len(x) < 3:
        return float("nan"), float("nan"), float("nan")
    draws = rng.integers(len(x), size=(resamples, len(x)))
    found = np.array([_spearman(x[at], y[at]) for at in draws])
    low, high = np.quantile(found, [0.025, 0.975])
    return _spearman(x, y), float(low), float(high)


def _spearman(x: Floats, y: Floats) -> float:
    a, b = (ranks(each) - (len(each) - 1) / 2 for each in (x, y))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm else 0.0


def ranks(values: Floats) -> Floats:
    """From 0; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts + 1) / 2)[inverse])


def holm(p: Floats) -> Floats:
    """Adjusted p-values (Holm, 1979); NaN stays NaN and does not count."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def superiority(error: Floats, group: Ints, stratum: Ints, a: int, b: int) -> float:
    """Probability that a network of group b has a lower error than one of group a in the
    same stratum, ties counted half; NaN without such pairs."""
    wins, pairs = 0.0, 0
    for s in np.unique(stratum):
        first = np.sort(error[(stratum == s) & (group == a)])
        second = error[(stratum == s) & (group == b)]
        pairs += len(first) * len(second)
        above = len(first) - np.searchsorted(first, second, side="right")
        at_least = len(first) - np.searchsorted(first, second, side="left")
        wins += float((above + at_least).sum()) / 2
    return wins / pairs if pairs else float("nan")


def tied_groups(names: list[str], means: Floats, separated: set[frozenset[str]]) -> list[list[str]]:
    """Names from the lowest mean to the highest, in the largest groups of which no two are
    separated (Piepho 2004, letter-based representation of all pairwise comparisons). In a chain of
    ties a name stands in several groups; two names are separated where they share none."""
    from networkx import Graph, find_cliques

    order = [names[i] for i in np.argsort(means, kind="stable")]
    tied = Graph()
    tied.add_nodes_from(range(len(order)))
    pairs = combinations(range(len(order)), 2)
    tied.add_edges_from(pair for pair in pairs if frozenset(order[at] for at in pair) not in separated)
    return [[order[at] for at in group] for group in sorted(map(sorted, find_cliques(tied)))]
