"""The test and the interval of paired means alone, against known truth.

    python benchmarks/claims_statistics.py [REPETITIONS]

draws differences between four types, whose noise has a known shape and equal or unequal scales, and prints
for 20 and 50 contexts the coverage of the 95 % intervals of all six contrasts, the family-wise error after
Holm, and how often an effect is found between two types where the plan says 80 %. What `benchmarks/claims.py`
asks of `nas.analyze` takes hours; this takes minutes. 1,000 repetitions by default.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from testing.generators import NOISES, noise

from nas.stats import power
from nas.stats.paired_means import paired_means
from nas.stats.resampling import holm

CONTEXTS = (20, 50)
SCALES = {"equal": (1.0, 1.0, 1.0, 1.0), "unequal": (0.5, 1.0, 1.0, 2.0)}
EXTREME = "lognormal 1"
"""Noise of extreme skew: lognormal with a sigma of 1, where the other has 0.5."""

MARGIN = 0.5


def rates(
    kind: str, scales: tuple[float, ...], contexts: int, repetitions: int
) -> tuple[float, float, float]:
    """Return the coverage, the family-wise error and the power."""
    rng = np.random.default_rng(contexts)
    own = noise(kind, (contexts, repetitions, len(scales)), rng) * np.array(scales)
    pairs = list(combinations(range(len(scales)), 2))
    d = np.stack([own[..., b] - own[..., a] for a, b in pairs], axis=-1).reshape(contexts, -1)
    null = paired_means(d, MARGIN, rng)
    families = null.p.reshape(repetitions, len(pairs))
    wrong = np.mean([(holm(p) < 0.05).any() for p in families])
    sd = float(np.hypot(*scales[-2:]))
    effect = power.detectable(contexts, sd, two_tests=True) * rng.choice([-1, 1], repetitions)
    two = noise(kind, (contexts, repetitions, 2), rng) * np.array(scales[-2:])
    found = paired_means(two[..., 1] - two[..., 0] + effect, MARGIN, rng)
    hits = np.where(effect > 0, found.low > 0, found.high < 0)
    return float(np.mean((null.low <= 0) & (null.high >= 0))), float(wrong), float(hits.mean())


def main(repetitions: int) -> None:
    print("noise, scales, contexts: coverage, family-wise error, power in % (planned 80)")
    for kind in (*NOISES, EXTREME):
        for name, scales in SCALES.items():
            for contexts in CONTEXTS:
                figures = (f"{100 * rate:.1f}" for rate in rates(kind, scales, contexts, repetitions))
                print(f"{kind}, {name}, {contexts}: {', '.join(figures)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
