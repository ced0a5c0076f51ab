"""Classes whose text the module type gives, because their parts are made and called in loops.

The generator names them, finds their arguments, and prints the constructors of the parts.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from nas.codegen.class_plan import ClassPlan, Param, View, call_text
from nas.codegen.families import words_of
from nas.codegen.format import INDENT, CallText, call_lines
from nas.graph.graph import Graph, GraphNode
from nas.modules.base import WrittenClass, default_settings

CONSTRUCTOR = re.compile(r"( *)([\w.]+)\(\{(\w+)\}\)")
"""Line of a text that passes a part to a function: `    parts.append({first})`."""


def written_classes(graphs: Sequence[Graph], homes: Mapping[int, ClassPlan]) -> dict[int, WrittenClass]:
    """Return the classes that modules give, by the id of the graph.

    Graphs decide themselves where parts are of several classes, as are those with a batch norm before the
    activation after folding, because only some of them lose it.
    """
    written, unlike = {}, set()
    for graph in graphs:
        given: WrittenClass | None = graph.module.written_class() if graph.module is not None else None
        if given:
            written[id(graph)] = given
            if len({id(homes.get(id(node.op))) for _, node in parts(graph)}) > 1:
                unlike.add(words_of(graph))
    alike = (graph for graph in graphs if words_of(graph) not in unlike)
    return {id(graph): written[id(graph)] for graph in alike if id(graph) in written}


def parts(graph: Graph) -> Iterator[tuple[str, GraphNode]]:
    """Yield the nodes that attributes of a written class compute, each with its name."""
    return ((name, node) for name, node in graph.nodes.items() if isinstance(node.op, Graph))


def described(
    graph: Graph, written: WrittenClass, homes: Mapping[int, ClassPlan]
) -> tuple[tuple[View | None, ...], Hashable]:
    """Return a view of each part whose constructor is printed, None where the graph lacks it, and what
    graphs of one class have in common."""
    by_place = {node.label: node for _, node in parts(graph)}
    views = [_view(graph, name, by_place.get(place), homes) for name, place in written.parts.items()]
    home = next(homes[id(node.op)] for node in by_place.values())
    return tuple(views), (graph.kind, written.text, id(home))


def _view(graph: Graph, name: str, node: GraphNode | None, homes: Mapping[int, ClassPlan]) -> View | None:
    if node is None:
        return None
    nested = homes[id(node.op)].call(node.op)
    return View(name, node.op, node.inputs, graph.shapes_of(node.inputs), node.label, nested=nested)


def extra_params(plan: ClassPlan) -> Iterator[Param]:
    """Yield the arguments that are fields of the module."""
    for name in plan.written.arguments if plan.written else ():
        modules = [graph.module for graph in plan.graphs]
        default = default_settings(type(modules[0]))[name]
        yield Param(name, tuple(getattr(module, name) for module in modules), default)


def body(plan: ClassPlan) -> list[str]:
    """Return the lines of the class after the head of `__init__`."""
    assert plan.written is not None
    calls = {view.name: view for view in plan.shown}
    lines: list[str] = []
    for line in plan.written.text.splitlines():
        match = CONSTRUCTOR.fullmatch(line)
        if match is None:
            lines.append(line)
            continue
        pad, function, field = match.groups()
        view = calls[field]
        numbers = {name: code for (node, name), code in plan.texts.items() if node == view.name}
        call: Any = view.module
        lines += call_lines(CallText(function, (call_text(call, numbers),)), len(pad) // len(INDENT))
    return lines
