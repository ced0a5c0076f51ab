"""Names of modules in generated code, by the paths of primitives in the graph.

They allow weights to move between networks that share parts, and in from other code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from nas.codegen.class_plan import ClassPlan, View
from nas.codegen.classes import plan_classes
from nas.codegen.forward import Unit, declared, plan_units
from nas.codegen.module_class import is_chain
from nas.codegen.network_class import network_views
from nas.codegen.written import parts
from nas.graph.graph import HEAD, Graph

V = TypeVar("V")


def module_names(graph: Graph) -> dict[str, str]:
    """Map the path of each primitive to the name of the module in the generated network that computes
    it. Primitives that a function computes are left out."""
    plans = plan_classes(graph)
    nodes, renamed = network_views(graph, plans)
    names: dict[str, str] = {}
    for view, module in _attributes(plan_units(nodes, renamed[HEAD])):
        path = view.name if view.name in graph.nodes else view.name.replace(".", "/", 1)
        names |= _inside(graph, path, view, module, plans)
    return names


def by_module(state: Mapping[str, V]) -> dict[str, dict[str, V]]:
    """Group the entries of a state dict by the name of the module that holds them."""
    modules: dict[str, dict[str, V]] = defaultdict(dict)
    for name, value in state.items():
        module, _, entry = name.rpartition(".")
        modules[module][entry] = value
    return modules


def carry(
    state: Mapping[str, V], old: Graph, new: Graph, origin: Mapping[str, str] | None = None
) -> dict[str, V]:
    """Return a state dict for the network of `new` from one of `old`. `origin` maps the paths of
    primitives in `new` to those in `old` where they differ."""
    before, entries = module_names(old), by_module(state)
    moved: dict[str, V] = {}
    for path, module in module_names(new).items():
        source = before.get((origin or {}).get(path, path), "")
        moved |= {f"{module}.{entry}": value for entry, value in entries.get(source, {}).items()}
    return moved


def _attributes(units: Sequence[Unit]) -> Iterator[tuple[View, str]]:
    """Yield the nodes that modules compute, each with its name in the class."""
    for unit in declared(units):
        for i, view in enumerate(unit.views):
            yield view, f"{unit.name}.{i}" if unit.is_sequential else unit.name


def _inside(graph: Graph, path: str, view: View, module: str, plans: Sequence[ClassPlan]) -> dict[str, str]:
    """Name all primitives of one node, to which `path` leads from the outermost graph."""
    nested = _operation(graph, path)
    if not isinstance(nested, Graph):
        return {path: module}
    if not isinstance(view.op, Graph):  # a graph of one module, printed as that module
        return {f"{path}/{nested.primitives[0].path}": module}
    plan, own_views = next(
        (plan, own)
        for plan in plans
        for other, own in zip(plan.graphs, plan.views, strict=True)
        if other is nested
    )
    names: dict[str, str] = {}
    if plan.written:
        for name, node in parts(nested):
            names |= _inside(graph, f"{path}/{name}", plan.shown[0], f"{module}.{node.label}", plans)
        return names
    own = dict(zip((view.name for view in plan.shown), own_views, strict=True))
    units = plan_units(plan.shown, plan.graph.output)
    for first, attribute in _attributes(units):
        inner = own[first.name]
        if inner is None:  # the graph lacks the node
            continue
        place = attribute.rpartition(".")[2] if is_chain(plan.graph, units) else attribute
        names |= _inside(graph, f"{path}/{inner.name}", inner, f"{module}.{place}", plans)
    return names


def _operation(graph: Graph, path: str) -> object:
    """Return the primitive or graph at a path."""
    op: object = graph
    for name in path.split("/"):
        assert isinstance(op, Graph)
        op = op.nodes[name].op
    return op
