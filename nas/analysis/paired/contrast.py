"""One module type replaced by another within paired contexts, and the sentence that this allows."""

from __future__ import annotations

from dataclasses import dataclass

from nas.analysis.claims.grades import LEVEL, Gate, Graded
from nas.analysis.claims.sentences import on_average, paired_sentence
from nas.analysis.failures import Failures
from nas.analysis.paired.costs import SAME_FLOPS
from nas.analysis.paired.evidence import Change
from nas.analysis.paired.heterogeneity import Heterogeneity
from nas.analysis.paired.recipes import Tuned
from nas.stats.estimate import Estimate

ROUGH = 25
"""A mean is as good as normal from this many contexts on, times the squared skewness of the differences
(Cochran, 1977, section 2.15). With fewer its interval and its test are said to be rough."""


@dataclass(frozen=True)
class PairedContrast(Graded):
    """Type a replaced by type b under one estimand, "E1" or "E2". Changes are fractions; `where` words the
    estimand; `p_equivalent` is that of an effect beyond the smallest of interest, after Holm; `superiority`
    is the share of contexts in which b has the lower error; `in_seed_sd` is the effect over the standard
    deviation between trainings of one network of the two types; `skewness` is that of the differences,
    `most_skewed` the largest of all contrasts in these contexts; `flops_change` and `params_change` are
    geometric means; `same_trainings` says that the trainings are those of the other estimand too, so that the
    two confirm nothing of each other."""

    a: str
    b: str
    estimand: str
    where: str
    contexts: int
    networks: int
    effect: Estimate
    p: float
    p_equivalent: float
    superiority: float
    in_seed_sd: float
    skewness: float
    most_skewed: float
    flops_change: float
    params_change: float
    same_trainings: bool
    epochs: int
    smallest_effect: float
    failures: Failures
    heterogeneity: Heterogeneity
    tuned: Tuned
    change: Change
    gates: tuple[Gate, ...]

    @property
    def skewed(self) -> bool:
        """Return whether the interval may cover about 90 % where it says 95. Contexts that ruin one type may
        ruin another, though none of these was drawn, so the largest skewness of all contrasts counts."""
        return self.contexts < ROUGH * self.most_skewed**2

    @property
    def separated(self) -> bool:
        return self.p < LEVEL

    @property
    def equivalent(self) -> bool:
        """Return whether the types are practically equal: any effect is below the smallest of interest."""
        return self.p_equivalent < LEVEL

    @property
    def claim(self) -> str:
        """The sentence that the grade allows, without its full stop."""
        pair, letter = (self.a, self.b), self.grade
        where = self.where + (self._cost if self.estimand == "E1" and letter != "X" else "")
        said = paired_sentence(
            letter,
            pair,
            self.effect,
            (self.p, self.p_equivalent),
            where=where,
            epochs=self.epochs,
            smallest_effect=self.smallest_effect,
        )
        if letter != "X":
            wins = self.superiority, self.contexts
            said += on_average(self.heterogeneity, pair, self.effect, self.p, *wins)
        return said + self.failures.note(*pair)

    @property
    def _cost(self) -> str:
        """FLOPs of the better type against the other, as part of a sentence."""
        flops = self.flops_change
        if not self.separated or not abs(flops) > SAME_FLOPS:
            return ""
        change = flops if self.effect.value < 0 else 1 / (1 + flops) - 1
        return f", with {abs(change):.0%} {'more' if change > 0 else 'fewer'} FLOPs"
