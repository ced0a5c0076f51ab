"""Module types compared within paired blocks (see `nas.searchers.designs.paired`).

A difference is taken between two trainings of one context with one training seed, averaged
over the seeds; contexts are what was drawn independently, so intervals and tests are over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nas.analysis.claims.grades import LEVEL, Gate, Graded, best_grade, sentence
from nas.analysis.claims.paired_gates import Evidence, PairedFacts, paired_gates
from nas.analysis.failures import Failures, paired_failures
from nas.analysis.paired.blocks import ARMS, Blocks, Mask, mean_of
from nas.stats import resampling as statistics
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats

RESAMPLES = 2000
PERMUTATIONS = 10_000
BOTH_TRAIN = "among contexts where both train"
"""What a contrast speaks of where trainings failed otherwise than by chance."""

STRATUM_CONTEXTS = 5
"""Contexts below which a stratum is not looked at."""

ESTIMAND = (
    "Mean change of validation error when module type a is replaced by type b in every block, over contexts "
    "(depth, width, batch norm, stem, skips) drawn at random from the space, on these data with this recipe: "
    "E1 at the same shape, E2 at equal FLOPs (within 3 %, widths scaled). Intervals are 95 %, by bootstrap "
    "over contexts; p by sign flips, after Holm over the contrasts of each estimand."
)


@dataclass(frozen=True)
class PairedContrast(Graded):
    """Type a replaced by type b. Changes are fractions; `superiority` is the share of blocks at
    equal FLOPs in which b has the lower error; `heterogeneity` the SD of the effect between
    contexts beyond seed noise; `failed_a` and `failed_b` are the shares of `failures`."""

    a: str
    b: str
    contexts: int
    networks: int
    same_shape: Estimate
    p_same_shape: float
    equal_flops: Estimate
    p_equal_flops: float
    superiority: float
    in_seed_sd: float
    flops_change: float
    params_change: float
    failed_a: float
    failed_b: float
    heterogeneity: float
    epochs: int
    failures: Failures
    gates: tuple[Gate, ...]

    @property
    def claim(self) -> str:
        effect, p = self.equal_flops, self.p_equal_flops
        said = sentence(self.grade, self.a, self.b, effect, p, self.epochs, BOTH_TRAIN)
        return said + self.failures.note(self.a, self.b)


@dataclass(frozen=True)
class PairedComparison:
    """All types in paired blocks. `groups` go from the lowest error at equal FLOPs to the highest;
    types share one if they are not separated, so a chain of ties takes several; there are none where no
    contrast is supported."""

    contexts: int
    networks: int
    seeds: int
    seed_sd: float
    contrasts: tuple[PairedContrast, ...]
    groups: tuple[tuple[str, ...], ...]
    evidence: Evidence
    estimand: str = ESTIMAND

    @property
    def grade(self) -> str:
        """The best of a contrast."""
        return best_grade(self.contrasts)


def compare_blocks(blocks: Blocks, evidence: Evidence, rng: np.random.Generator) -> PairedComparison:
    """Every pair of types, with the p-values of each estimand adjusted together."""
    pairs = list(combinations(range(len(blocks.types)), 2))
    differences = [blocks.differences(a, b) for a, b in pairs]
    p = np.array([[_p(d[:, arm], rng) for d in differences] for arm in range(len(ARMS))])
    adjusted = np.array([statistics.holm(row) for row in p]).reshape(len(ARMS), len(pairs))
    contrasts = tuple(
        _contrast(blocks, pair, d, adjusted[:, at], len(pairs), evidence, rng)
        for at, (pair, d) in enumerate(zip(pairs, differences, strict=True))
    )
    return PairedComparison(
        contexts=len(blocks.error),
        networks=len(np.unique(blocks.digests[blocks.digests != ""])),
        seeds=blocks.seeds,
        seed_sd=blocks.seed_sd,
        contrasts=contrasts,
        groups=_groups(blocks, contrasts),
        evidence=evidence,
    )


def _contrast(
    blocks: Blocks,
    pair: tuple[int, int],
    differences: Floats,
    p: Floats,
    tests: int,
    evidence: Evidence,
    rng: np.random.Generator,
) -> PairedContrast:
    both = np.isfinite(differences).all(axis=1)
    same_shape, matched = (_estimate(differences[:, arm], rng) for arm in range(len(ARMS)))
    failures = paired_failures(blocks, pair, evidence.guess, rng.spawn(1)[0])
    d, sd = differences[both, 1], _sd(differences[both, 1])
    facts = PairedFacts(
        contexts=int(both.sum()),
        seeds=blocks.seeds,
        same_shape=same_shape,
        equal_flops=matched,
        p=float(p[1]),
        sd=sd,
        seed_sd=blocks.seed_sd,
        tests=tests,
        reversed=_reversed(differences[:, 1], matched.value, blocks.strata, rng),
        tuned=evidence.tuned.effect(*(blocks.types[k] for k in pair)),
        failures=failures,
    )
    digests = blocks.digests[..., list(pair)][both]
    noise = 2 * blocks.seed_sd**2 / max(blocks.seeds, 1)
    return PairedContrast(
        a=blocks.types[pair[0]],
        b=blocks.types[pair[1]],
        contexts=facts.contexts,
        networks=len(np.unique(digests[digests != ""])),
        same_shape=same_shape,
        p_same_shape=float(p[0]),
        equal_flops=matched,
        p_equal_flops=float(p[1]),
        superiority=float(np.mean((d < 0) + (d == 0) / 2)) if len(d) else float("nan"),
        in_seed_sd=_ratio(matched.value, blocks.seed_sd),
        flops_change=_change(blocks.flops[:, 0], pair),
        params_change=_change(blocks.params[:, 0], pair),
        failed_a=failures.rates[0],
        failed_b=failures.rates[1],
        heterogeneity=float(np.sqrt(np.maximum(sd**2 - noise, 0))),
        epochs=evidence.epochs,
        failures=failures,
        gates=paired_gates(facts, evidence),
    )


def _reversed(
    differences: Floats, effect: float, strata: Mapping[str, Mask], rng: np.random.Generator
) -> tuple[str, ...]:
    """Strata in which the effect is significantly the other way, after Holm over the strata."""
    parts = {name: differences[mask & np.isfinite(differences)] for name, mask in strata.items()}
    parts = {name: d for name, d in parts.items() if len(d) >= STRATUM_CONTEXTS}
    against = [name for name, d in parts.items() if d.mean() * effect < 0]
    if not against:
        return ()
    p = statistics.holm(np.array([statistics.sign_flip_p(parts[n], RESAMPLES, rng) for n in parts]))
    return tuple(n for n, value in zip(parts, p, strict=True) if n in against and value < LEVEL)


def _groups(blocks: Blocks, contrasts: tuple[PairedContrast, ...]) -> tuple[tuple[str, ...], ...]:
    supported = [c for c in contrasts if c.grade != "X"]
    errors = mean_of(blocks.error[:, 1], 1)
    whole = errors[np.isfinite(errors).all(axis=1)]
    if not supported or not len(whole):
        return ()
    separated = {frozenset((c.a, c.b)) for c in supported if c.p_equal_flops < LEVEL}
    return tuple(map(tuple, statistics.tied_groups(list(blocks.types), whole.mean(axis=0), separated)))


def _p(differences: Floats, rng: np.random.Generator) -> float:
    return statistics.sign_flip_p(differences, PERMUTATIONS, rng)


def _estimate(differences: Floats, rng: np.random.Generator) -> Estimate:
    found = differences[np.isfinite(differences)]
    if not len(found):
        return UNKNOWN
    value, low, high = statistics.mean_interval(found, RESAMPLES, rng)
    return Estimate(value, *(float(limit) for limit in np.clip([low, high], -1, 1)))


def _sd(values: Floats) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _ratio(value: float, by: float) -> float:
    return value / by if by > 0 else float("nan")


def _change(values: Floats, pair: tuple[int, int]) -> float:
    """Geometric mean change of a cost from type a to type b, at the same shape."""
    logs = np.log(values[..., pair[1]] / values[..., pair[0]])
    known = logs[np.isfinite(logs)]
    return float(np.expm1(known.mean())) if len(known) else float("nan")
