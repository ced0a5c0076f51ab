"""Structural motifs of a network's graph, and which of them go with low error at equal FLOPs.

They are counted on the expanded graph, so that "residual" can be asked of a network that nobody
declared residual: a shortcut is a branch without a convolution around a branch with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log2
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from nas.graph.graph import Graph
from nas.graph.ops import Add, Concat, Conv, DropPathMean, Linear, Mean, UpsampleScores
from nas.stats import resampling as statistics
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats, Ints

NAMES = (
    *("identity shortcuts", "projections", "grouped convolutions", "multi-path joins"),
    *("longest path", "shortest path", "paths, log2", "effective depth", "receptive field"),
)
"""Paths are counted in convolutions and linear layers; the effective depth is their mean length
over all paths from input to output (Veit et al., 2016)."""

JOINS = (Add, Concat, Mean, DropPathMean)
LAYERS = (Conv, Linear)
PERMUTATIONS, RESAMPLES = 1000, 1000
MIN_NETWORKS = 20


@dataclass(frozen=True)
class MotifEffect:
    """A motif over the networks: least and most of it, its rank correlation with error within
    equal FLOPs (negative where more of it goes with lower error), and p after Holm."""

    name: str
    least: float
    most: float
    correlation: Estimate
    p: float


class _Counts(NamedTuple):
    shortcuts: int = 0
    projections: int = 0
    grouped: int = 0
    joins: int = 0


class _Part(NamedTuple):
    """Part between the input and the output of a primitive, or of a graph: the counts of motifs
    inside; most and fewest layers on a path, the number of paths and the sum of their lengths; whether
    the longest path is a single 1x1 convolution; by how many pixels the window of a value grows, at its
    widest and at the output, and the stride there."""

    counts: _Counts = _Counts()
    longest: int = 0
    shortest: int = 0
    paths: int = 1
    lengths: int = 0
    pointwise: bool = False
    widest: int = 0
    reach: int = 0
    stride: int = 1

    def then(self, part: _Part) -> _Part:
        """Join this part with one that takes its output; the motifs inside and the widest window are those
        of the second."""
        longest = self.longest + part.longest
        return _Part(
            part.counts,
            longest,
            self.shortest + part.shortest,
            self.paths * part.paths,
            self.lengths * part.paths + self.paths * part.lengths,
            longest == 1 and (self.pointwise or part.pointwise),
            self.reach + part.widest * self.stride,
            self.reach + part.reach * self.stride,
            self.stride * part.stride,
        )


def _beside(parts: Sequence[_Part]) -> _Part:
    """Merge the branches of one input into the part that their join sees."""
    if len(parts) == 1:  # nearly all
        return parts[0]
    return max(parts, key=attrgetter("longest"))._replace(
        shortest=min(part.shortest for part in parts),
        paths=sum(part.paths for part in parts),
        lengths=sum(part.lengths for part in parts),
        reach=max(part.reach for part in parts),
        stride=max(part.stride for part in parts),
    )


def motifs(graph: Graph) -> dict[str, float]:
    """Return how much of each motif a network has, by the names in `NAMES`."""
    whole = _part(graph)
    depth = (whole.longest, whole.shortest, log2(whole.paths), whole.lengths / whole.paths)
    return dict(zip(NAMES, map(float, (*whole.counts, *depth, 1 + whole.widest)), strict=True))


def explain(
    counts: Floats, error: Floats, stratum: Ints, cluster: Ints, rng: np.random.Generator, cost: Floats
) -> tuple[MotifEffect, ...]:
    """Return the motifs (n, motifs) that vary, strongest first; () below 20 networks.

    stratum: networks of nearly equal FLOPs, or of one context. cost: FLOPs, whose rank within the stratum is
    held constant too, as the dearer networks of a bin have more of a motif and lower errors; equal values
    where it is not to be. cluster: what was drawn independently.
    """
    varies = [at for at in range(counts.shape[1]) if np.ptp(counts[:, at]) > 0]
    if len(error) < MIN_NETWORKS or not varies:
        return ()
    price = _ranks(cost, stratum)
    x = np.stack([_less(_ranks(counts[:, at], stratum), price) for at in varies], axis=1)
    y = _less(_ranks(error, stratum), price)
    p = statistics.holm(_permutation_p(x, y, stratum, rng))
    weights = rng.multinomial(
        cluster.max() + 1, np.full(cluster.max() + 1, 1 / (cluster.max() + 1)), RESAMPLES
    )
    draws = _correlation(x, y, weights[:, cluster].astype(float))
    correlations = _correlation(x, y, np.ones((1, len(y))))[0]
    effects = []
    for column, at in enumerate(varies):
        known = draws[np.isfinite(draws[:, column]), column]
        estimate = UNKNOWN
        if np.isfinite(correlations[column]) and len(known):
            estimate = Estimate(float(correlations[column]), *map(float, np.quantile(known, [0.025, 0.975])))
        low, high = counts[:, at].min(), counts[:, at].max()
        effects.append(MotifEffect(NAMES[at], float(low), float(high), estimate, float(p[column])))
    return tuple(sorted(effects, key=lambda effect: -abs(np.nan_to_num(effect.correlation.value))))


@lru_cache(maxsize=8192)
def _part(op: Any) -> _Part:
    """Measure a primitive or a graph. Nested graphs are measured once each, so repeated modules cost nothing.
    Those of several inputs are flattened, as what lies before each input may differ."""
    if not isinstance(op, Graph):
        return _of_primitive(op)
    if any(isinstance(node.op, Graph) and len(node.inputs) > 1 for node in op.nodes.values()):
        op = op.flatten()
    number = {name: at for at, name in enumerate(op.nodes)}
    inputs = [[number[source] for source in node.inputs] for node in op.nodes.values()]
    parts = [_Part() if node.op is None else _part(node.op) for node in op.nodes.values()]
    reached: list[_Part] = []
    for part, sources in zip(parts, inputs, strict=True):
        reached.append(_beside([reached[i] for i in sources]).then(part) if sources else part)
    own = _Counts(*_branches(parts, inputs))
    inside = _Counts(*map(sum, zip(own, *(part.counts for part in parts), strict=True)))
    return reached[number[op.output]]._replace(counts=inside, widest=max(part.widest for part in reached))


def _of_primitive(op: Any) -> _Part:
    layer, kernel = isinstance(op, LAYERS), getattr(op, "kernel", 1)
    reach = (kernel - 1) * getattr(op, "dilation", 1)
    return _Part(
        counts=_Counts(grouped=int(getattr(op, "groups", 1) > 1), joins=int(isinstance(op, JOINS))),
        longest=int(layer),
        shortest=int(layer),
        lengths=int(layer),
        pointwise=isinstance(op, Conv) and kernel == 1,
        widest=reach,
        reach=reach,
        stride=1 if isinstance(op, UpsampleScores) else getattr(op, "stride", 1),
    )


def _branches(parts: Sequence[_Part], inputs: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Count joins with a branch of no layer, and with a branch of a single 1x1 convolution, beside a
    branch of more layers; branches begin where all paths to the join last met."""
    meets = _meets(inputs)
    shortcuts = projections = 0
    for join, sources in enumerate(inputs):
        if len(sources) < 2 or not parts[join].counts.joins:
            continue
        since = {meets[join]: _Part()}
        for at in range(meets[join] + 1, join):
            if before := [since[i] for i in inputs[at] if i in since]:
                since[at] = _beside(before).then(parts[at])
        branches = [since[i] for i in sources]
        most = max(branch.longest for branch in branches)
        shortcuts += most > 0 and any(not branch.longest for branch in branches)
        projections += most > 1 and any(branch.pointwise for branch in branches)
    return shortcuts, projections


