"""Module types compared on one sample of distinct networks, raw and at equal FLOPs and depth.

The statistics are in `nas.analysis.type_effects` (raw) and `nas.stats.adjusted` (equal FLOPs and depth), and
the claims that they support in `nas.analysis.claims.grades`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from nas.analysis.claims.grades import (
    ALLOWED,
    LEVEL,
    MIN_NETWORKS_OF_TYPE,
    Facts,
    Gate,
    Graded,
    count_grades,
    gates,
    sentence,
)
from nas.analysis.claims.sentences import changes
from nas.analysis.failures import Failures, rate_gate, unpaired_failures
from nas.analysis.paired.heterogeneity import UNTESTED, Heterogeneity, Interaction, Stratum
from nas.analysis.paired.order import order_of
from nas.analysis.samples import COVARIATES, Networks
from nas.analysis.type_effects import Effects, Sample, permutation_p, type_effects
from nas.stats import resampling as statistics
from nas.stats.adjusted import AdjustedEffect, adjusted_effect, adjusted_errors, adjusted_means
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats, Ints

FLOPS_BINS = 5
"""Bins of equal width in log FLOPs, over the networks compared."""

RESAMPLES = (200, 1000)
"""Fewest and most bootstrap draws: many networks need fewer for the same limits."""

DRAWN = 3_000_000
"""Networks drawn over all resamples, within the bounds of `RESAMPLES`."""

PERMUTATIONS = (1000, 22)
"""Fewest permutations, and permutations per test, so that the smallest p survives Holm (0.045)."""


PER_BLOCK = ", per block that changes from one type to the other"
"""End of a sentence where networks mix types: networks of one type alone are not extrapolated to."""

THAT_TRAIN = "among networks that train"
"""Scope of a contrast in a sample that no searcher steered, if one type failed more often."""


@dataclass(frozen=True)
class TypeResult:
    """One module type. `raw` and `equal_flops` are the error of a network made of it alone;
    `runs` and `failed` count runs that hold it, `networks` distinct complete ones."""

    name: str
    runs: int
    failed: int
    networks: int
    raw: Estimate
    equal_flops: Estimate


@dataclass(frozen=True)
class Contrast(Graded):
    """Type a replaced by type b: differences of error (b less a), p-values after Holm over the contrasts of
    each estimand, the probability that a network mostly of b has a lower error than one mostly of a at equal
    FLOPs and depth (NaN where few are), the effective overlap of the two (`nas.stats.adjusted`), the failures
    of the runs that hold each type, whether a searcher steered the sample, the gates that say what may be
    claimed, and the change of the effect with FLOPs and depth."""

    a: str
    b: str
    raw: Estimate
    p_raw: float
    equal_flops: Estimate
    p_equal_flops: float
    superiority: float
    overlap: float
    failures: Failures
    steered: bool
    gates: tuple[Gate, ...]
    per_block: bool = False
    heterogeneity: Heterogeneity = UNTESTED

    @property
    def effect(self) -> Estimate:
        """Effect at equal FLOPs, the one that the claim states."""
        return self.equal_flops

    @property
    def p(self) -> float:
        """The p-value of `effect`."""
        return self.p_equal_flops

    @property
    def claim(self) -> str:
        among = THAT_TRAIN if self.failures.differ and not self.steered else ALLOWED["D"]
        said = sentence(self.grade, self.a, self.b, self.equal_flops, self.p_equal_flops, among=among)
        if self.grade != "X":
            said += PER_BLOCK * self.per_block
            changing = changes(self.heterogeneity, self.equal_flops, self.p_equal_flops)
            said += f", on average over networks: {'; '.join(changing)}" * bool(changing)
        return said + self.failures.note(self.a, self.b)


@dataclass(frozen=True)
class Comparison:
    """The types on one sample. `groups` go from the lowest error at equal FLOPs to the highest; types share a
    group if they are not separated, so a chain of ties takes several groups. There are none if no contrast is
    supported, or if contrasts contradict each other. `means_contradict` says that the means of types at equal
    FLOPs, which one fit of all networks gives, have another order than a contrast that is shown. They are
    unknown then: FLOPs do not change the error of all types alike."""

    sample: str
    networks: int
    types: tuple[TypeResult, ...]
    contrasts: tuple[Contrast, ...]
    groups: tuple[tuple[str, ...], ...]
    means_contradict: bool = False

    @property
    def grades(self) -> dict[str, int]:
        """Number of contrasts by grade."""
        return count_grades(self.contrasts)


def compare(name: str, networks: Networks, rng: np.random.Generator) -> Comparison:
    """Compare the types of a sample; types that too few networks hold are only counted."""
    kept, rows = _comparable(networks)
    resamples = int(np.clip(DRAWN // max(len(rows), 1), *RESAMPLES))
    fitted = networks.rows(rows, networks.runs)
    raw = type_effects(_sample(fitted, kept), resamples, rng) if kept else None
    means = adjusted_means(fitted.shares[:, kept], fitted.error, fitted.covariates) if kept else []
    contrasts = _contrasts(fitted, kept, raw, rng) if raw and len(kept) > 1 else {}
    pairs = combinations(range(len(networks.names)), 2)
    everything = tuple(contrasts.get(pair) or _unknown(networks, pair) for pair in pairs)
    names = [networks.names[k] for k in kept]
    among = [c for c in everything if {c.a, c.b} <= set(names)]
    contradict = _contradict(dict(zip(names, means, strict=True)), among)
    types = _type_results(networks, kept, raw, [UNKNOWN] * len(kept) if contradict else means)
    groups = order_of(names, among).groups if contrasts else ()
    return Comparison(name, len(networks.error), types, everything, groups, contradict)


def _contradict(means: Mapping[str, Estimate], contrasts: Sequence[Contrast]) -> bool:
    """Return whether a contrast that is shown has the other sign than the difference of its means."""
    shown = [c for c in contrasts if c.grade != "X" and c.p < LEVEL]
    return any((means[c.b].value - means[c.a].value) * c.effect.value < 0 for c in shown)


def _comparable(networks: Networks) -> tuple[list[int], Ints]:
    """Return the types that enough networks hold, and the networks made only of these."""
    keep = list(range(len(networks.names)))
    while True:
        pure = np.flatnonzero(np.isclose(networks.shares[:, keep].sum(axis=1), 1))
        counts = (networks.shares[pure] > 0).sum(axis=0)
        left = [k for k in keep if counts[k] >= MIN_NETWORKS_OF_TYPE]
        if left == keep:
            return keep, pure
        keep = left


def _sample(networks: Networks, kept: list[int]) -> Sample:
    return Sample(networks.shares[:, kept], networks.error)


def _type_results(
    networks: Networks, kept: list[int], raw: Effects | None, means: list[Estimate]
) -> tuple[TypeResult, ...]:
    estimates = dict.fromkeys(networks.names, (UNKNOWN, UNKNOWN))
    pure = np.isclose(networks.shares, 1).sum(axis=0)
    for row, k in enumerate(kept):
        assert raw is not None
        if pure[k] < MIN_NETWORKS_OF_TYPE:
            continue  # a network of this type alone would be extrapolated
        estimates[networks.names[k]] = (_bounded(0, *raw.mean(row)), _bounded(0, *_limits(means[row])))
    counts = (networks.shares > 0).sum(axis=0)
    return tuple(
        TypeResult(name, *networks.runs[name], int(counts[k]), *estimates[name])
        for k, name in enumerate(networks.names)
    )


def _contrasts(
    networks: Networks,
    kept: list[int],
    effects: Effects,
    rng: np.random.Generator,
) -> dict[tuple[int, int], Contrast]:
    """Return the contrast of every pair of kept types, with a Holm adjustment for each estimand."""
    pairs = list(combinations(range(len(kept)), 2))
    permutations = max(PERMUTATIONS[0], PERMUTATIONS[1] * len(pairs))
    p_raw = statistics.holm(permutation_p(_sample(networks, kept), permutations, rng))
    shares, constant = networks.shares[:, kept], networks.covariates
    adjusted = [adjusted_effect(shares, networks.error, constant, *pair) for pair in pairs]
    p_matched = statistics.holm(np.array([effect.p for effect in adjusted]))
    alike = adjusted_errors(shares, networks.error, constant)
    everywhere = np.zeros(len(alike), np.intp)
    scale = _per_block(networks)
    dominant = _dominant(networks.shares[:, kept])
    changes_p = iter(statistics.holm(np.array([change.p for found in adjusted for change in found.changes])))
    results = {}
    for at, (i, j) in enumerate(pairs):
        raw = _bounded(-1, *(scale * value for value in effects.difference(i, j)))
        matched = _bounded(-1, *(scale * value for value in _limits(adjusted[at].estimate)))
        pair = (kept[i], kept[j])
        facts = _facts(networks, pair, adjusted[at], raw, matched)
        led = min((dominant == i).sum(), (dominant == j).sum())
        better = float("nan")
        if led >= MIN_NETWORKS_OF_TYPE:
            better = statistics.superiority(alike, dominant, everywhere, i, j)
        if p_matched[at] < LEVEL and (better - 0.5) * matched.value > 0:
            better = float("nan")  # one fit of all networks, which the effect of these two contradicts
        a, b = (networks.names[k] for k in pair)
        tests = (raw, float(p_raw[at]), matched, float(p_matched[at]))
        differ = _heterogeneity(adjusted[at], scale, [float(next(changes_p)) for _ in adjusted[at].changes])
        results[pair] = _contrast(networks, (a, b), tests, better, facts, differ)
    return results


def _heterogeneity(adjusted: AdjustedEffect, scale: float, tests: Sequence[float]) -> Heterogeneity:
    """Tell an effect one standard deviation below and above the mean of each covariate. tests: p of an effect
    that does not change with it, after Holm over all contrasts."""
    value, shown = adjusted.estimate.value, []
    for name, change, p in zip(COVARIATES, adjusted.changes, tests, strict=False):
        ends = (("low", value - change.value), ("high", value + change.value))
        strata = tuple(
            Stratum(f"{end} {name}", adjusted.networks, replace(UNKNOWN, value=scale * at))
            for end, at in ends
        )
        if np.isfinite(p):
            shown.append(Interaction(name, p, strata))
    return Heterogeneity(tuple(shown))


def _limits(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _bounded(least: float, value: float, low: float, high: float) -> Estimate:
    """Clip an estimate to possible errors, from `least` to 1. It becomes unknown if its whole interval lies
    outside, because the sample then says nothing about networks of this type."""
    inside, lower, upper = np.clip([value, low, high], least, 1.0)  # NaN stays NaN
    if low > 1 or high < least or (np.isnan(low) and inside != value):
        return UNKNOWN
    return Estimate(float(inside), float(np.minimum(lower, inside)), float(np.maximum(upper, inside)))


def _unknown(networks: Networks, pair: tuple[int, int]) -> Contrast:
    """Return a contrast without estimates, for a type that too few networks hold."""
    adjusted = adjusted_effect(networks.shares, networks.error, networks.covariates, *pair)
    facts = _facts(networks, pair, adjusted, UNKNOWN, UNKNOWN)
    a, b = (networks.names[k] for k in pair)
    nothing = float("nan")
    return _contrast(networks, (a, b), (UNKNOWN, nothing, UNKNOWN, nothing), nothing, facts)


def _contrast(
    networks: Networks,
    pair: tuple[str, str],
    tests: tuple[Estimate, float, Estimate, float],
    better: float,
    facts: Facts,
    differ: Heterogeneity = UNTESTED,
) -> Contrast:
    failures = unpaired_failures(*(networks.runs[name] for name in pair))
    checked = (*gates(facts), rate_gate(failures, "C"))
    mixed = _per_block(networks) < 1
    return Contrast(
        *pair, *tests, better, facts.overlap, failures, not facts.balanced, checked, mixed, differ
    )


def _per_block(networks: Networks) -> float:
    """Return the factor that scales the effect of a whole network: 1 if every network is of one type, else
    the mean share of one block in a network."""
    if not len(networks.error) or np.isclose(networks.shares.max(axis=1), 1).all():
        return 1.0
    return float(np.mean(1 / networks.depth))


def _dominant(shares: Floats) -> Ints:
    """Return the type of most blocks of each network; -1 for a tie."""
    ordered = np.sort(shares, axis=1)
    tied = np.isclose(ordered[:, -1], ordered[:, -2])
    return np.where(tied, -1, shares.argmax(axis=1)).astype(np.intp)


def _facts(
    networks: Networks, pair: tuple[int, int], adjusted: AdjustedEffect, raw: Estimate, matched: Estimate
) -> Facts:
    holds = networks.shares[:, list(pair)] > 0
    either = holds.any(axis=1)
    return Facts(
        networks=int(either.sum()),
        networks_a=int(holds[:, 0].sum()),
        networks_b=int(holds[:, 1].sum()),
        balanced=bool(networks.uniform.all()),
        seeds=len(np.unique(networks.seed[either])),
        overlap=adjusted.overlap,
        raw=raw,
        equal_flops=matched,
        own_recipes=networks.own_recipes,
    )
