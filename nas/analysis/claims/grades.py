"""Grades of claims: gates decide the grade of a contrast, the grade words the sentence.

A and B (causal) need paired blocks, which an ordinary search does not draw (their gates are in
`nas.analysis.claims`); C needs a sample that no searcher steered; D describes what a search visited;
X ranks nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from nas.stats.estimate import Estimate, percent

LEVEL = 0.05
"""Family-wise error rate of the tests, after Holm."""

MIN_NETWORKS = 20
"""Distinct networks below which a contrast is unsupported."""

MIN_NETWORKS_OF_TYPE = 5
"""Distinct networks of one type below which a bootstrap over them means nothing."""

MIN_OVERLAP = 0.8
"""Effective overlap of two types in FLOPs and depth that grade C needs."""

PAIRED_RUNS = 160
"""Runs of the least paired study of two types: 20 contexts, two arms, two seeds."""

OWN_RECIPES = (
    "module types or trainings have recipes of their own, so a difference may be that of the recipes"
)

LETTERS = "ABCDX"
"""The grades, from the best to none."""

MEANINGS = {
    "A": "causal: replacing one type by another changes the error by this much, in this space and recipe",
    "B": "causal at few epochs: the same, for trainings as short as these",
    "C": "associational: one type goes with lower error in a sample drawn without looking at results",
    "D": "descriptive: it holds among the networks that the search visited, or that train, and no further",
    "X": "unsupported: no ranking; the requirement that failed is named",
}
"""The meaning of each grade, for people."""

ALLOWED = {
    "A": "in this space and recipe",
    "B": "at {epochs} epochs, in this space and recipe",
    "C": "is associated with",
    "D": "among the networks the search visited",
    "X": "no ranking is supported",
}
"""The words that a grade allows."""


@dataclass(frozen=True)
class Gate:
    """A condition for the grades named in `grades`. So many more trainings, `missing`, would open it; 0 where
    nothing is missing or trainings alone would not."""

    name: str
    grades: str
    passed: bool
    detail: str
    missing: int = 0

    def __str__(self) -> str:
        runs = f"; at least {self.missing} more run{'s' * (self.missing > 1)} needed" if self.missing else ""
        return f"{self.name}: {self.detail}{runs}"


@dataclass(frozen=True)
class Facts:
    """Facts that the gates of a contrast look at."""

    networks: int
    networks_a: int
    networks_b: int
    balanced: bool
    seeds: int
    overlap: float
    raw: Estimate
    equal_flops: Estimate
    own_recipes: bool = False


def gates(facts: Facts) -> tuple[Gate, ...]:
    """Every gate of a contrast, passed or not."""
    return (*_support(facts), *_association(facts))


def _support(facts: Facts) -> tuple[Gate, ...]:
    """Gates of any statement."""
    short = max(0, MIN_NETWORKS - facts.networks)
    scarce = sum(max(0, MIN_NETWORKS_OF_TYPE - n) for n in (facts.networks_a, facts.networks_b))
    common = facts.overlap > 0 and (scarce > 0 or isfinite(facts.equal_flops.value))
    opposed = facts.raw.sign * facts.equal_flops.sign < 0
    held = f"{facts.networks} distinct networks hold one of the two types, {MIN_NETWORKS} needed"
    each = f"{facts.networks_a} and {facts.networks_b} networks, {MIN_NETWORKS_OF_TYPE} needed of each"
    apart = "no networks of equal FLOPs tell the two types apart, within what errors can be"
    return (
        Gate(f"{MIN_NETWORKS} networks", "CD", short == 0, held, short),
        Gate(f"{MIN_NETWORKS_OF_TYPE} networks of each type", "CD", scarce == 0, each, scarce),
        Gate("common FLOPs", "CD", common, apart, int(facts.overlap == 0)),
        Gate("agreement", "CD", not opposed, "the effect changes sign between raw and equal FLOPs"),
        *([Gate("equal recipes", "CD", False, OWN_RECIPES)] if facts.own_recipes else []),
    )


def _association(facts: Facts) -> tuple[Gate, ...]:
    """Gates of a statement about the space, beyond the networks that were visited."""
    wide = facts.overlap >= MIN_OVERLAP
    alone = "no context was trained with both types"
    shared = (
        f"{facts.networks} networks tell as much as {facts.overlap * facts.networks:.0f} of equal FLOPs and "
        f"depth would ({facts.overlap:.0%})"
    )
    return (
        Gate("uniform samples only", "C", facts.balanced, "the searcher chose networks by their results"),
        Gate(f"effective overlap {MIN_OVERLAP:.0%}", "C", wide, shared),
        Gate("two seeds", "C", facts.seeds >= 2, "all runs share one seed", max(0, 2 - facts.seeds)),
        Gate("paired blocks", "AB", False, alone, PAIRED_RUNS),
    )


def grade(checked: Iterable[Gate]) -> str:
    """The best grade of which every gate is passed: A to D, else X."""
    failed = "".join(gate.grades for gate in checked if not gate.passed)
    return next((letter for letter in "ABCD" if letter not in failed), "X")


class Graded:
    """A finding that is graded by its gates."""

    gates: tuple[Gate, ...]

    @property
    def grade(self) -> str:
        return grade(self.gates)

    @property
    def refused(self) -> list[Gate]:
        """The gates that keep it from the next better grade, and the runs missing."""
        return refusals(self.gates, self.grade)


def count_grades(findings: Iterable[Graded]) -> dict[str, int]:
    """Count the findings of each grade, from A to X; grades that none has are left out."""
    counts = Counter(finding.grade for finding in findings)
    return {letter: counts[letter] for letter in LETTERS if counts[letter]}


def refusals(checked: Iterable[Gate], letter: str) -> list[Gate]:
    """Why the grade is no better: the gates of the next better grade that failed."""
    better = {"X": "D", "D": "C", "C": "B", "B": "A"}.get(letter, "none")
    return [gate for gate in checked if not gate.passed and better in gate.grades]


def sentence(
    letter: str, a: str, b: str, effect: Estimate, p: float, epochs: int = 0, among: str = ALLOWED["D"]
) -> str:
    """Word what the grade allows to say of replacing type a by type b, at equal FLOPs.

    epochs: of the trainings; among: what a sentence of grade D speaks of.
    """
    if letter == "X":
        return f"{a} and {b}: {ALLOWED['X']}"
    if not p < LEVEL:
        prefix = "" if letter != "D" else f"{among}, "
        return f"{prefix}{a} and {b} are not separated (difference {percent(effect)} points)"
    better, worse = (b, a) if effect.value < 0 else (a, b)
    low, high = sorted((abs(effect.low), abs(effect.high)))
    size = percent(Estimate(abs(effect.value), low, high))
    if letter in "AB":
        where = ALLOWED[letter].format(epochs=epochs)
        return f"replacing {worse} by {better} lowers error by {size} points at equal FLOPs {where}"
    if letter == "C":
        return f"{better} {ALLOWED['C']} an error lower than that of {worse} by {size} points at equal FLOPs"
    return f"{among}, {better} had an error lower than {worse} by {size} points at equal FLOPs"
