"""Module types compared on one sample of distinct networks, raw and at equal FLOPs.

The statistics are in `nas.analysis.type_effects`, what may be said of them in `nas.analysis.claims.grades`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from nas.analysis.claims.grades import (
    ALLOWED,
    LEVEL,
    MIN_NETWORKS_OF_TYPE,
    Facts,
    Gate,
    Graded,
    count_grades,
    gates,
    sentence,
)
from nas.analysis.failures import Failures, rate_gate, unpaired_failures
from nas.analysis.type_effects import Effects, Sample, permutation_p, type_effects
from nas.stats import resampling as statistics
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats, Ints

FLOPS_BINS = 5
"""Bins of equal width in log FLOPs, over the networks compared."""

RESAMPLES = (200, 1000)
"""Fewest and most bootstrap draws: many networks need fewer for the same limits."""

DRAWN = 3_000_000
"""Networks drawn over all resamples, between these bounds."""

PERMUTATIONS = (1000, 22)
"""Fewest permutations, and how many a test, so that the smallest p survives Holm (0.045)."""


THAT_TRAIN = "among networks that train"
"""What a contrast of a sample that no searcher steered speaks of where one type failed more often."""


@dataclass(frozen=True)
class Networks:
    """Distinct complete networks, one a row: arrays (n,), `shares` (n, types) of blocks.
    `runs` holds for each type how many runs hold it and how many of these failed."""

    names: tuple[str, ...]
    shares: Floats
    error: Floats
    flops: Floats
    uniform: np.ndarray[Any, np.dtype[np.bool_]]
    seed: Ints
    runs: Mapping[str, tuple[int, int]]

    def rows(self, at: np.ndarray[Any, Any], runs: Mapping[str, tuple[int, int]]) -> Networks:
        columns = (self.shares[at], self.error[at], self.flops[at], self.uniform[at], self.seed[at])
        return Networks(self.names, *columns, runs)


@dataclass(frozen=True)
class TypeResult:
    """One module type. `raw` and `equal_flops` are the error of a network made of it alone;
    `runs` and `failed` count runs that hold it, `networks` distinct complete ones."""

    name: str
    runs: int
    failed: int
    networks: int
    raw: Estimate
    equal_flops: Estimate


@dataclass(frozen=True)
class Contrast(Graded):
    """Type a replaced by type b: differences of error (b less a), p-values after Holm over
    all contrasts both raw and at equal FLOPs, the probability that a network mostly of b has a
    lower error than one mostly of a of like FLOPs (NaN where few are), the failures of the runs that hold
    each type, whether a searcher steered the sample, and the gates that say what may be claimed."""

    a: str
    b: str
    raw: Estimate
    p_raw: float
    equal_flops: Estimate
    p_equal_flops: float
    superiority: float
    overlap: float
    failures: Failures
    steered: bool
    gates: tuple[Gate, ...]

    @property
    def claim(self) -> str:
        among = THAT_TRAIN if self.failures.differ and not self.steered else ALLOWED["D"]
        said = sentence(self.grade, self.a, self.b, self.equal_flops, self.p_equal_flops, among=among)
        return said + self.failures.note(self.a, self.b)


@dataclass(frozen=True)
class Comparison:
    """The types on one sample. `groups` go from the lowest error at equal FLOPs to the highest;
    types share one if they are not separated, so a chain of ties takes several; there are none where no
    contrast is supported."""

    sample: str
    networks: int
    types: tuple[TypeResult, ...]
    contrasts: tuple[Contrast, ...]
    groups: tuple[tuple[str, ...], ...]

    @property
    def grades(self) -> dict[str, int]:
        """How many contrasts have each grade."""
        return count_grades(self.contrasts)


def compare(name: str, networks: Networks, rng: np.random.Generator) -> Comparison:
    """Compare the types of a sample; those that too few networks hold are only counted."""
    kept, at = _comparable(networks)
    resamples = int(np.clip(DRAWN // max(len(at), 1), *RESAMPLES))
    fitted = networks.rows(at, networks.runs)
    samples = [_sample(fitted, kept, matched) for matched in (False, True)] if kept else []
    effects = [type_effects(sample, resamples, rng) for sample in samples]
    contrasts = _contrasts(fitted, kept, samples, effects, rng) if len(kept) > 1 else {}
    pairs = combinations(range(len(networks.names)), 2)
    everything = tuple(contrasts.get(pair) or _unknown(networks, pair) for pair in pairs)
    groups = _groups([networks.names[k] for k in kept], effects[1].means, everything) if contrasts else ()
    types = _type_results(networks, kept, effects)
    return Comparison(name, len(networks.error), types, everything, groups)


def _comparable(networks: Networks) -> tuple[list[int], Ints]:
    """Types that enough networks hold, and the networks made of these alone."""
    keep = list(range(len(networks.names)))
    while True:
        pure = np.flatnonzero(np.isclose(networks.shares[:, keep].sum(axis=1), 1))
        counts = (networks.shares[pure] > 0).sum(axis=0)
        left = [k for k in keep if counts[k] >= MIN_NETWORKS_OF_TYPE]
        if left == keep:
            return keep, pure
        keep = left


def _sample(networks: Networks, kept: list[int], matched: bool) -> Sample:
    """The rows for `nas.analysis.type_effects`; `matched` within FLOPs bins."""
    stratum = _flops_bins(networks.flops) if matched else np.zeros(len(networks.error), np.intp)
    return Sample(networks.shares[:, kept], networks.error, stratum, np.arange(len(stratum)))


def _type_results(networks: Networks, kept: list[int], effects: list[Effects]) -> tuple[TypeResult, ...]:
    estimates = dict.fromkeys(networks.names, (UNKNOWN, UNKNOWN))
    for row, k in enumerate(kept):
        raw, matched = (_bounded(0, *effect.mean(row)) for effect in effects)
        estimates[networks.names[k]] = (raw, matched)
    counts = (networks.shares > 0).sum(axis=0)
    return tuple(
        TypeResult(name, *networks.runs[name], int(counts[k]), *estimates[name])
        for k, name in enumerate(networks.names)
    )


def _contrasts(
    networks: Networks,
    kept: list[int],
    samples: list[Sample],
    effects: list[Effects],
    rng: np.random.Generator,
) -> dict[tuple[int, int], Contrast]:
    """Every pair of the types that are kept, with one Holm adjustment over all tests."""
    pairs = list(combinations(range(len(kept)), 2))
    permutations = max(PERMUTATIONS[0], PERMUTATIONS[1] * 2 * len(pairs))
    p = statistics.holm(np.concatenate([permutation_p(s, permutations, rng) for s in samples]))
    p_raw, p_matched = p[: len(pairs)], p[len(pairs) :]
    bins = samples[1].stratum
    dominant = _dominant(networks.shares[:, kept])
    results = {}
    for at, (i, j) in enumerate(pairs):
        raw, matched = (_bounded(-1, *effect.difference(i, j)) for effect in effects)
        pair = (kept[i], kept[j])
        facts = _facts(networks, pair, bins, raw, matched)
        led = min((dominant == i).sum(), (dominant == j).sum())
        better = float("nan")
        if led >= MIN_NETWORKS_OF_TYPE:
            better = statistics.superiority(networks.error, dominant, bins, i, j)
        a, b = (networks.names[k] for k in pair)
        tests = (raw, float(p_raw[at]), matched, float(p_matched[at]))
        results[pair] = _contrast(networks, (a, b), tests, better, facts)
    return results


def _bounded(least: float, value: float, low: float, high: float) -> Estimate:
    """The estimate within what errors can be, from `least` to 1; unknown where it lies outside with its
    limits and all, as nothing is known of a type there that the networks at hand are not made of."""
    inside, lower, upper = np.clip([value, low, high], least, 1.0)  # NaN stays NaN
    if low > 1 or high < least or (np.isnan(low) and inside != value):
        return UNKNOWN
    return Estimate(float(inside), float(np.minimum(lower, inside)), float(np.maximum(upper, inside)))


def _unknown(networks: Networks, pair: tuple[int, int]) -> Contrast:
    """A contrast of which one type is held by too few networks to fit anything."""
    facts = _facts(networks, pair, _flops_bins(networks.flops), UNKNOWN, UNKNOWN)
    a, b = (networks.names[k] for k in pair)
    nothing = float("nan")
    return _contrast(networks, (a, b), (UNKNOWN, nothing, UNKNOWN, nothing), nothing, facts)


def _contrast(
    networks: Networks,
    pair: tuple[str, str],
    tests: tuple[Estimate, float, Estimate, float],
    better: float,
    facts: Facts,
) -> Contrast:
    failures = unpaired_failures(*(networks.runs[name] for name in pair))
    checked = (*gates(facts), rate_gate(failures, "C"))
    return Contrast(*pair, *tests, better, facts.overlap, failures, not facts.balanced, checked)


def _flops_bins(flops: Floats) -> Ints:
    """The bin of each network, numbered without gaps."""
    if not len(flops):
        return np.zeros(0, np.intp)
    return np.unique(statistics.log_bins(flops, FLOPS_BINS)[1], return_inverse=True)[1].astype(np.intp)


def _dominant(shares: Floats) -> Ints:
    """The type of most blocks of each network; -1 where two have as many."""
    ordered = np.sort(shares, axis=1)
    tied = np.isclose(ordered[:, -1], ordered[:, -2])
    return np.where(tied, -1, shares.argmax(axis=1)).astype(np.intp)


def _facts(networks: Networks, pair: tuple[int, int], bins: Ints, raw: Estimate, matched: Estimate) -> Facts:
    """How the networks that hold either type lie in the FLOPs bins."""
    holds = networks.shares[:, list(pair)] > 0
    either = holds.any(axis=1)
    size = int(bins.max(initial=0)) + 1
    counts = np.stack([np.bincount(bins, weights=column, minlength=size) for column in holds.T])
    used = np.bincount(bins, weights=either, minlength=counts.shape[1])
    common = (counts > 0).all(axis=0)
    return Facts(
        networks=int(either.sum()),
        networks_a=int(holds[:, 0].sum()),
        networks_b=int(holds[:, 1].sum()),
        balanced=bool(networks.uniform.all()),
        seeds=len(np.unique(networks.seed[either])),
        overlap=float(used[common].sum() / max(used.sum(), 1)),
        empty_cells=int((counts[:, used > 0] == 0).sum()),
        raw=raw,
        equal_flops=matched,
    )


def _groups(names: list[str], means: Floats, contrasts: tuple[Contrast, ...]) -> tuple[tuple[str, ...], ...]:
    supported = [c for c in contrasts if c.grade != "X"]
    if not supported:
        return ()
    separated = {frozenset((c.a, c.b)) for c in supported if c.p_equal_flops < LEVEL}
    return tuple(tuple(group) for group in statistics.tied_groups(names, means, separated))
