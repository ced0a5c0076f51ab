"""Genotypes: a frozen DAG of modules between a stem and a head.

Chains are the common case; a node with several inputs joins them by add, mean or concat.
Without stem and head a genotype is itself a module, so genotypes nest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

from nas.errors import NasError, did_you_mean, error_context
from nas.graph.graph import HEAD, Graph, Shape, Value
from nas.graph.ops import MAX_SIZE
from nas.modules import Head, Stem
from nas.space import genotype_json
from nas.space.node import INPUT_NODE, JOINS, Auxiliary, Node, ordered

__all__ = ["INPUT_NODE", "JOINS", "Auxiliary", "Genotype", "Node", "expand"]

MAX_NODES = 1024
MAX_AUXILIARY = 8
MAX_PRIMITIVES = 1 << 14
"""Most primitives of one network, four times those of the deepest that was published."""
NOMINAL_INPUT = (3, 1024, 1024)
"""Large enough for any number of strides; shapes do not enter the digest."""


@dataclass(frozen=True)
class Genotype:
    """Nodes in topological order; the only node that no other takes feeds the head.

    `taps` are inner nodes, the last first, that the head takes too. Auxiliary heads are how
    a network is trained, not what it is: they count apart and are not in the digest.
    Raises NasError for unknown inputs, cycles, dangling nodes and bounds, with the place.
    """

    stem: Stem | None
    nodes: tuple[Node, ...]
    head: Head | None = None
    taps: tuple[str, ...] = ()
    auxiliary: tuple[Auxiliary, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.nodes) <= MAX_NODES:
            raise NasError(f"needs 1 to {MAX_NODES} nodes, not {len(self.nodes)}", where="nodes")
        object.__setattr__(self, "nodes", ordered(self.nodes))
        if len(self.auxiliary) > MAX_AUXILIARY:
            raise NasError(f"more than {MAX_AUXILIARY} heads", where="auxiliary")
        taken = [*(("taps", n) for n in self.taps), *(("auxiliary", a.node) for a in self.auxiliary)]
        if taken:
            self._check_inner(taken)
        wanted = self.head.taps if self.head else 0
        if len(self.taps) != wanted or len(set(self.taps)) < wanted:
            raise NasError(
                f"the head takes {wanted} different inner nodes, not {len(self.taps)}", where="taps"
            )

    def _check_inner(self, taken: Sequence[tuple[str, str]]) -> None:
        names = [node.name for node in self.nodes[:-1]]
        for where, name in taken:
            if name not in names:
                raise NasError(f"{name!r} is not an inner node", where=where, hint=did_you_mean(name, names))

    @cached_property
    def digest(self) -> str:
        """32 hex digits, equal exactly for isomorphic networks, stable over processes and versions."""
        try:
            return expand(self).digest  # cached for most genotypes
        except NasError:
            return expand(self, NOMINAL_INPUT).digest

    @property
    def network(self) -> Genotype:
        """The network alone, without the recipe of a `nas.space.candidate.Candidate`."""
        return self

    @cached_property
    def module_types(self) -> tuple[str, ...]:
        """Type of each module in order, those of nested genotypes included."""
        return tuple(_types(self))

    def __str__(self) -> str:
        """One line: `conv 16 | 2 x residual 16 | fractal(columns=2) 32/2 | pool`."""
        return self._line

    @cached_property
    def _line(self) -> str:
        parts = [str(self.stem)] if self.stem else []
        for _, group in groupby(zip((None, *self.nodes), self.nodes, strict=False), key=_stage):
            shown = [_node_text(before, node) for before, node in group]
            runs = [(text, len(list(same))) for text, same in groupby(shown)]
            parts.append(", ".join(f"{count} x {text}" if count > 1 else text for text, count in runs))
        return " | ".join([*parts, str(self.head)] if self.head else parts)

    def __call__(self, *values: Value, name: str = "") -> Value:
        """Apply the nodes to values of a graph as a nested graph, as a module does."""
        if self.stem or self.head:
            raise NasError("a genotype with a stem or a head cannot be nested", where=name)
        graph = _body(self, *(value.shape for value in values))
        return values[0].graph.add(graph, values, name)

    def to_dict(self) -> dict[str, Any]:
        if self.stem is None and self.head is None:
            return {"type": "genotype", "nodes": [node.to_dict() for node in self.nodes]}
        return {
            "version": genotype_json.VERSION,
            "stem": self.stem and self.stem.to_dict(),
            "nodes": [node.to_dict() for node in self.nodes],
            "head": self.head and self.head.to_dict(),
            **({"taps": list(self.taps)} if self.taps else {}),
            **({"auxiliary": [item.to_dict() for item in self.auxiliary]} if self.auxiliary else {}),
        }

    def to_json(self, indent: int | None = None) -> str:
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_dict(cls, data: Any, where: str = "genotype") -> Genotype:
        """Read what `to_dict` wrote; NasError names the place of an error."""
        parts = genotype_json.from_dict(cls, data, where)
        with error_context(where):
            return cls(*parts)

    @classmethod
    def from_json(cls, text: str, where: str = "genotype") -> Genotype:
        """Read JSON of at most 1 MiB; NasError with line and column, or the place in the genotype."""
        return cls.from_dict(genotype_json.loads(text, where), where)


def expand(
    genotype: Genotype, input_shape: Shape = (3, 32, 32), num_classes: int = 10, auxiliary: bool = False
) -> Graph:
    """Expand a genotype into the graph of its network, with inferred shapes.

    Nested nodes carry the names of the genotype: stem, stage1.block1, …, head.

    Args:
        genotype: The architecture.
        input_shape: (channels, height, width) of an image.
        num_classes: Classes to tell apart.
        auxiliary: Include the auxiliary heads that only training has, as aux1, aux2, …

    Returns:
        The graph, valid by construction.

    Raises:
        NasError: Shapes do not fit; the message names the node.

    Example:
        >>> import nas
        >>> genotype = nas.load_space("residual_vs_fractal").sample(seed=0)
        >>> nas.expand(genotype, (3, 32, 32), num_classes=10).output_shape
        (10,)
    """
    for size in (*input_shape, num_classes):  # here, as to the cache 32.0 is 32
        if type(size) is not int or not 1 <= size <= MAX_SIZE:
            raise NasError(f"sizes must be integers from 1 to {MAX_SIZE}, not {size!r}", where="input")
    return _expanded(genotype.network, tuple(input_shape), num_classes, auxiliary)


@lru_cache(maxsize=1024)
def _expanded(genotype: Genotype, input_shape: Shape, num_classes: int, auxiliary: bool) -> Graph:
    if genotype.head is None:
        raise NasError("only a genotype with a head is a network")
    graph = Graph("Network", [input_shape])
    image = Value(graph, graph.input_names[0], graph.input_shape)
    stem, head = genotype.stem, genotype.head
    with error_context(INPUT_NODE):
        source = stem(image, name=INPUT_NODE) if stem else image
    values = _connect(genotype, source)
    for name in (*genotype.taps, *(item.node for item in genotype.auxiliary)):
        values[name].named(name.replace(".", "_"))  # what leaves in the middle has a name of its own
    sink = genotype.nodes[-1].name
    taken = [values[name] for name in (sink, *genotype.taps)] + [image] * head.takes_image
    with error_context(HEAD):
        scores = head(*taken, num_classes=num_classes, name=HEAD)
    extra = {}
    for number, item in enumerate(genotype.auxiliary if auxiliary else (), start=1):
        name, inner = f"aux{number}", [values[item.node]] + [image] * item.head.takes_image
        with error_context(name):
            item.head(*inner, num_classes=num_classes, name=name)
        extra[name] = float(item.weight)
    graph.description = genotype
    return graph.close(scores, extra)


@lru_cache(maxsize=1024)
def _body(genotype: Genotype, *shapes: Shape) -> Graph:
    graph = Graph("Cell", shapes)
    values = _connect(genotype, Value(graph, graph.input_names[0], graph.input_shape))
    return graph.close(values[genotype.nodes[-1].name])


def _connect(genotype: Genotype, source: Value) -> dict[str, Value]:
    values = {INPUT_NODE: source}
    total = 0
    for node in genotype.nodes:
        inputs = [values[name] for name in node.inputs]
        x = inputs[0] if len(inputs) == 1 else JOINS[node.join](*inputs, name=f"{node.name}.join")
        with error_context(node.name):
            values[node.name] = node.module(x, name=node.name)
        total += source.graph.nodes[node.name].op.size
        if total > MAX_PRIMITIVES:
            raise NasError(f"the network has more than {MAX_PRIMITIVES:,} primitives", where=node.name)
    return values


def _stage(pair: tuple[Node | None, Node]) -> str:
    return pair[1].stage


def _node_text(before: Node | None, node: Node) -> str:
    if node.inputs == (before.name if before else INPUT_NODE,):
        return node.text
    return f"{node.text} <- {f' {node.join} '.join(node.inputs)}"


def _types(genotype: Genotype) -> Iterator[str]:
    for node in genotype.nodes:
        if isinstance(node.module, Genotype):
            yield from _types(node.module)
        else:
            yield node.module.type_name
