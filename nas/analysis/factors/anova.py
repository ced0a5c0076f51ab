"""Functional ANOVA of a table with (nearly) every combination of the factors: exact, without a model (Hutter,
Hoos and Leyton-Brown, 2014; Sobol's indices, 1993)."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from nas.stats.resampling import Floats, Ints

NEARLY = 0.95
"""Least share of the combinations that a table must hold."""


def complete(levels: Ints) -> bool:
    """Return whether the rows of levels (n, factors) are nearly all combinations, once each."""
    needed = NEARLY * np.prod(levels.max(axis=0) + 1.0)
    if len(levels) < needed or (levels < 0).any():
        return False
    return len(levels) == len(np.unique(levels, axis=0))


def main_shares(levels: Ints, error: Floats) -> Floats:
    """Return the share of the variance of error (n,) that each factor alone explains (factors,)."""
    return np.array([_between(levels[:, [at]], error) for at in range(levels.shape[1])])


def pair_shares(levels: Ints, error: Floats) -> dict[tuple[int, int], float]:
    """Return the share that two factors explain together beyond each alone, by their columns."""
    main = main_shares(levels, error)
    return {
        (a, b): max(0.0, float(_between(levels[:, [a, b]], error) - main[a] - main[b]))
        for a, b in combinations(range(levels.shape[1]), 2)
    }


def total_shares(levels: Ints, error: Floats) -> Floats:
    """Return the share that each factor explains with its interactions of any order, which is all that the
    others leave (factors,)."""
    factors = range(levels.shape[1])
    return np.array([1 - _between(levels[:, [b for b in factors if b != a]], error) for a in factors])


def _between(levels: Ints, error: Floats) -> float:
    """Return the share of the variance between the groups of equal levels (n, k); 0 if k is 0."""
    group = np.zeros(len(error), np.intp)
    for column in levels.T:
        group = np.unique(group * (int(column.max()) + 1) + column, return_inverse=True)[1]
    counts = np.bincount(group)
    means = np.bincount(group, weights=error) / counts
    return float(counts @ (means - error.mean()) ** 2 / (len(error) * error.var()))
