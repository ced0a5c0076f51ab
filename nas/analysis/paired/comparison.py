"""Module types compared within paired contexts (see `nas.searchers.designs.paired`).

A difference is taken between the networks of two types in one context. Contexts are what was drawn
independently, so intervals and tests are over them. The two estimands, E1 at the same shape and E2 at equal
FLOPs, are graded and ordered each apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from nas.analysis.claims.grades import LEVEL, Gate, Graded, count_grades
from nas.analysis.claims.paired_gates import PairedFacts, paired_gates
from nas.analysis.claims.sentences import on_average, paired_sentence
from nas.analysis.failures import Failures, paired_failures
from nas.analysis.paired.blocks import Blocks, mean_of
from nas.analysis.paired.differences import differences
from nas.analysis.paired.evidence import Change, Evidence, change
from nas.analysis.paired.heterogeneity import Heterogeneity, heterogeneity
from nas.analysis.paired.order import Order, order_of
from nas.analysis.paired.recipes import Tuned, tune
from nas.stats.estimate import Estimate
from nas.stats.paired_means import RESAMPLES, PairedMeans, paired_means
from nas.stats.resampling import Floats, holm

ESTIMANDS = ("E1", "E2")
"""By arm: the change at the same shape, and that at equal FLOPs."""

WHERE = {"E1": "at the same shape", "E2": "at equal FLOPs"}
DRAWS_PER_TEST = 200
"""Bootstrap samples for each test of a family, so that its smallest p can pass Holm's first step."""

SAME_FLOPS = 0.03
"""Share by which FLOPs may differ and still be called equal."""

SKEWED = 1.0
"""Skewness of the differences beyond which their tests and intervals are said to be rough."""

ESTIMAND = (
    "Mean change of validation error when module type a is replaced by type b in every block, over contexts "
    "(depth, width, batch norm, stem, skips) drawn at random from the space, on these data with this recipe. "
    "E1: at the same shape. E2: at equal FLOPs (within 3 % of the budget of the context, widths scaled). The "
    "two answer different questions and may differ in sign; which type is better has no answer without a "
    "budget. Intervals are 95 % and hold every mean that neither sign flips nor a bootstrap-t over contexts "
    "reject; p is the larger of the two, after Holm over the contrasts of one estimand. The validation "
    "images are taken as fixed: how far other images would move an effect is in no interval, and 10,000 or "
    "more keep it small."
)


@dataclass(frozen=True)
class PairedContrast(Graded):
    """Type a replaced by type b under one estimand, "E1" or "E2". Changes are fractions; `where` words the
    estimand; `p_equivalent` is that of an effect beyond the smallest of interest, after Holm; `superiority`
    is the share of contexts in which b has the lower error; `flops_change` and `params_change` are geometric
    means; `same_trainings` says that the trainings are those of the other estimand too, so that the two
    confirm nothing of each other."""

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
        """Return whether the interval may cover about 90 % where it says 95."""
        return abs(self.skewness) > SKEWED

    @property
    def separated(self) -> bool:
        return self.p < LEVEL

    @property
    def equivalent(self) -> bool:
        """Return whether the types are practically equal: any effect is smaller than the smallest of "
        "interest."""
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


@dataclass(frozen=True)
class PairedComparison:
    """All types in paired contexts. `orders` are the orders of the types by estimand; an estimand of which
    there are no trainings has neither contrasts nor order."""

    types: tuple[str, ...]
    contexts: int
    networks: int
    seeds: int
    seed_sd: float
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
        seed_sd=blocks.seed_sd,
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
        pairs = [pair for pair in pairs if _equal_flops(blocks, arm, pair)]
    if not pairs:
        return []
    means, networks = blocks.means(arm), blocks.networks[:, arm]
    effects = np.stack([differences(means, networks, pair) for pair in pairs], axis=1)
    draws = max(RESAMPLES, DRAWS_PER_TEST * len(pairs))
    found = paired_means(effects, evidence.smallest_effect, rng, draws)
    failures = _failures(blocks, arm, pairs, evidence, rng)
    noise = [_noise(blocks, arm, pair, d) for pair, d in zip(pairs, effects.T, strict=True)]
    covariates = [_covariates(blocks, arm, pair) for pair in pairs]
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
        effect=_clipped(found.estimate(at)),
        p=p[0],
        sd=float(found.sd[at]),
        tests=tests,
        failures=failures,
        tuned=tune(evidence.recipes, evidence.usual, networks[known], (a, b), rng),
        change=change(evidence.longer, blocks.means(arm), blocks.networks[:, arm], pair, rng),
        falls=tuple(evidence.falls[name] for name in (a, b) if name in evidence.falls),
    )
    same = _same_trainings(blocks, pair)
    flops_change = _change(blocks.flops[:, arm], pair)
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
        in_seed_sd=_ratio(facts.effect.value, blocks.seed_sd),
        skewness=float(found.skewness[at]),
        flops_change=flops_change,
        params_change=_change(blocks.params[:, arm], pair),
        same_trainings=same,
        epochs=evidence.epochs,
        smallest_effect=evidence.smallest_effect,
        failures=failures,
        heterogeneity=differ,
        tuned=facts.tuned,
        change=facts.change,
        gates=paired_gates(facts, evidence),
    )


