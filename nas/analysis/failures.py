"""Failed trainings of two module types: how many, whether one type fails more often, and what that allows.

Trainings do not fail at random. A type that diverges where it is worst looks better among the contexts that
are left, so a contrast is graded D at most where the types fail at different rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from nas.analysis.claims.grades import LEVEL, Gate
from nas.analysis.paired.blocks import Blocks
from nas.stats import resampling as statistics
from nas.stats.estimate import UNKNOWN, Estimate, percent

MAX_FAILED = 0.05
"""Share of failed trainings up to which an effect needs no bound."""

NONE = "no training failed"
RESAMPLES = 2000
PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Failures:
    """Failed trainings of the types a and b, of all that ran. `p` is that of equal failure rates; `bound`
    the effect at equal FLOPs where a failed training counts with the error of a constant guess, known for
    paired blocks alone."""

    failed: tuple[int, int] = (0, 0)
    trainings: tuple[int, int] = (0, 0)
    p: float = nan
    bound: Estimate = UNKNOWN

    @property
    def rates(self) -> tuple[float, float]:
        """Shares of the trainings of a and of b that failed."""
        a, b = (n / max(of, 1) for n, of in zip(self.failed, self.trainings, strict=True))
        return a, b

    @property
    def differ(self) -> bool:
        return self.p < LEVEL

    def note(self, a: str, b: str) -> str:
        """The end of a sentence on the types of these names: "" where no training failed."""
        counts = zip((a, b), self.failed, self.trainings, strict=True)
        parts = [f"{name} failed in {failed} of {of} trainings" for name, failed, of in counts if failed]
        return f" ({', '.join(parts)})" if parts else ""


NO_FAILURES = Failures()


def paired_failures(
    blocks: Blocks, pair: tuple[int, int], guess: float, rng: np.random.Generator
) -> Failures:
    """The failures of two types in paired blocks, tested by sign flips over contexts.

    guess: the error of a network that always gives the same answer, a fraction.
    """
    failed, trainings = (counts[:, list(pair)] for counts in blocks.tally())
    totals = [tuple(map(int, counts.sum(axis=0))) for counts in (failed, trainings)]
    if not failed.any():
        return Failures((0, 0), (totals[1][0], totals[1][1]))
    ran = (trainings > 0).all(axis=1)
    rates = failed[ran] / trainings[ran]
    p = statistics.sign_flip_p(rates[:, 1] - rates[:, 0], PERMUTATIONS, rng)
    guessed = blocks.with_failed_as(guess).differences(*pair)[:, 1]
    known = guessed[np.isfinite(guessed)]
    bound = Estimate(*statistics.mean_interval(known, RESAMPLES, rng)) if len(known) else UNKNOWN
    return Failures((totals[0][0], totals[0][1]), (totals[1][0], totals[1][1]), p, bound)


def unpaired_failures(a: tuple[int, int], b: tuple[int, int]) -> Failures:
    """The failures of two types by their trainings and how many of these failed, with Fisher's exact test."""
    (runs_a, failed_a), (runs_b, failed_b) = a, b
    p = nan
    if failed_a or failed_b:
        from scipy.stats import fisher_exact  # takes half a second, and is seldom needed

        p = float(fisher_exact([[failed_a, runs_a - failed_a], [failed_b, runs_b - failed_b]]).pvalue)
    return Failures((failed_a, failed_b), (runs_a, runs_b), p)


def rate_gate(found: Failures, grades: str) -> Gate:
    """Whether both types fail equally often, as far as a test can tell."""
    a, b = found.rates
    rates = f"{a:.0%} of the trainings of the one failed and {b:.0%} of the other, p = {found.p:.3f}"
    return Gate("equal failure rates", grades, not found.differ, rates if any(found.failed) else NONE)


def bound_gate(found: Failures, effect: float) -> Gate:
    """Whether few trainings failed, or the effect keeps its sign where each failed one is a guess."""
    share = sum(found.failed) / max(sum(found.trainings), 1)
    bounded = "not known" if np.isnan(found.bound.value) else f"{percent(found.bound)} points"
    detail = f"{share:.0%} of the trainings failed; with a guess for each of them the effect is {bounded}"
    detail = detail if any(found.failed) else NONE
    few = share <= MAX_FAILED or found.bound.sign * effect > 0
    return Gate(f"at most {MAX_FAILED:.0%} failed, or a sign that holds", "ABC", few, detail)
