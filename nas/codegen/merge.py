"""Merging of graphs of one module into one class, where it lacks some nodes in some shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nas.codegen.class_plan import ClassPlan, View
from nas.codegen.families import GUARDS
from nas.graph.graph import Graph


@dataclass
class _Embedding:
    """Search for the nodes of a graph, one by one, in a larger graph of the same module.

    places: node of the larger graph for each node of the smaller.
    bypass: node that stands in for each node which the smaller graph lacks.
    """

    whole: dict[str, View]
    bypass: dict[str, str]
    places: dict[str, str]
    absent: set[str] = field(default_factory=set)

    def fits(self, node: str, wanted: str) -> bool:
        """Tell whether a node, or what stands in for it, is the one that is wanted."""
        while node in self.absent:
            inputs = self.whole[node].inputs
            if node not in self.bypass:
                through = len(inputs) == 1 and inputs[0] in self.absent
                self.bypass[node] = inputs[0] if through else wanted
            node = self.bypass[node]
        return node == wanted


def merge(groups: Sequence[ClassPlan]) -> list[ClassPlan]:
    """Return one class for the groups of a module, with conditions on nodes that some lack, and those
    groups that do not fit into it."""
    if len(groups) == 1:
        return list(groups)
    largest = max(len(group.shown) for group in groups)
    whole = next(group for group in groups if len(group.shown) == largest)
    bypass: dict[str, str] = {}
    apart = []
    for group in sorted((g for g in groups if g is not whole), key=lambda group: len(group.shown)):
        found = _embedded(group, whole, bypass)
        if found is None:
            apart.append(group)
            continue
        order, stand_ins = found
        rows = [[None if i is None else row[i] for i in order] for row in group.views]
        merged = replace(whole, graphs=whole.graphs + group.graphs, views=[*whole.views, *rows])
        guards = _guards(merged)
        if guards is None:
            apart.append(group)
        else:
            whole, bypass = merged, stand_ins
    whole.shown = _conditional(whole, _guards(whole) or [], bypass)
    return [whole, *apart]


def _embedded(
    group: ClassPlan, whole: ClassPlan, bypass: dict[str, str]
) -> tuple[list[int | None], dict[str, str]] | None:
    """Return, for each node of the larger graph, the index of that of the smaller one, or None. Nodes of one
    label are matched, if that is possible; else any that compute the same."""
    return _matched(group, whole, bypass, labelled=True) or _matched(group, whole, bypass, labelled=False)


def _matched(
    group: ClassPlan, whole: ClassPlan, bypass: dict[str, str], labelled: bool
) -> tuple[list[int | None], dict[str, str]] | None:
    names = {name: name for name in whole.graph.input_names}
    search = _Embedding({view.name: view for view in whole.shown}, dict(bypass), names)
    order: list[int | None] = []
    i = 0
    for view in whole.shown:
        other = group.shown[i] if i < len(group.shown) else None
        fits = other and (view.label == other.label or not labelled)
        if other and fits and _matches(view, other, search):
            search.places[other.name] = view.name
            order.append(i)
            i += 1
        else:
            search.absent.add(view.name)
            order.append(None)
    if i < len(group.shown) or not search.fits(whole.graph.output, search.places[group.graph.output]):
        return None
    return order, search.bypass


def _matches(view: View, other: View, search: _Embedding) -> bool:
    if view.printed != other.printed or len(view.inputs) != len(other.inputs):
        return False
    before = dict(search.bypass)
    pairs = zip(view.inputs, other.inputs, strict=True)
    if all(search.fits(source, search.places[theirs]) for source, theirs in pairs):
        return True
    search.bypass = before
    return False


def _guards(plan: ClassPlan) -> list[str] | None:
    """Return the condition of each node, "" for those of all graphs; None if there is none that holds."""
    shapes = [_shape(graph) for graph in plan.graphs]
    # stride is an argument where it varies and is printed; a pool over windows of its own stride prints none
    views = [view for row in plan.views for view in row if view]
    calls = [call for view in views for call in (view.module, view.function) if call]
    printed = any(arg.name == "stride" and arg.value != arg.default for call in calls for arg in call.args)
    has_stride = printed and len({stride for *_, stride in shapes}) > 1
    usable = {text: holds for text, holds in GUARDS.items() if has_stride or "stride" not in text}
    guards = []
    for column in zip(*plan.views, strict=True):
        present = [view is not None for view in column]
        fitting = (text for text, holds in usable.items() if [holds(*shape) for shape in shapes] == present)
        guard = "" if all(present) else next(fitting, None)
        if guard is None:
            return None
        guards.append(guard)
    return guards


def _shape(graph: Graph) -> tuple[int, int, int]:
    stride = graph.module.stride if graph.module is not None else 1
    return graph.input_shape[0], graph.output_shape[0], stride


def _conditional(plan: ClassPlan, guards: Sequence[str], bypass: dict[str, str]) -> list[View]:
    """Return the nodes with their conditions. A function that leads to a named one shares its name."""
    shown: list[View] = []
    for view, guard in zip(reversed(plan.shown), reversed(guards), strict=True):
        users = [later for later in shown if view.name in later.inputs]
        label = view.label
        if guard and view.function and not label and len(users) == 1 and users[0].guard:
            label = users[0].label
        shown.insert(0, replace(view, guard=guard, bypass=bypass.get(view.name, ""), label=label))
    return shown
