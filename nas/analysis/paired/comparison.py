"""Module types compared within paired contexts (see `nas.searchers.designs.paired`).

A difference is taken between the networks of two types in one context. Contexts are what was drawn
independently, so intervals and tests are over them. The two estimands, E1 at the same shape and E2 at equal
FLOPs, are graded and ordered each apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nas.analysis.claims.grades import count_grades
from nas.analysis.claims.paired_gates import PairedFacts, paired_gates
from nas.analysis.failures import Failures
from nas.analysis.paired.blocks import Blocks
from nas.analysis.paired.contrast import PairedContrast
from nas.analysis.paired.costs import cost_change, equal_flops, same_trainings
from nas.analysis.paired.differences import differences
from nas.analysis.paired.evidence import Evidence, change
from nas.analysis.paired.heterogeneity import Heterogeneity, covariates_of, heterogeneity, seed_noise
from nas.analysis.paired.losses import bounded_failures, clipped
from nas.analysis.paired.order import Order, order_of
from nas.analysis.paired.recipes import tune
from nas.stats.paired_means import RESAMPLES, PairedMeans, paired_means
from nas.stats.resampling import Floats, holm

ESTIMANDS = ("E1", "E2")
"""By arm: the change at the same shape, and that at equal FLOPs."""

WHERE = {"E1": "at the same shape", "E2": "at equal FLOPs"}
DRAWS_PER_TEST = 100
"""Bootstrap samples for each test of a family, so that its smallest p can pass Holm's first step."""

ESTIMAND = (
    "Mean change of validation error when module type a is replaced by type b in every block, over contexts "
    "(depth, width, batch norm, stem, skips) drawn at random from the space, on these data with this recipe. "
    "E1: at the same shape. E2: at equal FLOPs (within 3 % of the budget of the context, widths scaled). The "
    "two answer different questions and may differ in sign; which type is better has no answer without a "
    "budget. Intervals are 95 % and hold every mean that neither sign flips nor a bootstrap-t over contexts "
    "reject, wider where differences have long tails; p is the larger of the two, after Holm over the "
    "contrasts of one estimand. The validation "
    "images are taken as fixed: how far other images would move an effect is in no interval, and 10,000 or "
    "more keep it small."
)


@dataclass(frozen=True)
class PairedComparison:
    """All types in paired contexts. `seed_sds` are the standard deviations between trainings of one network,
    by type, NaN with one seed; `orders` are the orders of the types by estimand; an estimand of which there
    are no trainings has neither contrasts nor order."""

    types: tuple[str, ...]
    contexts: int
    networks: int
    seeds: int
    seed_sds: Mapping[str, float]
    contrasts: tuple[PairedContrast, ...]
    orders: Mapping[str, Order]
    evidence: Evidence
    estimand: str = ESTIMAND

    @property
    def grades(self) -> dict[str, int]:
        """Number of contrasts of each grade. A contrast whose trainings are the same under both estimands
        counts once."""
        return count_grades(c for c in self.contrasts if not (c.same_trainings and c.estimand == "E1"))

    @property
    def pairs(self) -> list[tuple[PairedContrast, ...]]:
        """The contrasts of each two types, E1 before E2."""
        names = dict.fromkeys((c.a, c.b) for c in self.contrasts)
        return [tuple(c for c in self.contrasts if (c.a, c.b) == pair) for pair in names]


def compare_blocks(
    blocks: Blocks,
    evidence: Evidence,
    rng: np.random.Generator,
    *,
    estimand: str = ESTIMAND,
    where: Mapping[str, str] = WHERE,
) -> PairedComparison:
    """Compare every pair of types, under each estimand of which there are trainings.

    Args:
        blocks: The trainings.
        evidence: What is known of recipe and schedule beside them.
        rng: Source of all resamples.
        estimand: What is estimated, in words.
        where: Words for each estimand in a sentence.
    """
    contrasts: list[PairedContrast] = []
    seed = int(rng.integers(2**32))
    for arm, name in enumerate(ESTIMANDS):
        if blocks.planned[
            :, arm
        ].any():  # the same resamples, so that the same trainings give the same figures
            contrasts += _contrasts(blocks, arm, where[name], evidence, np.random.default_rng(seed))
    orders = {
        name: order_of(blocks.types, own)
        for name in ESTIMANDS
        if (own := [c for c in contrasts if c.estimand == name])
    }
    return PairedComparison(
        types=blocks.types,
        contexts=len(blocks.error),
        networks=len(np.unique(blocks.digests[blocks.digests != ""])),
        seeds=blocks.seeds,
        seed_sds={name: blocks.seed_sd([k]) for k, name in enumerate(blocks.types)},
        contrasts=tuple(contrasts),
        orders=orders,
        evidence=evidence,
        estimand=estimand,
    )


