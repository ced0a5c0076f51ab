"""Tests of whether the effect of a module type differs between contexts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt

import numpy as np

from nas.analysis.paired.blocks import OR, Blocks, Mask, mean_of
from nas.stats.estimate import Estimate
from nas.stats.paired_means import paired_means
from nas.stats.resampling import Floats, Ints, holm

LEVEL = 0.05
PERMUTATIONS = 10_000
"""Permutations at most; each contrast has several tests, and all of one estimand are adjusted together."""
FEWEST = 2000
MOST_CELLS = 4_000_000
"""Permutations times contexts, from which on there are fewer permutations, but at least `FEWEST`."""
RESAMPLES = 1000
STRATUM_CONTEXTS = 5
"""Contexts below which a stratum is not shown."""


@dataclass(frozen=True)
class Stratum:
    """Mean effect over some contexts, named by what they share, as in `low depth`."""

    name: str
    contexts: int
    effect: Estimate


@dataclass(frozen=True)
class Interaction:
    """Test of a covariate of contexts: whether the effect changes with it, `p` after Holm over the
    covariates of all contrasts of one estimand, and the effect in the contexts where it is low and high."""

    covariate: str
    p: float
    strata: tuple[Stratum, ...]

    @property
    def name(self) -> str:
        """Name of the covariate in a sentence: depth, width, norm, FLOPs."""
        return self.covariate.split(OR)[-1].split()[0] if OR in self.covariate else self.covariate


@dataclass(frozen=True)
class Heterogeneity:
    """Spread of an effect between contexts. `sd` is that of the effect beyond seed noise, and `p` tests
    it, after Holm over the contrasts; both are NaN where no network was trained twice."""

    interactions: tuple[Interaction, ...] = ()
    sd: float = nan
    p: float = nan

    @property
    def known(self) -> bool:
        """Return whether anything could be tested."""
        return bool(self.interactions) or isfinite(self.p)

    @property
    def significant(self) -> bool:
        return self.p < LEVEL or any(found.p < LEVEL for found in self.interactions)


UNTESTED = Heterogeneity()


def heterogeneity(
    differences: Floats,
    covariates: Sequence[Mapping[str, Floats]],
    noise: Floats,
    freedom: Floats,
    rng: np.random.Generator,
) -> tuple[Heterogeneity, ...]:
    """Test each column of `differences` (contexts, contrasts), with all p-values adjusted together.

    Args:
        differences: Effects by context, NaN where not known.
        covariates: For each contrast a number per context by name, NaN where not known.
        noise: Variance of a difference of each contrast that seeds alone explain; NaN where not known.
        freedom: Degrees of freedom of each noise variance.
        rng: Source of permutations and resamples.
    """
    permutations = max(FEWEST, min(PERMUTATIONS, MOST_CELLS // len(differences)))
    order = rng.permuted(np.tile(np.arange(len(differences)), (permutations, 1)), axis=1)
    pairs = list(zip(differences.T, covariates, strict=True))
    halves = [[list(_halves(d, values)) for values in found.values()] for d, found in pairs]
    columns = [
        np.where(mask, d, np.nan)
        for (d, _), parts in zip(pairs, halves, strict=True)
        for sides in parts
        for _, mask in sides
    ]
    effects = iter(_effects(columns, rng))
    slopes = iter(holm(np.array([_slope_p(d, v, order) for d, found in pairs for v in found.values()])))
    spreads = [_beyond_noise(*each) for each in zip(differences.T, noise, freedom, strict=True)]
    beyond = holm(np.array([p for _, p in spreads]))
    results = []
    for (_, found), parts, (sd, _), p in zip(pairs, halves, spreads, beyond.tolist(), strict=True):
        interactions = [
            Interaction(
                name,
                float(next(slopes)),
                tuple(Stratum(_side(name, side), int(mask.sum()), next(effects)) for side, mask in sides),
            )
            for name, sides in zip(found, parts, strict=True)
        ]
        shown = tuple(each for each in interactions if isfinite(each.p))
        results.append(Heterogeneity(shown, sd, p))
    return tuple(results)


def _effects(columns: list[Floats], rng: np.random.Generator) -> list[Estimate]:
    if not columns:
        return []
    found = paired_means(np.stack(columns, axis=1), 0.0, rng, RESAMPLES)
    return [found.estimate(at) for at in range(len(columns))]


def _slope_p(d: Floats, values: Floats, order: Ints) -> float:
    """p of an effect that does not change with a covariate, by permutation of the covariate."""
    known = np.isfinite(d) & np.isfinite(values)
    if known.sum() < 2 * STRATUM_CONTEXTS or np.ptp(values[known]) <= 1e-9 * np.abs(values[known]).max():
        return nan
    x, y = values[known], d[known] - d[known].mean()
    x = x - x.mean()
    shuffled = order if known.all() else order[:, known].argsort(axis=1)
    drawn = np.abs(x[shuffled] @ y)
    return float((1 + (drawn >= abs(x @ y) * (1 - 1e-12)).sum()) / (1 + len(drawn)))


def _side(covariate: str, side: int) -> str:
    return covariate.split(OR)[side] if OR in covariate else f"{('low', 'high')[side]} {covariate}"


def _halves(d: Floats, values: Floats) -> Iterator[tuple[int, Mask]]:
    """The contexts where a covariate is low (0) and those where it is high (1), as equally many as its values
    allow."""
    known = np.isfinite(d) & np.isfinite(values)
    if not known.any():
        return
    balance = [
        (abs(2 * (values[known] <= level).sum() - known.sum()), level) for level in np.unique(values[known])
    ]
    low = known & (values <= min(balance)[1])
    for side, mask in ((0, low), (1, known & ~low)):
        if mask.sum() >= STRATUM_CONTEXTS:
            yield side, mask


def _beyond_noise(d: Floats, noise: float, freedom: float) -> tuple[float, float]:
    """SD of the effect between contexts beyond seed noise, and the p of none, by an F test."""
    known = d[np.isfinite(d)]
    if len(known) < 3 or not noise > 0:
        return nan, nan
    from scipy.special import fdtrc

    variance = float(known.var(ddof=1))
    return sqrt(max(variance - noise, 0.0)), float(fdtrc(len(known) - 1, freedom, variance / noise))


def seed_noise(blocks: Blocks, arm: int, pair: tuple[int, int], d: Floats) -> tuple[float, float]:
    """Variance of a difference that training seeds alone explain, and its degrees of freedom; NaN where no
    network was trained twice."""
    error = blocks.error[np.isfinite(d), arm][..., list(pair)]
    runs = (~np.isnan(error)).sum(axis=1)
    freedom = int(np.maximum(runs - 1, 0).sum())
    if not freedom:
        return float("nan"), float("nan")
    squares = float(np.nansum((error - mean_of(error, 1)[:, None]) ** 2))
    return squares / freedom * float((1 / np.maximum(runs, 1)).sum(axis=1).mean()), float(freedom)


def covariates_of(blocks: Blocks, arm: int, pair: tuple[int, int]) -> dict[str, Floats]:
    """Covariates of the effect of two types, by context."""
    flops = mean_of(np.log(blocks.flops[:, arm][..., list(pair)]), 1).mean(axis=1)
    found = {**blocks.covariates, "FLOPs": flops}
    return {
        name: values
        for name, values in found.items()
        if np.isfinite(values).any() and np.nanmax(values) > np.nanmin(values) + 1e-9
    }
