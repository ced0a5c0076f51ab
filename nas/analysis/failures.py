"""Failed trainings of two module types: their number, whether one type fails more often, and the claims that
this allows.

Trainings do not fail at random. A type that diverges where it is worst looks better among the contexts that
are left, so its effect is bounded: what would it be if each failed training had the error of a constant
guess?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan

import numpy as np

from nas.analysis.claims.grades import LEVEL, Gate
from nas.analysis.paired.blocks import Blocks
from nas.stats import resampling as statistics
from nas.stats.estimate import UNKNOWN, Estimate, percent

MAX_FAILED = 0.05
"""Share of trainings of both types together that may fail, or be absent, before an effect needs a bound."""

NONE = "no training failed"
PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Failures:
    """Failed trainings of the types a and b, of all that ran, and networks that were planned and have no
    training. `p` is that of equal rates; `bound` is the effect where each of them counts with the error of a
    constant guess, known for paired blocks alone."""

    failed: tuple[int, int] = (0, 0)
    trainings: tuple[int, int] = (0, 0)
    absent: tuple[int, int] = (0, 0)
    p: float = nan
    bound: Estimate = UNKNOWN

    @property
    def rates(self) -> tuple[float, float]:
        """Shares of the trainings of a and b that failed."""
        a, b = (n / max(of, 1) for n, of in zip(self.failed, self.trainings, strict=True))
        return a, b

    @property
    def share(self) -> float:
        """Share of all planned trainings of both types that failed or are absent."""
        lost = sum(self.failed) + sum(self.absent)
        return lost / max(sum(self.trainings) + sum(self.absent), 1)

    @property
    def differ(self) -> bool:
        return self.p < LEVEL

    def survives(self, effect: float) -> bool:
        """Return whether an effect keeps its sign, beyond chance, if each lost training has the error of a
        guess."""
        return self.bound.sign * effect > 0

    def selects(self, effect: float) -> bool:
        """Return whether losses may explain an effect, or hide one where it is 0: they are many, or of one
        type, and the sign of the effect does not survive the bound."""
        return (self.share > MAX_FAILED or self.differ) and not self.survives(effect)

    def note(self, a: str, b: str) -> str:
        """Return the end of a sentence about the types of these names: "" if no training was lost."""
        counts = zip((a, b), self.failed, self.trainings, self.absent, strict=True)
        parts = []
        for name, failed, of, absent in counts:
            parts += [f"{name} failed in {failed} of {of} trainings"] * (failed > 0)
            parts += [f"{name} is absent from {absent} context{'s' * (absent > 1)}"] * (absent > 0)
        return f" ({', '.join(parts)})" if parts else ""


NO_FAILURES = Failures()


def paired_failures(blocks: Blocks, arm: int, pair: tuple[int, int], rng: np.random.Generator) -> Failures:
    """Count the failures of two types in an arm of paired blocks, and test equal rates by sign flips over
    contexts. The bound is left open."""
    failed, ran, absent = (counts[:, list(pair)] for counts in blocks.tally(arm))
    totals = [(int(counts[:, 0].sum()), int(counts[:, 1].sum())) for counts in (failed, ran, absent)]
    failures = Failures(totals[0], totals[1], totals[2])
    if not (failed.any() or absent.any()):
        return failures
    either = (ran + absent > 0).all(axis=1)
    rates = ((failed + absent) / np.maximum(ran + absent, 1))[either]
    p = statistics.sign_flip_p(rates[:, 1] - rates[:, 0], PERMUTATIONS, rng)
    return replace(failures, p=p)


def unpaired_failures(a: tuple[int, int], b: tuple[int, int]) -> Failures:
    """Compare the failures of two types, given their trainings and failures, with Fisher's exact test."""
    (runs_a, failed_a), (runs_b, failed_b) = a, b
    p = nan
    if failed_a or failed_b:
        from scipy.stats import fisher_exact  # takes half a second, and is seldom needed

        p = float(fisher_exact([[failed_a, runs_a - failed_a], [failed_b, runs_b - failed_b]]).pvalue)
    return Failures((failed_a, failed_b), (runs_a, runs_b), p=p)


def rate_gate(found: Failures, grades: str) -> Gate:
    """Return the gate that both types fail equally often, as far as a test can tell."""
    a, b = found.rates
    rates = f"{a:.0%} of the trainings of the one failed and {b:.0%} of the other, p = {found.p:.3f}"
    return Gate("equal failure rates", grades, not found.differ, rates if any(found.failed) else NONE)


def bound_gate(found: Failures, effect: float) -> Gate:
    """Return the gate that few trainings were lost, of both types alike, or that the effect keeps its sign if
    each of them has the error of a guess."""
    bounded = "not known" if np.isnan(found.bound.value) else f"{percent(found.bound)} points"
    rates = " and ".join(f"{rate:.0%}" for rate in found.rates)
    absent = f", {sum(found.absent)} networks have no training" if any(found.absent) else ""
    detail = (
        f"{rates} of the trainings failed (p = {found.p:.3f} of equal rates){absent}; if each had the error "
        f"of a constant guess, the effect would be {bounded}"
    )
    lost = any(found.failed) or any(found.absent)
    return Gate("failures", "ABC", not found.selects(effect), detail if lost else NONE)
