"""Figures of a network whose last blocks are not decided yet. They only grow with the blocks that follow, so
that an enumeration leaves out all networks that begin with too large a part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import inf

from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Shape
from nas.modules import Module, Stem
from nas.modules.base import expansion
from nas.space.genotype import INPUT_NODE, JOINS, Genotype, Node
from nas.space.spec import SpaceSpec


class HopelessError(Exception):
    """No network that begins so meets the constraints."""


class PrefixCheck:
    """Adds up FLOPs and parameters block by block; raises HopelessError above the limits of a space."""

    def __init__(self, spec: SpaceSpec) -> None:
        limits = [spec.constraints.get(name) for name in ("flops", "params")]
        self._highest = [inf if limit is None or limit.max is None else limit.max for limit in limits]
        self._input = spec.input
        self._shapes: dict[str, Shape] = {}
        self._figures = [0, 0]

    def __call__(self, stem: Stem | None, nodes: Sequence[Node]) -> None:
        """Check the network so far; it is called after each block."""
        node = nodes[-1]
        try:
            if len(nodes) == 1:
                self._shapes, self._figures = {INPUT_NODE: self._input}, [0, 0]
                if stem is not None:
                    self._add(INPUT_NODE, stem, self._input)
            shapes = [self._shapes[name] for name in node.inputs]
            shape = shapes[0] if len(shapes) == 1 else JOINS[node.join].shape(*shapes)
            assert isinstance(node.module, Module)
            self._add(node.name, node.module, shape)
        except NasError as error:  # it cannot be built
            raise HopelessError from error
        if any(figure > highest for figure, highest in zip(self._figures, self._highest, strict=True)):
            raise HopelessError

    def rules_out(self, genotype: Genotype) -> bool:
        """Tell whether the stem and the blocks of a network are too much; much quicker than its graph."""
        if min(self._highest) == inf:
            return False
        nodes: list[Node] = []
        try:
            for node in genotype.nodes:
                nodes.append(node)
                self(genotype.stem, nodes)
        except HopelessError:
            return True
        return False

    def _add(self, name: str, module: Module, shape: Shape) -> None:
        self._shapes[name], *figures = _figures(module, shape)
        self._figures = [a + b for a, b in zip(self._figures, figures, strict=True)]


@lru_cache(maxsize=8192)
def _figures(module: Module, shape: Shape) -> tuple[Shape, int, int]:
    graph = expansion(module, shape)
    figures = cost(graph)
    return graph.output_shape, figures.flops, figures.params
