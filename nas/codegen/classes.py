"""Classes of the generated code: one for each module type with its settings, and each other structure.

Graphs that differ only in numbers share a class, and the numbers that differ become
arguments of its `__init__`. So do those of a module that lacks a part in some shapes, such as
the projection of a shortcut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from nas.codegen import written
from nas.codegen.class_arguments import parametrise
from nas.codegen.class_plan import ClassPlan, View
from nas.codegen.families import class_name, relatives, settings_of, words_of
from nas.codegen.merge import merge
from nas.codegen.network_name import NETWORK
from nas.codegen.whitelist import allowed
from nas.graph.graph import HEAD, INPUT, STEM, Graph
from nas.graph.ops import Add, BatchNorm, Conv, Linear, Relu

FRESH = (Add, BatchNorm, Conv, Linear)
"""Operations whose output may be overwritten: nothing else refers to it, nor does their backward pass."""
Homes = dict[int, ClassPlan]
"""Class of each nested graph, by the id of the graph."""


def plan_classes(graph: Graph) -> list[ClassPlan]:
    """Plan the classes for all graphs nested in `graph`, the innermost first."""
    levels: dict[int, list[Graph]] = {}
    known: dict[int, int] = {}
    _height(graph, levels, known)
    own = [nested for level in levels.values() for nested in level if nested is not graph]
    for other in _relatives(graph, own):
        if not _only_module(other):
            _height(other, levels, known)
    plans: list[ClassPlan] = []
    homes: Homes = {}
    for height in sorted(levels):
        same = _merged(_grouped([nested for nested in levels[height] if nested is not graph], homes))
        homes |= {id(nested): plan for plan in same for nested in plan.graphs}
        for plan in same:
            parametrise(plan)
        plans += same
        _name(plans, homes)
    return _needed(own, plans, homes)


def _relatives(graph: Graph, own: Sequence[Graph]) -> Iterator[Graph]:
    """Yield graphs that share the classes of a network without being part of it: those of the families
    of its modules, and heads and modules that take the image, with twice the channels."""
    outside = [node.op for name, node in graph.nodes.items() if name == STEM]
    for nested in own:
        if nested.module is not None and not any(nested is other for other in outside):
            yield from relatives(nested)
    for name, node in graph.nodes.items():
        op = node.op
        is_own = name == STEM or (name == HEAD and len(graph.output_shape) == 1)
        varies = INPUT in node.inputs[:1] or name == HEAD or name in graph.auxiliary
        if isinstance(op, Graph) and op.retrace and varies and not is_own:
            yield op.retrace(*((2 * channels, *size) for channels, *size in op.input_shapes))


def _grouped(graphs: Sequence[Graph], homes: Homes) -> list[ClassPlan]:
    """Group graphs of one structure, each group as a class."""
    groups: dict[Hashable, ClassPlan] = {}
    texts = written.written_classes(graphs, homes)
    for nested in graphs:
        text = texts.get(id(nested))
        is_leaf = not any(isinstance(node.op, Graph) for node in nested.nodes.values())
        if text:
            shown, signature = written.described(nested, text, homes)
        elif is_leaf:
            shown, signature = _leaf(nested)
        else:
            shown, signature = _described(nested, homes)
        plan = groups.setdefault(signature, ClassPlan([], written=text))
        plan.graphs.append(nested)
        plan.views.append(list(shown))
    for plan in groups.values():
        same = (list(filter(None, column)) for column in zip(*plan.views, strict=True))
        plan.shown = [views[0] for views in same if views]
    return list(groups.values())


def _described(graph: Graph, homes: Homes) -> tuple[tuple[View | None, ...], Hashable]:
    shown = tuple(_views(graph, homes))
    return shown, _signature(graph, shown, homes)


@lru_cache(maxsize=4096)
def _leaf(graph: Graph) -> tuple[tuple[View | None, ...], Hashable]:
    """The families of modules come again in nearly every network of a search."""
    return _described(graph, {})


def _merged(groups: list[ClassPlan]) -> list[ClassPlan]:
    """Merge the groups that hold one module with one set of settings in several shapes."""
    families: list[list[ClassPlan]] = []
    for group in groups:
        keys = _keys(group)
        linked = [members for members in families if any(keys & _keys(other) for other in members)]
        families = [members for members in families if members not in linked]
        families.append([*(other for members in linked for other in members), group])
    families.sort(key=lambda members: min(groups.index(group) for group in members))
    return [plan for members in families for plan in merge(sorted(members, key=groups.index))]


def _keys(group: ClassPlan) -> set[Hashable]:
    graphs = [graph for graph in group.graphs if graph.module is not None]
    return {(type(graph.module), *settings_of(graph).items()) for graph in graphs}


def _needed(own: Sequence[Graph], plans: Sequence[ClassPlan], homes: Homes) -> list[ClassPlan]:
    """Return the classes that a network uses, and those that these use."""
    needed: set[int] = set()
    waiting = [homes[id(nested)] for nested in own if id(nested) in homes]
    while waiting:
        plan = waiting.pop()
        if id(plan) not in needed:
            needed.add(id(plan))
            waiting += [homes[id(view.op)] for view in plan.shown if id(view.op) in homes]
    return [plan for plan in plans if id(plan) in needed]


def views(graph: Graph, plans: Sequence[ClassPlan]) -> list[View]:
    """Return the nodes of a graph in topological order, nested graphs as calls of their classes."""
    for plan in plans:
        for other, own in zip(plan.graphs, plan.views, strict=True):
            if other is graph:
                return [view for view in own if view]
    return list(_views(graph, {id(g): plan for plan in plans for g in plan.graphs}))


def _height(graph: Graph, levels: dict[int, list[Graph]], known: dict[int, int]) -> int:
    if id(graph) not in known:
        ops = [node.op for node in graph.nodes.values()]
        nested = [op for op in ops if isinstance(op, Graph) and not _only_module(op)]
        known[id(graph)] = 1 + max((_height(inner, levels, known) for inner in nested), default=-1)
        levels.setdefault(known[id(graph)], []).append(graph)
    return known[id(graph)]


def _views(graph: Graph, homes: Homes) -> Iterator[View]:
    nodes = graph.nodes
    uses = Counter(source for node in nodes.values() for source in node.inputs)
    uses[graph.output] += 1
    for name, node in nodes.items():
        op = node.op
        if op is not None:
            shapes = graph.shapes_of(node.inputs)
            op = _only_module(op) or op
            nested = homes[id(op)].call(op) if isinstance(op, Graph) and id(op) in homes else None
            source = node.inputs[0]
            inplace = isinstance(op, Relu) and uses[source] == 1 and isinstance(nodes[source].op, FRESH)
            label = node.label.replace(".", "_")  # that of a part of a written class is its attribute
            yield View(name, op, node.inputs, shapes, label, nested=nested, inplace=inplace)


def _only_module(op: Any) -> Any:
    """Return the primitive of a nested graph that holds no more than one module, else None."""
    if not isinstance(op, Graph) or len(op.primitives) != 1 or len(op.input_names) != 1:
        return None
    primitive = op.primitives[0]
    return primitive.op if primitive.op.module(*primitive.input_shapes) else None


def _signature(graph: Graph, shown: Sequence[View], homes: Homes) -> Hashable:
    """Return all of a graph but its numbers, equal for graphs of one structure."""
    position = {name: i for i, name in enumerate(graph.nodes)}
    parts: list[Hashable] = [graph.kind, *words_of(graph)]
    for view in shown:
        sources = tuple(position[source] for source in view.inputs)
        parts.append((id(homes.get(id(view.op))), view.printed, view.label, sources))
    return (*parts, position[graph.output])


def _name(plans: list[ClassPlan], homes: Homes) -> None:
    """Name the classes that have no name yet."""
    taken = {plan.name for plan in plans} | allowed().reserved | {NETWORK}
    for plan in plans:
        if plan.name:
            continue
        name = class_name(plan.graphs, lambda one, other: homes.get(id(one)) is not homes.get(id(other)))
        counts = (name if number == 1 else f"{name}{number}" for number in range(1, len(plans) + 2))
        plan.name = next(name for name in counts if name not in taken)
        taken.add(plan.name)