def _failures(
    blocks: Blocks,
    arm: int,
    pairs: Sequence[tuple[int, int]],
    evidence: Evidence,
    rng: np.random.Generator,
) -> list[Failures]:
    """The lost trainings of each pair, with the effect where each of them is a constant guess."""
    counted = [paired_failures(blocks, arm, pair, rng) for pair in pairs]
    if not any(found.share for found in counted):
        return counted
    guessed = blocks.means(arm, evidence.guess)
    networks = blocks.networks[:, arm]
    bounds = paired_means(
        np.stack([differences(guessed, networks, pair) for pair in pairs], axis=1), 0.0, rng
    )
    return [
        replace(found, bound=_clipped(bounds.estimate(at))) if found.share else found
        for at, found in enumerate(counted)
    ]


def _noise(blocks: Blocks, arm: int, pair: tuple[int, int], d: Floats) -> tuple[float, float]:
    """Variance of a difference that training seeds alone explain, and its degrees of freedom; NaN where no
    network was trained twice."""
    error = blocks.error[np.isfinite(d), arm][..., list(pair)]
    runs = (~np.isnan(error)).sum(axis=1)
    freedom = int(np.maximum(runs - 1, 0).sum())
    if not freedom:
        return float("nan"), float("nan")
    squares = float(np.nansum((error - mean_of(error, 1)[:, None]) ** 2))
    return squares / freedom * float((1 / np.maximum(runs, 1)).sum(axis=1).mean()), float(freedom)


def _covariates(blocks: Blocks, arm: int, pair: tuple[int, int]) -> dict[str, Floats]:
    """Covariates of the effect of two types, by context."""
    flops = mean_of(np.log(blocks.flops[:, arm][..., list(pair)]), 1).mean(axis=1)
    found = {**blocks.covariates, "FLOPs": flops}
    return {
        name: values
        for name, values in found.items()
        if np.isfinite(values).any() and np.nanmax(values) > np.nanmin(values) + 1e-9
    }


def _equal_flops(blocks: Blocks, arm: int, pair: tuple[int, int]) -> bool:
    """Return whether both types have equal FLOPs in every context: each is within 3 % of a budget."""
    flops = mean_of(blocks.flops[:, arm][..., list(pair)], 1)
    ratio = flops[:, 1] / flops[:, 0]
    known = ratio[np.isfinite(ratio)]
    widest = (1 + SAME_FLOPS) / (1 - SAME_FLOPS)
    return bool(len(known) and known.max() <= widest and known.min() >= 1 / widest)


def _same_trainings(blocks: Blocks, pair: tuple[int, int]) -> bool:
    """Return whether both estimands are of the same networks in every context."""
    digests = blocks.networks[..., list(pair)]
    same = (digests != "").any() and (digests[:, 0] == digests[:, 1]).all()
    return bool(same) and _equal_flops(blocks, 1, pair)


def _clipped(estimate: Estimate) -> Estimate:
    """Within what a change of error can be."""
    return Estimate(estimate.value, *(float(v) for v in np.clip([estimate.low, estimate.high], -1.0, 1.0)))


def _ratio(value: float, by: float) -> float:
    return value / by if by > 0 else float("nan")


def _change(values: Floats, pair: tuple[int, int]) -> float:
    """Geometric mean change of a cost from type a to type b."""
    logs = np.log(values[..., pair[1]] / values[..., pair[0]])
    known = logs[np.isfinite(logs)]
    return float(np.expm1(known.mean())) if len(known) else float("nan")
