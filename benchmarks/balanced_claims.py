"""Claims at equal FLOPs and depth from unpaired networks, against known truth.

    python benchmarks/balanced_claims.py [REPETITIONS]

prints for each generator how often a claim of grade C or D is wrong, how often the interval holds the true
effect, and how often a claim reaches grade C; then how often an effect is found that a plan says is found in
4 of 5 studies. It exits with 1 where one misses its target. 400 repetitions by default.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from nas.analysis.analyze import analyze
from nas.stats import power
from nas.stats.adjusted import AdjustedEffect, adjusted_effect
from nas.stats.resampling import Floats, holm

SD = 0.01
"""Between networks of equal FLOPs, depth and type: one point of error."""

TYPES = ("fractal", "plain", "residual", "resnext")
FALSE, COVERAGE, POWER = 0.06, (0.93, 0.97), (0.75, 0.85)
"""The most false claims, and the limits of coverage and of power that a normal generator has to keep."""

CHANCE = 2.0
"""Standard errors of a simulated rate by which it may miss its target."""


@dataclass(frozen=True)
class Generator:
    """Networks of pure types whose error is known.

    shift: the dex of FLOPs by which the last type exceeds the others, deeper: its blocks, effect: its error.
    by_flops, by_depth: weight of the two curves of error; by_width: of log FLOPs x depth. turn: change of the
    effect per dex, around the mean of both types. unequal: SD of the last type as a multiple of `SD`.
    balanced: equally many networks of each type in each of 5 FLOPs bins and 3 classes of depth.
    """

    networks: int = 200
    types: int = 2
    shift: float = 0.0
    deeper: float = 0.0
    effect: float = 0.0
    by_flops: float = 1.0
    by_depth: float = 0.0
    by_width: float = 0.0
    turn: float = 0.0
    unequal: float = 1.0
    noise: str = "normal"
    balanced: bool = False

    def frame(self, seed: int) -> pd.DataFrame:
        """One row per network, with the columns that `analyze` reads."""
        rng = np.random.default_rng(seed)
        kind, dex, depth = self._drawn(rng)
        last = kind == self.types - 1
        spread = SD * np.where(last, self.unequal, 1.0)
        error = 0.3 + self.effect * last + self.turn * last * (dex - dex.mean()) + spread * self._noise(rng)
        error += self.by_flops * (0.012 * (dex - 7) ** 2 - 0.06 * (dex - 7))
        error += self.by_depth * 0.04 * np.exp(-depth / 3) + self.by_width * 0.01 * (dex - 7) * (depth - 6)
        return pd.DataFrame(
            {
                "number": range(self.networks),
                "state": "complete",
                "error": error,
                "flops": (10**dex).astype(np.int64),
                "digest": [f"{at:032x}" for at in range(self.networks)],
                "blocks": [(TYPES[k],) * int(d) for k, d in zip(kind, depth, strict=True)],
                "module_types": [TYPES[k] for k in kind],
                "uniform": True,
                "seed": range(self.networks),
            }
        )

    def _drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, Floats, Floats]:
        """Type, log10 of FLOPs and depth of each network; a type that is shifted lies so in every cell."""
        kind = rng.permutation(np.arange(self.networks) % self.types)
        last = kind == self.types - 1
        if not self.balanced:
            dex = rng.normal(7 + self.shift * last, 0.35)
            return kind, dex, np.clip(np.round(rng.normal(6 + self.deeper * last, 2)), 2, 12)
        within = rng.beta(1 + 2 * (self.shift > 0) * last, 1, self.networks)
        dex = 6.2 + 0.32 * (rng.integers(5, size=self.networks) + within)
        inside = rng.integers(4, size=self.networks)
        inside = np.where(last & (rng.random(self.networks) < 0.3 * self.deeper), 3, inside)
        return kind, dex, 1.0 + 4 * rng.integers(3, size=self.networks) + inside

    def _noise(self, rng: np.random.Generator) -> Floats:
        """Noise of mean 0 and SD 1."""
        draws: dict[str, Callable[[], Floats]] = {
            "normal": lambda: rng.normal(size=self.networks),
            "t3": lambda: rng.standard_t(3, self.networks) / np.sqrt(3),
            "gamma": lambda: (rng.gamma(2, size=self.networks) - 2) / np.sqrt(2),
            "lognormal": lambda: (
                (rng.lognormal(size=self.networks) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)
            ),
        }
        return draws[self.noise]()


@dataclass(frozen=True)
class Rates:
    """Shares of the repetitions: with a wrong claim, with the true effect in the interval of the last pair
    (over those that have one), and with a contrast of grade C."""

    wrong: float
    covered: float
    grade_c: float


def rates(generator: Generator, repetitions: int, first: int = 0) -> Rates:
    """What the analysis claims of samples whose truth is known. A claim is wrong if it separates two types
    and the sign is not that of the true difference."""
    wrong, covered, grade_c = [], [], []
    for seed in range(first, first + repetitions):
        (found,) = analyze(generator.frame(seed)).comparisons
        truth = dict.fromkeys(TYPES, 0.0) | {TYPES[generator.types - 1]: generator.effect}
        claims = [c for c in found.contrasts if c.grade != "X" and c.p_equal_flops < 0.05]
        true = [np.sign(truth[c.b] - truth[c.a]) == np.sign(c.equal_flops.value) for c in claims]
        wrong.append(not all(true))
        last = found.contrasts[-1].equal_flops
        if np.isfinite(last.low):
            covered.append(last.low <= generator.effect <= last.high)
        grade_c.append(any(c.grade == "C" for c in found.contrasts))
    return Rates(*(float(np.mean(values)) for values in (wrong, covered, grade_c)))


GENERATORS = {
    "no difference": Generator(),
    "shift of .2 dex": Generator(shift=0.2),
    "shift of .2 dex, 60 networks": Generator(shift=0.2, networks=60),
    "shift of .2 dex, 1,000 networks": Generator(shift=0.2, networks=1000),
    "shift in every bin, balanced": Generator(shift=0.2, balanced=True, networks=240),
    "depth alone": Generator(deeper=1.5, by_flops=0, by_depth=1),
    "depth alone, 60 networks": Generator(deeper=1.5, by_flops=0, by_depth=1, networks=60),
    "depth alone, balanced": Generator(deeper=1, by_flops=0, by_depth=1, balanced=True, networks=240),
    "FLOPs, depth and width": Generator(shift=0.2, deeper=1, by_depth=1, by_width=1),
    "four types, one shifted": Generator(shift=0.2, types=4),
    "an effect": Generator(effect=0.01, shift=0.2),
    "an effect that turns": Generator(effect=0.01, turn=0.03),
    "unequal spread": Generator(effect=0.01, shift=0.1, unequal=3),
    "t3": Generator(effect=0.01, shift=0.2, noise="t3"),
    "gamma": Generator(effect=0.01, shift=0.2, noise="gamma"),
    "lognormal": Generator(effect=0.01, shift=0.2, noise="lognormal"),
}


def found_share(each: int, types: int, repetitions: int) -> float:
    """How often an effect is found whose size a plan of so many networks of each type promises."""
    generator = Generator(networks=each * types, types=types, balanced=True)
    plan = _adjusted(generator.frame(repetitions))
    effect = power.detectable(int(min(pair.worth for pair in plan) / 2), SD * np.sqrt(2), len(plan))
    found = 0
    for seed in range(repetitions):
        pairs = _adjusted(replace(generator, effect=effect).frame(seed))
        found += holm(np.array([pair.p for pair in pairs]))[-1] < 0.05
    return found / repetitions


def _adjusted(frame: pd.DataFrame) -> list[AdjustedEffect]:
    """The comparison of each two types at equal FLOPs and depth."""
    types = sorted(set(frame["module_types"]))
    shares = np.eye(len(types))[[types.index(kind) for kind in frame["module_types"]]]
    covariates = np.log(frame["flops"].to_numpy(float)), np.array([len(b) for b in frame["blocks"]], float)
    error, pairs = frame["error"].to_numpy(float), combinations(range(len(types)), 2)
    return [adjusted_effect(shares, error, covariates, *pair) for pair in pairs]


def main(repetitions: int) -> int:
    missed = 0
    slack = CHANCE * np.sqrt(0.05 * 0.95 / repetitions)
    print(f"{'generator':34} {'wrong claims':>12} {'coverage':>9} {'grade C':>8}")
    for name, generator in GENERATORS.items():
        found = rates(generator, repetitions)
        bad = found.wrong > FALSE + slack
        bad = bool(bad or not COVERAGE[0] - slack <= found.covered <= COVERAGE[1] + slack)
        print(f"{name:34} {found.wrong:12.3f} {found.covered:9.3f} {found.grade_c:8.2f}{' MISSED' * bad}")
        missed += bad
    slack = CHANCE * np.sqrt(0.2 * 0.8 / repetitions)
    for each, types in ((30, 2), (60, 2), (60, 4), (150, 4)):
        share = found_share(each, types, repetitions)
        bad = bool(not POWER[0] - slack <= share <= POWER[1] + slack)
        print(f"{each} networks of each of {types} types: found in {share:.3f}{' MISSED' * bad}")
        missed += bad
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
