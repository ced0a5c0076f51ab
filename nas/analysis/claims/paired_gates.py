"""The gates of a contrast of paired blocks: what opens grades A and B, and what closes all."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan, sqrt

from nas.analysis.claims.grades import LEVEL, Gate
from nas.analysis.failures import NO_FAILURES, Failures, bound_gate, rate_gate
from nas.analysis.paired.recipes import GRID, UNTUNED, Tuned
from nas.stats import power
from nas.stats.estimate import UNKNOWN, Estimate

MIN_CONTEXTS = 20
MIN_SEEDS = 2
ARMS = 2
MIN_RECIPE_CONTEXTS = 5
MIN_FIDELITY_NETWORKS = 24
MIN_FIDELITY = 0.5
"""Lower limit of the rank correlation between a short schedule and a longer one."""

MOST_CONTEXTS = 10_000
"""An effect that would need more contexts is not worth looking for."""


@dataclass(frozen=True)
class Evidence:
    """What is known beside the paired blocks. epochs: of their trainings; full_epochs: of a full
    schedule; fidelity: rank correlation with a longer schedule over `fidelity_networks`;
    tuned: what came of trainings with other recipes; guess: the error of a network that always gives the
    same answer, a fraction (1, the worst, where the classes are not known)."""

    epochs: int = 0
    full_epochs: int = 0
    fidelity: Estimate = UNKNOWN
    fidelity_networks: int = 0
    tuned: Tuned = UNTUNED
    guess: float = 1.0

    @property
    def full(self) -> bool:
        return self.epochs >= self.full_epochs


@dataclass(frozen=True)
class PairedFacts:
    """What the gates look at. contexts: with both types in both arms; sd: of the differences
    between contexts at equal FLOPs; tests: contrasts adjusted together; reversed: strata in
    which the effect is significantly the other way; tuned: the effect with the recipe that suits
    each type; failures: of both types, over all contexts."""

    contexts: int
    seeds: int
    same_shape: Estimate
    equal_flops: Estimate
    p: float
    sd: float
    seed_sd: float
    tests: int
    reversed: tuple[str, ...]
    tuned: float = nan
    failures: Failures = NO_FAILURES

    @property
    def runs_a_context(self) -> int:
        return 2 * ARMS * max(self.seeds, MIN_SEEDS)


def paired_gates(facts: PairedFacts, evidence: Evidence) -> tuple[Gate, ...]:
    """Every gate of a contrast, passed or not."""
    failed = (rate_gate(facts.failures, "ABC"), bound_gate(facts.failures, facts.equal_flops.value))
    return (*_support(facts), *failed, *_effect(facts), *_scope(facts, evidence))


def _support(facts: PairedFacts) -> tuple[Gate, ...]:
    """What any statement needs."""
    short = max(0, MIN_CONTEXTS - facts.contexts) * facts.runs_a_context
    again = max(0, MIN_SEEDS - facts.seeds)
    opposed = facts.same_shape.sign * facts.equal_flops.sign < 0
    held = f"{facts.contexts} contexts have both types at the same shape and at equal FLOPs"
    seeds = f"{facts.seeds} training seed in a block"
    conflict = "the effect at the same shape is the opposite of that at equal FLOPs"
    return (
        Gate(f"{MIN_CONTEXTS} contexts", "ABCD", not short, held, short),
        Gate("two seeds", "ABCD", not again, seeds, max(facts.contexts, 1) * again * 2 * ARMS),
        Gate("agreement", "ABCD", not opposed, conflict),
    )


def _effect(facts: PairedFacts) -> tuple[Gate, ...]:
    """What a statement on cause needs of the effect itself."""
    effect, se = facts.equal_flops.value, facts.sd / sqrt(max(facts.contexts, 1))
    noise = facts.seed_sd / sqrt(max(facts.seeds, 1))
    agree = effect * facts.same_shape.value > 0
    listed = ", ".join(facts.reversed)
    small = f"{100 * abs(effect):.2f} points"
    return (
        Gate(f"Holm p < {LEVEL:g}", "AB", facts.p < LEVEL, _p_text(facts), _runs_for(facts)),
        Gate("effect > 2 SE", "AB", abs(effect) > 2 * se, f"{small}, SE {100 * se:.2f}"),
        Gate("effect > seed SD / √k", "AB", abs(effect) > noise, f"{small}, seeds alone {100 * noise:.2f}"),
        Gate("same sign in E1 and E2", "AB", agree, "the estimates differ in sign"),
        Gate("no stratum reversed", "AB", not facts.reversed, f"the effect is reversed at {listed}"),
    )


def _scope(facts: PairedFacts, evidence: Evidence) -> tuple[Gate, ...]:
    """How far beyond this recipe and this schedule a statement reaches."""
    recipes = max(0, MIN_RECIPE_CONTEXTS - evidence.tuned.contexts)
    grid = f"{evidence.tuned.contexts} contexts have a learning rate x weight decay grid of each type"
    turned = facts.tuned * facts.equal_flops.value < 0
    tuned = f"{100 * facts.tuned:+.2f} points with the recipe that suits each type"
    low, networks = evidence.fidelity.low, evidence.fidelity_networks
    faithful = networks >= MIN_FIDELITY_NETWORKS and low > MIN_FIDELITY
    known = f"rank correlation {evidence.fidelity.value:.2f}, at least {low:.2f}" if networks else "unknown"
    short = f"{evidence.epochs} of {evidence.full_epochs} epochs"
    longer = max(0, MIN_FIDELITY_NETWORKS - networks)
    again = 0 if evidence.full else facts.contexts * facts.runs_a_context
    return (
        Gate("recipe grid", "AB", not recipes, grid, recipes * 2 * (GRID - 1)),
        Gate("same sign with tuned recipes", "AB", not turned, tuned),
        Gate(
            "fidelity",
            "B",
            evidence.full or faithful,
            f"{networks} networks also trained longer; {known}",
            longer,
        ),
        Gate("full schedule", "A", evidence.full, short, again),
    )


def _p_text(facts: PairedFacts) -> str:
    return f"p = {facts.p:.3f}" if isfinite(facts.p) else "no test"


def _runs_for(facts: PairedFacts) -> int:
    """Runs after which an effect of the size seen would be found in 4 of 5 studies; 0 where
    that is out of reach."""
    effect = abs(facts.equal_flops.value)
    if facts.p < LEVEL or not facts.sd > 0 or not effect > 0:
        return 0
    contexts = power.needed(effect, facts.sd, facts.tests)
    return max(0, contexts - facts.contexts) * facts.runs_a_context if contexts <= MOST_CONTEXTS else 0
