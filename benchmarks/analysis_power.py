"""The paired analysis against known truth, on synthetic blocks.

    python benchmarks/analysis_power.py [REPETITIONS]

prints the family-wise false positives under permuted labels, what is found of a type that
differs only in FLOPs, the coverage of the intervals, and how often a planted effect is detected
at the number of contexts that the program asks for, beside the power that it predicts. It exits
with 1 where one misses its target. 200 repetitions by default.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import combinations

import numpy as np

from nas.analysis.claims.paired_gates import Evidence
from nas.analysis.paired.blocks import Blocks
from nas.analysis.paired.comparison import PairedComparison, compare_blocks
from nas.analysis.paired.recipes import Tuned
from nas.stats import power

EVIDENCE = Evidence(epochs=60, full_epochs=60, tuned=Tuned(5))
SD_TYPE, SD_SEED, SEEDS = 0.008, 0.004, 2
"""Of a type's own error in a context, and between training seeds."""

SD_PAIR = np.sqrt(2 * (SD_TYPE**2 + SD_SEED**2 / SEEDS))
SKEW = 4.0
"""Shape of the gamma noise of contexts: errors are skewed to the right."""


def simulate(
    contexts: int, types: int, rng: np.random.Generator, *, shape: float = 0.0, flops: float = 0.0
) -> Blocks:
    """Blocks in which the last type is better by `shape` at the same shape, by `flops` at equal
    FLOPs; types interact with contexts in the same way in both arms, but for a part."""
    names = tuple(f"type{at}" for at in range(types))
    base = 0.1 + 0.02 * rng.gamma(SKEW, size=(contexts, 1, 1, 1))
    own = rng.normal(0, SD_TYPE * np.sqrt(0.5), (contexts, 1, 1, types))
    own = own + rng.normal(0, SD_TYPE * np.sqrt(0.5), (contexts, 2, 1, types))
    error = base + own + rng.normal(0, SD_SEED, (contexts, 2, SEEDS, types))
    error[:, :, :, -1] -= np.array([shape, flops])[None, :, None]
    cost = np.full(error.shape, 1e7)
    digests = np.arange(error.size).reshape(error.shape).astype("<U32")
    deep = rng.random(contexts) < 0.5
    strata = {"low depth": ~deep, "high depth": deep}
    failed, depth = np.zeros(error.shape, bool), np.where(deep, 6.0, 3.0)
    return Blocks(names, error, cost, cost, failed, digests, depth, strata)


def permuted(blocks: Blocks, rng: np.random.Generator) -> Blocks:
    """The labels of the types dealt out anew within each context."""
    order = rng.permuted(np.tile(np.arange(len(blocks.types)), (len(blocks.error), 1)), axis=1)
    error = np.take_along_axis(blocks.error, order[:, None, None, :], axis=3)
    return replace(blocks, error=error)


def compared(blocks: Blocks, seed: int) -> PairedComparison:
    return compare_blocks(blocks, EVIDENCE, np.random.default_rng(seed))


def false_positives(repetitions: int, types: int = 5) -> dict[str, float]:
    """Share of repetitions with any claim, or any p below 0.05 of one estimand, or of either."""
    counts = dict.fromkeys(("claims", "E2", "E1", "E1 or E2"), 0)
    for repeat in range(repetitions):
        rng = np.random.default_rng([1, repeat])
        found = compared(permuted(simulate(24, types, rng, shape=0.02, flops=0.02), rng), repeat).contrasts
        first, second = (any(getattr(c, p) < 0.05 for c in found) for p in ("p_same_shape", "p_equal_flops"))
        counts["claims"] += any(c.grade in "AB" for c in found)
        counts["E1"] += first
        counts["E2"] += second
        counts["E1 or E2"] += first or second
    return {name: count / repetitions for name, count in counts.items()}


def flops_only(repetitions: int) -> tuple[float, float, float]:
    """Of a type that gains 2 points at the same shape by its FLOPs alone: share found in E1, share
    found in E2, and the mean of E2 in points."""
    first = second = total = 0.0
    for repeat in range(repetitions):
        rng = np.random.default_rng([2, repeat])
        (c,) = compared(simulate(24, 2, rng, shape=0.02), repeat).contrasts
        first, second = first + (c.p_same_shape < 0.05), second + (c.p_equal_flops < 0.05)
        total += c.equal_flops.value
    return first / repetitions, second / repetitions, 100 * total / repetitions


def detected(repetitions: int, types: int, effect: float) -> tuple[int, float, float]:
    """Contexts asked for, the power predicted, and the share of repetitions that claim the effect
    of the last type over the first."""
    tests = types * (types - 1) // 2
    contexts = power.needed(effect, float(SD_PAIR), tests)
    hits = 0
    for repeat in range(repetitions):
        rng = np.random.default_rng([3, types, contexts, repeat])
        found = compared(simulate(contexts, types, rng, shape=effect, flops=effect), repeat)
        c = next(c for c in found.contrasts if (c.a, c.b) == ("type0", f"type{types - 1}"))
        hits += c.p_equal_flops < 0.05 and c.equal_flops.value < 0
    return contexts, power.predicted(contexts, effect, float(SD_PAIR), tests), hits / repetitions


def coverage(repetitions: int, types: int = 3, contexts: int = 24) -> float:
    """Share of the intervals of E2 that hold the truth."""
    held = []
    for repeat in range(repetitions):
        rng = np.random.default_rng([4, repeat])
        found = compared(simulate(contexts, types, rng, shape=0.01, flops=0.01), repeat).contrasts
        for c, (_, b) in zip(found, combinations(range(types), 2), strict=True):
            held.append(c.equal_flops.low <= -0.01 * (b == types - 1) <= c.equal_flops.high)
    return float(np.mean(held))


def main(repetitions: int) -> int:
    wrong = false_positives(repetitions)
    shape, matched, mean = flops_only(repetitions)
    checks = [
        ("family-wise positives, claims", wrong["claims"], wrong["claims"] <= 0.05),
        ("family-wise positives, E2", wrong["E2"], wrong["E2"] <= 0.05),
        ("family-wise positives, E1", wrong["E1"], wrong["E1"] <= 0.05),
        ("FLOPs only: found in E1", shape, shape > 0.95),
        ("FLOPs only: found in E2", matched, matched <= 0.08),
        ("FLOPs only: E2, points", mean, abs(mean) < 0.1),
        ("coverage of 95 % intervals", covered := coverage(repetitions), 0.93 <= covered <= 0.97),
    ]
    for types, effect in ((2, 0.004), (2, 0.006), (3, 0.005), (5, 0.006)):
        contexts, predicted, found = detected(repetitions, types, effect)
        name = f"{types} types, {100 * effect:g} points, {contexts} contexts: {predicted:.2f} predicted"
        checks.append((name, found, abs(found - predicted) <= 0.05))
    for name, value, good in checks:
        print(f"{name:60} {value:7.3f}  {'ok' if good else 'MISSED'}")
    print(f"any p < 0.05 in E1 or E2, two families: {wrong['E1 or E2']:.3f}")
    return 0 if all(good for _, _, good in checks) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
