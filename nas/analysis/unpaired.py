"""Module types compared over networks that share no contexts: means of groups, at most of grade D."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nas.analysis.claims.grades import (
    ALLOWED,
    LEVEL,
    MIN_NETWORKS,
    MIN_NETWORKS_OF_TYPE,
    PAIRED_RUNS,
    Gate,
    Graded,
)
from nas.analysis.failures import Failures, rate_gate, unpaired_failures
from nas.stats.estimate import UNKNOWN, Estimate, percent
from nas.stats.resampling import CHUNK, Floats, bootstrap_counts, holm

ESTIMAND = (
    "Difference of the mean validation error of networks of type b from that of networks of type a, over the "
    "networks of the table, whatever their FLOPs and their shapes. Intervals are 95 %, by bootstrap-t over "
    "networks; p is the larger of a permutation test and the bootstrap-t, after Holm over the contrasts."
)
RESAMPLES = 4000

LARGE = 1000
"""Networks of each type from which on permutations and the bootstrap-t agree, and the latter is enough."""


@dataclass(frozen=True)
class UnpairedContrast(Graded):
    """Networks of type b against networks of type a: the difference of their mean errors (a fraction), its p
    after Holm, and the failures of their trainings."""

    a: str
    b: str
    effect: Estimate
    p: float
    networks: tuple[int, int]
    failures: Failures
    gates: tuple[Gate, ...]

    @property
    def claim(self) -> str:
        """Claim that the grade allows, as a sentence without its full stop."""
        if self.grade == "X":
            said = f"{self.a} and {self.b}: {ALLOWED['X']}"
        elif self.p < LEVEL:
            better, worse = (self.b, self.a) if self.effect.value < 0 else (self.a, self.b)
            low, high = sorted((abs(self.effect.low), abs(self.effect.high)))
            size = percent(Estimate(abs(self.effect.value), low, high))
            said = (
                f"among the networks of the table, {better} had a mean error lower than that of {worse} by "
                f"{size} points, whatever their FLOPs"
            )
        else:
            said = (
                f"among the networks of the table, {self.a} and {self.b} are not separated: the difference "
                f"is {percent(self.effect)} points (p = {self.p:.3f})"
            )
        return said + self.failures.note(self.a, self.b)


def compare_groups(
    errors: Mapping[str, Floats], runs: Mapping[str, tuple[int, int]], rng: np.random.Generator
) -> tuple[UnpairedContrast, ...]:
    """Compare every pair of types.

    Args:
        errors: Mean error of each distinct network, by type.
        runs: For each type its trainings, and how many of them failed.
        rng: Source of the resamples.
    """
    pairs = list(combinations(sorted(runs), 2))
    groups = {name: errors.get(name, np.zeros(0)) for name in runs}
    drawn = {name: _resampled(values, rng) for name, values in groups.items()}
    tests = [_compared(groups[a], groups[b], (drawn[a], drawn[b]), rng) for a, b in pairs]
    adjusted = holm(np.array([p for _, p in tests]))
    return tuple(
        _contrast(pair, effect, float(p), tuple(len(groups[name]) for name in pair), runs)
        for pair, (effect, _), p in zip(pairs, tests, adjusted, strict=True)
    )


def _contrast(
    pair: tuple[str, str],
    effect: Estimate,
    p: float,
    networks: tuple[int, ...],
    runs: Mapping[str, tuple[int, int]],
) -> UnpairedContrast:
    a, b = networks
    failures = unpaired_failures(*(runs[name] for name in pair))
    short = max(0, MIN_NETWORKS - a - b)
    scarce = sum(max(0, MIN_NETWORKS_OF_TYPE - n) for n in networks)
    of_each = f"{a} and {b} networks, {MIN_NETWORKS_OF_TYPE} needed of each"
    alone = "the rows share no contexts; a column 'context' pairs those of the same depth, width and recipe"
    gates = (
        Gate(f"{MIN_NETWORKS} networks", "D", not short, f"{a + b} distinct networks", short),
        Gate(f"{MIN_NETWORKS_OF_TYPE} networks of each type", "D", not scarce, of_each, scarce),
        rate_gate(failures, "C"),
        Gate("paired contexts", "ABC", False, alone, PAIRED_RUNS),
    )
    return UnpairedContrast(*pair, effect, p, (a, b), failures, gates)


def _compared(
    a: Floats, b: Floats, drawn: tuple[Floats, Floats], rng: np.random.Generator
) -> tuple[Estimate, float]:
    """Return the difference of two means with its interval, and p. drawn: resamples of both means and of
    their variances, as of `_resampled`."""
    if min(len(a), len(b)) < 2:
        return UNKNOWN, float("nan")
    value, se = (float(column[0]) for column in _studentised(a[None], b[None]))
    shift = drawn[1][0] - drawn[0][0]
    errors = np.sqrt(drawn[0][1] + drawn[1][1])
    t = shift[errors > 0] / errors[errors > 0]
    if not len(t) or not se > 0:
        return Estimate(value, value, value), float("nan")
    high, low = np.quantile(t, [0.025, 0.975])
    tails = (1 + (t <= value / se).sum()), (1 + (t >= value / se).sum())
    p = min(1.0, 2 * min(tails) / (1 + len(t)))
    estimate = Estimate(value, value - low * se, value - high * se)
    if min(len(a), len(b)) >= LARGE:
        return estimate, float(p)
    return estimate, max(float(p), _permuted(a, b, value / se, rng))


def _resampled(values: Floats, rng: np.random.Generator) -> Floats:
    """Return the means of resampled networks less the mean of all, and the variances of these means, (2,
    resamples)."""
    n = len(values)
    if n < 2:
        return np.full((2, RESAMPLES), np.nan)
    centred = values - values.mean()
    powers = np.stack([centred, centred**2], axis=1)
    draws = bootstrap_counts(n, RESAMPLES, max(1, CHUNK // n), rng)
    first, second = (np.concatenate([counts @ powers for counts in draws]) / n).T
    return np.stack([first, (second - first**2).clip(0) / (n - 1)])


def _permuted(a: Floats, b: Floats, observed: float, rng: np.random.Generator) -> float:
    """Return the two-sided p of equal means, by permutation of the studentised difference."""
    both, exceed = np.concatenate([a, b]), 0
    step = max(1, CHUNK // len(both))
    for start in range(0, RESAMPLES, step):
        drawn = rng.permuted(np.tile(both, (min(step, RESAMPLES - start), 1)), axis=1)
        shift, errors = _studentised(drawn[:, : len(a)], drawn[:, len(a) :])
        exceed += int((np.abs(shift) >= abs(observed) * (1 - 1e-12) * np.maximum(errors, 1e-300)).sum())
    return float((1 + exceed) / (1 + RESAMPLES))


def _studentised(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the differences of the means of rows, and their standard errors."""
    errors = np.sqrt(a.var(axis=1, ddof=1) / a.shape[1] + b.var(axis=1, ddof=1) / b.shape[1])
    return b.mean(axis=1) - a.mean(axis=1), errors
