"""Statistics on arrays, deterministic given the generator: resamples, intervals, ranks and tests.

What they say of module types is in `nas.analysis`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CHUNK = 1_000_000
"""Elements of the largest temporary arrays: bounds the memory at 100,000 networks."""


def log_bins(values: Floats, count: int) -> tuple[Floats, Ints]:
    """`count` bins of equal width in log(value) from the smallest to the largest value:
    the edges (count + 1,) and the bin of each value. Values must be above zero."""
    low, high = np.log(values.min()), np.log(values.max())
    edges = np.exp(np.linspace(low, high, count + 1))
    inner = np.searchsorted(edges[1:-1], values, side="right")
    return edges, inner.astype(np.intp)


def bootstrap_counts(clusters: int, resamples: int, step: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield how often each cluster is drawn, for (`step` resamples, clusters) at a time."""
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        draws = rng.integers(clusters, size=(rows, clusters))
        draws += clusters * np.arange(rows)[:, None]
        counts = np.bincount(draws.ravel(), minlength=rows * clusters)
        yield counts.reshape(rows, clusters).astype(np.float64)


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
    """Return ranks from 0; equal values share the mean of their ranks."""
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
    """Names from the lowest mean to the highest, in the largest groups of which no two are separated,
    by inserting one separation after the other (Piepho, 2004). In a chain of ties a name stands in
    several groups; two names are separated where they share none."""
    order = [names[i] for i in np.argsort(means, kind="stable")]
    groups = [frozenset(range(len(order)))]
    for pair in combinations(range(len(order)), 2):
        if frozenset(order[at] for at in pair) in separated:
            split = [group - {at} if group >= set(pair) else group for group in groups for at in pair]
            groups = [group for group in {*split} if not any(group < other for other in split)]
    return [[order[at] for at in group] for group in sorted(map(sorted, groups))]
