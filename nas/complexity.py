"""What a network costs, counted from its graph without building it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from nas.graph import Graph, Shape

BYTES = 4
"""Bytes of an activation in single precision."""


@dataclass(frozen=True)
class Cost:
    """Figures for one image.

    flops: multiply-adds of convolutions and linear layers; activations: output elements
    of the same layers; peak_memory: bytes of the feature maps that must be alive at once
    in inference, in single precision.
    """

    params: int
    flops: int
    activations: int
    peak_memory: int


@lru_cache(maxsize=8192)
def cost(graph: Graph) -> Cost:
    """Parameters, FLOPs, activations and peak activation memory of a graph.

    Nested graphs are counted once each, so modules that repeat cost nothing more.
    """
    nodes = graph.nodes
    uses = Counter(source for _, node in nodes.items() for source in node["inputs"])
    uses[graph.output] += 1
    alive = sum(_size(shape) for shape in graph.input_shapes)
    params = flops = activations = 0
    peak = alive
    for _, node in nodes.items():
        op, sources = node["op"], node["inputs"]
        if op is None:
            continue
        shapes = tuple(nodes[source]["shape"] for source in sources)
        if isinstance(op, Graph):
            inner = cost(op)
            params, flops = params + inner.params, flops + inner.flops
            activations += inner.activations
            inside = inner.peak_memory - sum(map(_size, op.input_shapes))
        else:
            params, flops = params + op.params(*shapes), flops + op.flops(*shapes)
            activations += op.activations(*shapes)
            inside = _size(node["shape"])
        peak = max(peak, alive + inside)
        alive += _size(node["shape"])
        for source in sources:
            uses[source] -= 1
            if not uses[source]:
                alive -= _size(nodes[source]["shape"])
    return Cost(params, flops, activations, peak)


def depth(graph: Graph) -> int:
    """Convolutions and linear layers on the longest path, the depth of the literature."""
    deepest: list[int] = []
    for _, op, inputs, shapes, _ in graph.primitives:
        before = max((deepest[i] for i in inputs if i >= 0), default=0)
        deepest.append(before + (op.activations(*shapes) > 0))
    return max(deepest, default=0)


def _size(shape: Shape) -> int:
    return prod(shape) * BYTES
