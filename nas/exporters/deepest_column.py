"""Networks of the deepest column of fractal modules alone.

Drop-path trains every column to work without the others; the deepest does nearly as well as
the whole network (Larsson et al., 2017, table 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from nas.codegen.parameter_names import carry
from nas.errors import NasError
from nas.graph.graph import Graph
from nas.modules import Fractal, Module, Plain
from nas.space.genotype import INPUT_NODE, Genotype, Node

V = TypeVar("V")
LONGEST = 4
"""Most convolutions of one plain module; a longer column becomes a chain of modules."""


def deepest_column(genotype: Genotype) -> Genotype:
    """Replace each fractal module of C columns by its deepest column, a plain stack of 2^(C-1)
    convolutions without the dropout of training. Raises NasError if there is no fractal module."""
    if "fractal" not in genotype.module_types:
        raise NasError("there is no fractal module", where="column", hint="only those have columns")
    return replace(genotype, nodes=tuple(_node(node) for node in genotype.nodes))


def column_state(graph: Graph, column: Graph, state: Mapping[str, V]) -> dict[str, V]:
    """Return the state dict of the deepest column's network, from one of the whole network's.

    `graph` and `column` are the expansions of a genotype and its `deepest_column`.
    """
    origin = dict(zip(_with_parameters(column), _with_parameters(graph), strict=True))
    return carry(state, graph, column, origin)


def _node(node: Node) -> Node:
    module = node.module
    if isinstance(module, Genotype):
        return replace(node, module=replace(module, nodes=tuple(_node(inner) for inner in module.nodes)))
    return replace(node, module=_stack(module)) if isinstance(module, Fractal) else node


def _stack(module: Fractal) -> Module | Genotype:
    convs = 2 ** (module.columns - 1)
    first = Plain(module.width, module.stride, min(convs, LONGEST), norm=module.norm)
    if convs <= LONGEST:
        return first
    nodes = [Node("part1", first, (INPUT_NODE,))]
    for part in range(2, convs // LONGEST + 1):
        nodes.append(Node(f"part{part}", replace(first, stride=1), (f"part{part - 1}",)))
    return Genotype(None, tuple(nodes))


def _with_parameters(graph: Graph) -> list[str]:
    """Return the paths of the primitives with parameters in order; of fractal modules only those in the
    deepest column."""
    return list(_paths(graph, ""))


def _paths(graph: Graph, prefix: str) -> Iterator[str]:
    kept = _deepest(graph) if graph.kind == Fractal.__name__ else set(graph.nodes)
    for name, node in graph.nodes.items():
        op = node.op
        if op is None or name not in kept:
            continue
        if isinstance(op, Graph):
            yield from _paths(op, f"{prefix}{name}/")
        elif op.params(*graph.shapes_of(node.inputs)):
            yield f"{prefix}{name}"


def _deepest(graph: Graph) -> set[str]:
    """Return the nodes of the deepest column, which joins take last."""
    kept, name = set[str](), graph.output
    while name not in graph.input_names:
        kept.add(name)
        name = graph.nodes[name].inputs[-1]
    return kept
