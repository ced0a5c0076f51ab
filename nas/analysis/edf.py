"""Error distribution functions: the quality of a whole design space, not only of its best network
(Radosavovic et al., 2019, On network design spaces for visual recognition).

Raw, or normalised: with weights under which complexity is uniform over bins of log FLOPs, so
that a space is not better for being larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nas.analysis.comparison import DRAWN, FLOPS_BINS, RESAMPLES
from nas.stats.resampling import Floats, Ints, bootstrap_counts, log_bins

POINTS = 400
"""Most points at which a curve is known; between them it is a step."""


@dataclass(frozen=True)
class Edf:
    """Share `y` of networks with an error of at most `x`, with limits of its pointwise 95 % band; arrays
    (points,), x ascending."""

    x: Floats
    y: Floats
    low: Floats
    high: Floats


def edf(errors: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Return the distinct errors (points,) in ascending order, and the share of weight at or below each."""
    values = np.asarray(errors, float)
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    x, index = np.unique(values, return_inverse=True)
    sums = np.cumsum(np.bincount(index, weights=weight, minlength=len(x)))
    return x, np.asarray(sums / sums[-1] if len(x) else sums, float)


def edf_band(
    errors: ArrayLike,
    flops: ArrayLike | None = None,
    *,
    bins: Floats | None = None,
    cluster: Ints | None = None,
    resamples: int | None = None,
    rng: np.random.Generator | None = None,
) -> Edf:
    """The EDF of distinct networks with its 95 % band, by percentile bootstrap.

    With `flops` it is normalised: every FLOPs bin weighs the same. `bins` (k, 2) are their lower
    and upper limits, as `shared_bins` gives them, by default 5 over the networks' own range;
    networks outside are left out. `cluster` (n,) numbers what was drawn independently, by
    default each network. Empty without networks; the band is NaN with a single one.
    """
    values = np.asarray(errors, float)
    groups = np.arange(len(values)) if cluster is None else np.asarray(cluster, np.intp)
    stratum = np.zeros(len(values), np.intp)
    if flops is not None:
        costs = np.asarray(flops, float)
        stratum = _bin_of(costs, shared_bins([costs]) if bins is None else bins)
    kept = stratum >= 0
    values, stratum, groups = values[kept], stratum[kept], np.unique(groups[kept], return_inverse=True)[1]
    if not len(values):
        return Edf(*np.empty((4, 0)))
    x, index = np.unique(values, return_inverse=True)
    shown = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(np.intp))
    y = _curves(np.ones((1, len(values))), stratum, index, shown)[0]
    count = int(groups.max()) + 1
    if count == 1:
        return Edf(x[shown], y, np.full(len(shown), np.nan), np.full(len(shown), np.nan))
    draws = resamples or int(np.clip(DRAWN // count, *RESAMPLES))
    step = max(1, 1_000_000 // len(values))
    counts = bootstrap_counts(count, draws, step, rng or np.random.default_rng(0))
    curves = np.concatenate([_curves(weights[:, groups], stratum, index, shown) for weights in counts])
    low, high = np.nanquantile(curves, [0.025, 0.975], axis=0)
    return Edf(x[shown], y, low, high)


def shared_bins(flops: Sequence[ArrayLike], least: int = 1) -> Floats:
    """Return the limits (k, 2) of the bins, of 5 over the whole range of log FLOPs, in which every group has
    `least` networks. Outside them groups cannot be compared at equal FLOPs. k may be 0."""
    groups = [np.asarray(group, float) for group in flops]
    if not groups or any(not len(group) for group in groups):
        return np.empty((0, 2))
    edges, _ = log_bins(np.concatenate(groups), FLOPS_BINS)
    edges[-1] = np.nextafter(max(group.max() for group in groups), np.inf)
    edges[0] = min(group.min() for group in groups)
    bins = np.stack([edges[:-1], edges[1:]], axis=1)
    counts = [np.bincount(_bin_of(group, bins) + 1, minlength=len(bins) + 1)[1:] for group in groups]
    filled = [own >= least for own in counts]
    return np.asarray(bins[np.all(filled, axis=0)])


def _bin_of(flops: Floats, bins: Floats) -> Ints:
    """Return the bin of each value, -1 outside all bins."""
    inside = (flops[:, None] >= bins[:, 0]) & (flops[:, None] < bins[:, 1])
    if not len(bins):
        return np.full(len(flops), -1)
    return np.where(inside.any(axis=1), inside.argmax(axis=1), -1).astype(np.intp)


def _curves(counts: Floats, stratum: Ints, at: Ints, shown: Ints) -> Floats:
    """The EDF of each weighting (b, n) of the networks at the points `shown` (b, points); every
    stratum that is drawn weighs the same. `at` numbers the networks' errors, ascending."""
    weights = np.zeros_like(counts)
    for s in np.unique(stratum):
        members = stratum == s
        total = counts[:, members].sum(axis=1, keepdims=True)
        weights[:, members] = counts[:, members] / np.where(total > 0, total, 1)
    order = np.argsort(at, kind="stable")
    sums = np.cumsum(weights[:, order], axis=1)
    last = np.searchsorted(at[order], shown, side="right") - 1
    return np.asarray(sums[:, last] / sums[:, -1:])
