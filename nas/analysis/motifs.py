"""Structural motifs of a network's graph, and which of them go with low error at equal FLOPs.

They are counted on the expanded graph, so that "residual" can be asked of a network that nobody
declared residual: a shortcut is a branch without a convolution around a branch with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from nas import statistics
from nas.estimate import UNKNOWN, Estimate
from nas.graph import Graph, Primitive
from nas.ops import Add, Concat, Conv, DropPathMean, Linear, Mean, UpsampleScores
from nas.statistics import Floats, Ints

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


def motifs(graph: Graph) -> dict[str, float]:
    """How much of each motif a network has, by the names in `NAMES`."""
    nodes = graph.primitives
    longest, shortest, paths, lengths = _paths(nodes, graph.output_index)
    shortcuts, projections = _branches(nodes)
    values = (
        *(shortcuts, projections),
        sum(getattr(node.op, "groups", 1) > 1 for node in nodes),
        sum(isinstance(node.op, JOINS) for node in nodes),
        *(longest, shortest, log2(paths), lengths / paths, _receptive_field(nodes)),
    )
    return dict(zip(NAMES, map(float, values), strict=True))


def explain(
    counts: Floats, error: Floats, stratum: Ints, cluster: Ints, rng: np.random.Generator
) -> tuple[MotifEffect, ...]:
    """The motifs (n, motifs) that vary, strongest first. A `stratum` holds networks of equal FLOPs;
    `cluster` numbers what was drawn independently. Empty below 20 networks."""
    varies = [at for at in range(counts.shape[1]) if np.ptp(counts[:, at]) > 0]
    if len(error) < MIN_NETWORKS or not varies:
        return ()
    x = np.stack([_ranks(counts[:, at], stratum) for at in varies], axis=1)
    y = _ranks(error, stratum)
    p = statistics.holm(_permutation_p(x, y, stratum, rng))
    weights = rng.multinomial(
        cluster.max() + 1, np.full(cluster.max() + 1, 1 / (cluster.max() + 1)), RESAMPLES
    )
    draws = _correlation(x, y, weights[:, cluster].astype(float))
    found = _correlation(x, y, np.ones((1, len(y))))[0]
    effects = []
    for column, at in enumerate(varies):
        known = draws[np.isfinite(draws[:, column]), column]
        estimate = UNKNOWN
        if np.isfinite(found[column]) and len(known):
            estimate = Estimate(float(found[column]), *map(float, np.quantile(known, [0.025, 0.975])))
        low, high = counts[:, at].min(), counts[:, at].max()
        effects.append(MotifEffect(NAMES[at], float(low), float(high), estimate, float(p[column])))
    return tuple(sorted(effects, key=lambda effect: -abs(np.nan_to_num(effect.correlation.value))))


def _paths(nodes: Sequence[Primitive], output: int) -> tuple[int, int, int, int]:
    """Most and fewest layers on a path to the output, the number of paths, and the sum of their
    lengths."""
    found: list[tuple[int, int, int, int]] = []
    for node in nodes:
        before = [found[i] if i >= 0 else (0, 0, 1, 0) for i in node.inputs]
        step = isinstance(node.op, LAYERS)
        count = sum(b[2] for b in before)
        total = sum(b[3] for b in before) + step * count
        found.append((max(b[0] for b in before) + step, min(b[1] for b in before) + step, count, total))
    return found[output] if output >= 0 else (0, 0, 1, 0)


def _branches(nodes: Sequence[Primitive]) -> tuple[int, int]:
    """Joins with a branch of no layer, and with a branch of a single 1x1 convolution, beside a
    branch of more layers; branches begin where all paths to the join last met."""
    meets = _meets(nodes)
    shortcuts = projections = 0
    for at, node in enumerate(nodes):
        if not isinstance(node.op, JOINS) or len(node.inputs) < 2:
            continue
        branches = _layers_since(nodes, meets[at], at)
        most = max(len(layers) for layers in branches)
        shortcuts += most > 0 and any(not layers for layers in branches)
        projections += most > 1 and any([getattr(o, "kernel", 0) for o in b] == [1] for b in branches)
    return shortcuts, projections


def _meets(nodes: Sequence[Primitive]) -> list[int]:
    """Where all paths to each node last met, -1 at the input: its immediate dominator, found in one
    pass as nodes stand in topological order (Cooper, Harvey and Kennedy, 2001)."""
    found: list[int] = []
    for node in nodes:
        meet, *others = (max(i, -1) for i in node.inputs)
        for other in others:
            while meet != other:
                meet, other = (found[meet], other) if meet > other else (meet, found[other])
        found.append(meet)
    return found


def _layers_since(nodes: Sequence[Primitive], start: int, join: int) -> list[list[object]]:
    """The layers of each branch of a join, along its longest path since `start`."""
    longest: dict[int, list[object]] = {start: []}
    for at in range(max(start + 1, 0), join):
        before = [longest[i] for i in nodes[at].inputs if max(i, -1) in longest]
        if before:
            own: list[object] = [nodes[at].op] if isinstance(nodes[at].op, LAYERS) else []
            longest[at] = max(before, key=len) + own
    return [longest.get(max(i, -1), []) for i in nodes[join].inputs]


def _receptive_field(nodes: Sequence[Primitive]) -> int:
    """The widest window of the image, in pixels, that a value before global pooling looks at."""
    found: list[tuple[int, int]] = []  # window, and distance between neighbours
    for node in nodes:
        before = [found[i] if i >= 0 else (1, 1) for i in node.inputs]
        window, step = (max(each) for each in zip(*before, strict=True))
        reach = (getattr(node.op, "kernel", 1) - 1) * getattr(node.op, "dilation", 1)
        stride = 1 if isinstance(node.op, UpsampleScores) else getattr(node.op, "stride", 1)
        found.append((window + reach * step, step * stride))
    return max((window for window, _ in found), default=1)


def _ranks(values: Floats, stratum: Ints) -> Floats:
    """Ranks within each stratum in parts of its size, less their mean."""
    ranks = np.zeros(len(values))
    for s in np.unique(stratum):
        at = stratum == s
        own = statistics.ranks(values[at])
        ranks[at] = (own - own.mean()) / len(own)
    return ranks


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Of each column of x with y, for each weighting (b, n): (b, columns); NaN without spread."""
    norm = np.sqrt((weights @ x**2) * (weights @ y**2)[:, None])
    return np.asarray(np.where(norm > 0, (weights @ (x * y[:, None])) / np.where(norm > 0, norm, 1), np.nan))


def _permutation_p(x: Floats, y: Floats, stratum: Ints, rng: np.random.Generator) -> Floats:
    """Two-sided p of each column, errors permuted within strata; NaN without spread."""
    observed = np.abs(y @ x)
    permuted = np.tile(y, (PERMUTATIONS, 1))
    for s in np.unique(stratum):
        at = np.flatnonzero(stratum == s)
        permuted[:, at] = rng.permuted(permuted[:, at], axis=1)
    exceed = (np.abs(permuted @ x) >= observed * (1 - 1e-12)).sum(axis=0)
    return np.asarray(np.where((x**2).sum(axis=0) > 0, (1 + exceed) / (1 + PERMUTATIONS), np.nan))
