"""The gates of a contrast of paired blocks: what opens grades A and B, and what closes all."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from nas.analysis.claims.grades import LEVEL, Gate
from nas.analysis.failures import NO_FAILURES, Failures, bound_gate
from nas.analysis.paired.evidence import NO_CHANGE, Change, Evidence
from nas.analysis.paired.recipes import SIDE, UNTUNED, Tuned
from nas.stats import power
from nas.stats.estimate import Estimate, percent

MIN_CONTEXTS = 20
MIN_RECIPE_CONTEXTS = 5
MIN_LONGER_CONTEXTS = 8
MOST_SKEWED = 2.0
"""Skewness of differences beyond which intervals of fewer than `ENOUGH_CONTEXTS` cover too little for a
causal claim: on published tables 86 to 95 % with 20 contexts, 91 % or more with 50."""

ENOUGH_CONTEXTS = 50
MOST_CONTEXTS = 10_000
"""An effect that would need more contexts is not worth looking for."""


@dataclass(frozen=True)
class PairedFacts:
    """Facts that the gates of one contrast of one estimand look at. contexts: with both types; seeds:
    trainings of a network; p: after Holm over `tests` contrasts; sd: of the differences between contexts;
    tuned: the types with the recipes that suit them; change: of the effect at a longer schedule; falls: of
    the error over the last part of the trainings of both types, empty where no learning curve is known."""

    contexts: int
    seeds: int
    effect: Estimate
    p: float
    sd: float
    tests: int
    failures: Failures = NO_FAILURES
    tuned: Tuned = UNTUNED
    change: Change = NO_CHANGE
    falls: tuple[float, ...] = ()
    most_skewed: float = 0.0

    @property
    def trainings_per_context(self) -> int:
        return 2 * max(self.seeds, 1)

    @property
    def sign(self) -> int:
        """Sign of the estimate."""
        return int(self.effect.value > 0) - int(self.effect.value < 0)


def paired_gates(facts: PairedFacts, evidence: Evidence) -> tuple[Gate, ...]:
    """Every gate of a contrast, passed or not."""
    short = max(0, MIN_CONTEXTS - facts.contexts)
    return (
        Gate(
            f"{MIN_CONTEXTS} contexts",
            "ABCD",
            not short,
            f"{facts.contexts} distinct contexts have both types",
            short * facts.trainings_per_context,
        ),
        bound_gate(facts.failures, facts.effect.value if facts.p < LEVEL else 0.0),
        _significance(facts, evidence),
        _skew(facts),
        _recipes(facts),
        _fidelity(facts, evidence),
        _plateau(facts, evidence),
    )


def _significance(facts: PairedFacts, evidence: Evidence) -> Gate:
    """The test of the effect; where it fails, what a study needs that would find the declared effect."""
    name, passed = f"Holm p < {LEVEL:g}", facts.p < LEVEL
    said = f"p = {facts.p:.3f}" if isfinite(facts.p) else "no test"
    smallest = evidence.smallest_effect
    if passed or not facts.sd > 0 or not smallest > 0:
        return Gate(name, "AB", passed, said)
    contexts = power.needed(smallest, facts.sd, facts.tests, two_tests=True)
    if contexts > MOST_CONTEXTS:
        return Gate(name, "AB", passed, said)
    plan = f"{contexts} contexts find an effect of {100 * smallest:.2f} points in 4 of 5 studies"
    missing = max(0, contexts - facts.contexts) * facts.trainings_per_context
    return Gate(name, "AB", passed, f"{said}; {plan}", missing)


def _skew(facts: PairedFacts) -> Gate:
    """Check that intervals can be trusted: where some contexts ruin a type, few contexts hold too few of
    them."""
    short = max(0, ENOUGH_CONTEXTS - facts.contexts)
    detail = (
        f"differences have a skewness of up to {facts.most_skewed:.1f} ({MOST_SKEWED:g} allowed with fewer "
        f"than {ENOUGH_CONTEXTS} contexts), so intervals over {facts.contexts} contexts are approximate"
    )
    trusted = facts.most_skewed <= MOST_SKEWED or not short
    return Gate("skewness", "AB", trusted, detail, 0 if trusted else short * facts.trainings_per_context)


def _recipes(facts: PairedFacts) -> Gate:
    """Check that the effect holds where each type has the recipe that suits it."""
    name, tuned = "recipe grid", facts.tuned
    if tuned.contexts < MIN_RECIPE_CONTEXTS:
        missing = (MIN_RECIPE_CONTEXTS - tuned.contexts) * 2 * (SIDE**2 - 1)
        detail = (
            f"{tuned.contexts} of {MIN_RECIPE_CONTEXTS} contexts have both types on a grid of {SIDE} "
            f"learning rates x {SIDE} weight decays"
        )
        return Gate(name, "AB", False, detail, missing)
    if len(tuned.best) < 2:
        return Gate(name, "AB", False, "a type failed with every recipe of the grid")
    if tuned.at_edge:
        return Gate(
            name, "AB", False, f"not tuned: the best recipe of {' and '.join(tuned.at_edge)} is at the edge"
        )
    detail = (
        f"the effect is {percent(tuned.effect)} points with the recipe that suits each type, a change of "
        f"{percent(tuned.change)} over {tuned.contexts} contexts"
    )
    return Gate(name, "AB", _same_sign(facts, tuned.effect, tuned.change), detail)


def _fidelity(facts: PairedFacts, evidence: Evidence) -> Gate:
    """Check that the effect keeps its sign at a longer schedule: the change must exclude a reversal."""
    found = facts.change
    if _at_plateau(facts, evidence):
        return Gate("fidelity", "B", True, "the learning curves are at their plateau")
    if found.contexts < MIN_LONGER_CONTEXTS:
        missing = (MIN_LONGER_CONTEXTS - found.contexts) * 2
        detail = f"{found.contexts} of {MIN_LONGER_CONTEXTS} contexts were also trained longer"
        return Gate("fidelity", "B", False, detail, missing)
    detail = (
        f"the effect is {percent(found.longer)} points at {evidence.longer_epochs} epochs, a change of "
        f"{percent(found.change)} over {found.contexts} contexts"
    )
    return Gate("fidelity", "B", _same_sign(facts, found.longer, found.change), detail)


def _same_sign(facts: PairedFacts, elsewhere: Estimate, change: Estimate) -> bool:
    """Whether an effect keeps its sign elsewhere: it has the same one there, and the interval of the change
    excludes a reversal. An unknown change does not."""
    worst = min(facts.sign * change.low, facts.sign * change.high)
    return elsewhere.value * facts.sign > 0 and abs(facts.effect.value) + worst > 0


def _plateau(facts: PairedFacts, evidence: Evidence) -> Gate:
    """Check by the learning curves that training had come to its end."""
    if not facts.falls:
        return Gate("learning curves", "A", False, "no learning curves are known")
    falls = " and ".join(f"{100 * fall:.2f}" for fall in facts.falls)
    detail = (
        f"over the last tenth of {evidence.epochs} epochs the errors still fell by {falls} points "
        f"({100 * evidence.smallest_effect:.2f} allowed)"
    )
    return Gate("learning curves", "A", _at_plateau(facts, evidence), detail)


def _at_plateau(facts: PairedFacts, evidence: Evidence) -> bool:
    return bool(facts.falls) and max(facts.falls) <= evidence.smallest_effect