def _meets(inputs: Sequence[Sequence[int]]) -> list[int]:
    """Return the node where all paths to each node last met: its immediate dominator, in one pass as nodes
    stand in topological order (Cooper, Harvey and Kennedy, 2001)."""
    meets: list[int] = []
    for at, sources in enumerate(inputs):
        meet, *others = sources or (at,)
        for other in others:
            while meet != other:
                meet, other = (meets[meet], other) if meet > other else (meet, meets[other])
        meets.append(meet)
    return meets


def _ranks(values: Floats, stratum: Ints) -> Floats:
    """Return ranks within each stratum in parts of its size, less their mean."""
    ranks = np.zeros(len(values))
    for s in np.unique(stratum):
        at = stratum == s
        own = statistics.ranks(values[at])
        ranks[at] = (own - own.mean()) / len(own)
    return ranks


def _less(values: Floats, price: Floats) -> Floats:
    """Values less what a line through the price accounts for; both have mean zero."""
    spread = float(price @ price)
    return np.asarray(values - price * (values @ price / spread)) if spread else values


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Correlate each column of x with y under each weighting (b, n): (b, columns); NaN without spread."""
    norm = np.sqrt((weights @ x**2) * (weights @ y**2)[:, None])
    return np.asarray(np.where(norm > 0, (weights @ (x * y[:, None])) / np.where(norm > 0, norm, 1), np.nan))


def _permutation_p(x: Floats, y: Floats, stratum: Ints, rng: np.random.Generator) -> Floats:
    """Return the two-sided p of each column, permuting errors within strata; NaN without spread."""
    observed = np.abs(y @ x)
    permuted = np.tile(y, (PERMUTATIONS, 1))
    for s in np.unique(stratum):
        at = np.flatnonzero(stratum == s)
        permuted[:, at] = rng.permuted(permuted[:, at], axis=1)
    exceed = (np.abs(permuted @ x) >= observed * (1 - 1e-12)).sum(axis=0)
    return np.asarray(np.where((x**2).sum(axis=0) > 0, (1 + exceed) / (1 + PERMUTATIONS), np.nan))