def _contrasts(
    blocks: Blocks, arm: int, where: str, evidence: Evidence, rng: np.random.Generator
) -> list[PairedContrast]:
    """The contrasts of one estimand, with their p-values adjusted together."""
    pairs = list(combinations(range(len(blocks.types)), 2))
    if ESTIMANDS[arm] == "E2":
        pairs = [pair for pair in pairs if equal_flops(blocks, arm, pair)]
    if not pairs:
        return []
    means, networks = blocks.means(arm), blocks.networks[:, arm]
    effects = np.stack([differences(means, networks, pair) for pair in pairs], axis=1)
    draws = max(RESAMPLES, DRAWS_PER_TEST * len(pairs))
    found = paired_means(effects, evidence.smallest_effect, rng, draws)
    failures = bounded_failures(blocks, arm, pairs, evidence.guess, rng)
    noise = [seed_noise(blocks, arm, pair, d) for pair, d in zip(pairs, effects.T, strict=True)]
    covariates = [covariates_of(blocks, arm, pair) for pair in pairs]
    variances, freedom = np.array(noise, float).reshape(-1, 2).T
    differ = heterogeneity(effects, covariates, variances, freedom, rng)
    p, p_equivalent = holm(found.p), holm(found.p_equivalent)
    return [
        _contrast(
            blocks,
            arm,
            pair,
            where,
            evidence,
            rng,
            found=found,
            at=at,
            d=effects[:, at],
            p=(float(p[at]), float(p_equivalent[at])),
            failures=failures[at],
            differ=differ[at],
            tests=len(pairs),
        )
        for at, pair in enumerate(pairs)
    ]


def _contrast(
    blocks: Blocks,
    arm: int,
    pair: tuple[int, int],
    where: str,
    evidence: Evidence,
    rng: np.random.Generator,
    *,
    found: PairedMeans,
    at: int,
    d: Floats,
    p: tuple[float, float],
    failures: Failures,
    differ: Heterogeneity,
    tests: int,
) -> PairedContrast:
    a, b = (blocks.types[k] for k in pair)
    known = np.isfinite(d)
    networks = blocks.networks[:, arm][:, list(pair)]
    facts = PairedFacts(
        contexts=int(known.sum()),
        seeds=blocks.seeds,
        effect=clipped(found.estimate(at)),
        p=p[0],
        sd=float(found.sd[at]),
        tests=tests,
        failures=failures,
        tuned=tune(evidence.recipes, evidence.usual, networks[known], (a, b), rng),
        change=change(evidence.longer, blocks.means(arm), blocks.networks[:, arm], pair, rng),
        falls=tuple(evidence.falls[name] for name in (a, b) if name in evidence.falls),
        most_skewed=float(np.abs(np.nan_to_num(found.skewness)).max()),
    )
    return PairedContrast(
        a=a,
        b=b,
        estimand=ESTIMANDS[arm],
        where=where,
        contexts=facts.contexts,
        networks=len(np.unique(networks[known])),
        effect=facts.effect,
        p=p[0],
        p_equivalent=p[1],
        superiority=float(np.mean((d[known] < 0) + (d[known] == 0) / 2)) if known.any() else float("nan"),
        in_seed_sd=_ratio(facts.effect.value, blocks.seed_sd(pair)),
        skewness=float(found.skewness[at]),
        most_skewed=facts.most_skewed,
        flops_change=cost_change(blocks.flops[:, arm], pair),
        params_change=cost_change(blocks.params[:, arm], pair),
        same_trainings=same_trainings(blocks, pair),
        epochs=evidence.epochs,
        smallest_effect=evidence.smallest_effect,
        failures=failures,
        heterogeneity=differ,
        tuned=facts.tuned,
        change=facts.change,
        gates=paired_gates(facts, evidence),
    )


def _ratio(value: float, by: float) -> float:
    return value / by if by > 0 else float("nan")
