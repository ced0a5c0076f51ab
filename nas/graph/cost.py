"""Cost of a network, counted from its graph without building it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

from nas.graph.graph import Graph

BYTES = 4
"""Bytes of an activation in single precision."""


@dataclass(frozen=True)
class Cost:
    """Figures for one image.

    flops: multiply-adds of convolutions and linear layers.
    activations: output elements of the same layers.
    peak_memory: bytes of the feature maps that are alive at once in inference, in single precision.
    """

    params: int
    flops: int
    activations: int
    peak_memory: int


def cost(graph: Graph) -> Cost:
    """Count parameters, FLOPs, activations and peak memory of a graph, for one image.

    Args:
        graph: A graph, such as that of a network from `nas.expand`.

    Returns:
        `params`; `flops`, the multiply-adds of convolutions and linear layers; `activations`, the elements
        of their outputs; `peak_memory`, the bytes of feature maps alive at once.

    Example:
        >>> import nas
        >>> genotype = nas.load_space("residual_vs_fractal").sample(seed=0)
        >>> nas.cost(nas.expand(genotype, (3, 64, 64))).flops > nas.cost(nas.expand(genotype)).flops
        True
    """
    return _cost(graph, ())


@lru_cache(maxsize=8192)
def _cost(graph: Graph, kept: tuple[str, ...]) -> Cost:
    """Count a graph whose inputs `kept` are needed after it, so that they stay in memory."""
    nodes, last = graph.nodes, _last_uses(graph, kept)
    alive = sum(map(prod, graph.input_shapes))  # in elements
    params = flops = activations = 0
    peak = alive
    for name, node in nodes.items():
        op, sources, shape = node.op, node.inputs, node.shape
        if op is None:
            continue
        size = inside = prod(shape)
        if isinstance(op, Graph):
            stays = [last[source] != name for source in sources]
            inner = _cost(op, tuple(own for own, stay in zip(op.input_names, stays, strict=True) if stay))
            params, flops = params + inner.params, flops + inner.flops
            activations += inner.activations
            inside = inner.peak_memory // BYTES - sum(map(prod, op.input_shapes))
        else:
            shapes = graph.shapes_of(sources)
            multiplied = op.flops(shape, *shapes)
            params, flops = params + op.params(*shapes), flops + multiplied
            inside = op.activations(shape, *shapes)
            activations += inside if multiplied else 0
        peak = max(peak, alive + inside)
        alive += size
        for source in sources:
            if last[source] == name:
                alive -= prod(nodes[source].shape)
                last[source] = ""  # a node that takes it twice frees it once
    return Cost(params, flops, activations, peak * BYTES)


def depth(graph: Graph) -> int:
    """Count the convolutions and linear layers on the longest path: the depth of the literature."""
    deepest: list[int] = []
    for _, op, inputs, shapes, shape in graph.primitives:
        before = max((deepest[i] for i in inputs if i >= 0), default=0)
        deepest.append(before + (op.flops(shape, *shapes) > 0))
    return max(deepest, default=0)


def _last_uses(graph: Graph, kept: tuple[str, ...]) -> dict[str, str]:
    """Map each node to the last node that takes it; the output and kept inputs to "", as they stay."""
    last = {source: name for name, node in graph.nodes.items() for source in node.inputs}
    return {**last, **dict.fromkeys(kept, ""), graph.output: ""}
