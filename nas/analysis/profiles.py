"""Effects of module types over FLOPs and over depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.claims.grades import MIN_NETWORKS_OF_TYPE
from nas.analysis.comparison import FLOPS_BINS
from nas.analysis.paired.blocks import Blocks, mean_of
from nas.stats.adjusted import adjusted_errors
from nas.stats.estimate import Estimate
from nas.stats.resampling import Floats, Ints, log_bins, mean_interval

if TYPE_CHECKING:
    import pandas as pd

DEPTHS = 6
"""Most depths that are kept separate; more are put into bins."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Deviations:
    """Error of networks (n,) minus the mean error, with equal weight per type, of those they are compared
    with: the types of the context, or all types at the FLOPs and depth of the network."""

    types: tuple[str, ...]
    flops: Floats
    depth: Floats
    value: Floats


@dataclass(frozen=True)
class Profile:
    """Mean deviation of one type at the places `x` (k,), with limits if a place has enough networks, and the
    number of `networks` (k,) at each."""

    x: Floats
    effects: tuple[Estimate, ...]
    networks: Ints

    def of_enough(self) -> Profile:
        """Return the places with enough networks for an interval."""
        kept = np.flatnonzero(self.networks >= MIN_NETWORKS_OF_TYPE)
        return Profile(self.x[kept], tuple(self.effects[i] for i in kept), self.networks[kept])


def from_blocks(blocks: Blocks) -> Deviations:
    """Return the deviations of a paired design at equal FLOPs, from whole contexts."""
    errors = mean_of(blocks.error[:, 1], 1)
    whole = np.isfinite(errors).all(axis=1)
    flops = mean_of(mean_of(blocks.flops[:, 1], 1), 1)[whole]
    deviations = errors[whole] - errors[whole].mean(axis=1, keepdims=True)
    types = np.tile(blocks.types, len(deviations))
    size = len(blocks.types)
    return Deviations(
        tuple(types.tolist()),
        np.repeat(flops, size),
        np.repeat(blocks.depth[whole], size),
        deviations.ravel(),
    )


def from_networks(networks: pd.DataFrame) -> Deviations:
    """Return the deviations of distinct networks (see `nas.analysis.table`) from what is expected at their
    FLOPs and depth, averaged over the types."""
    flops, error, depth = (networks[name].to_numpy(float) for name in ("flops", "error", "depth"))
    kinds, index = np.unique(networks["type"].to_numpy(str), return_inverse=True)
    if not len(kinds):
        return Deviations((), flops, depth, error)
    alike = adjusted_errors(np.eye(len(kinds))[index], error, (np.log(flops), depth))
    means = np.bincount(index, weights=alike) / np.bincount(index)
    return Deviations(tuple(networks["type"]), flops, depth, alike - means.mean())


def profiles(deviations: Deviations, axis: str, *, seed: int = 0) -> Mapping[str, Profile]:
    """Return the profile of each type over "flops" (bins of equal width in the logarithm) or "depth"
    (in blocks)."""
    if not len(deviations.value):
        return {}
    rng = np.random.default_rng(seed)
    place = np.asarray(getattr(deviations, axis), float)
    bins = place if axis == "depth" and len(np.unique(place)) <= DEPTHS else log_bins(place, FLOPS_BINS)[1]
    types = np.array(deviations.types)
    return {
        str(name): _profile(place[types == name], bins[types == name], deviations.value[types == name], rng)
        for name in sorted(set(deviations.types))
    }


def _profile(place: Floats, bins: Floats | Ints, values: Floats, rng: np.random.Generator) -> Profile:
    groups = [bins == place_bin for place_bin in np.unique(bins)]
    x = np.array([np.exp(np.log(place[rows]).mean()) for rows in groups])
    effects = tuple(_estimate(values[rows], rng) for rows in groups)
    return Profile(x, effects, np.array([rows.sum() for rows in groups], np.intp))


def _estimate(values: Floats, rng: np.random.Generator) -> Estimate:
    value, low, high = mean_interval(values, RESAMPLES, rng)
    enough = len(values) >= MIN_NETWORKS_OF_TYPE
    return Estimate(value, low, high) if enough else Estimate(value, float("nan"), float("nan"))
