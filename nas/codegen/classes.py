"""Classes of the generated code: one for each distinct structure of a nested graph.

Graphs that differ only in numbers share a class, and the numbers that differ become
arguments of its `__init__`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nas.codegen.format import CallText, fresh
from nas.graph.graph import INPUT, STEM, Graph, Shape
from nas.graph.ops import NUM_CLASSES, REQUIRED, Add, Arg, BatchNorm, Call, Conv, Linear, Relu

INPLACE = Arg("inplace", True, False, keyword=True)
FRESH = (Add, BatchNorm, Conv, Linear)
"""Operations whose output may be overwritten: nothing else refers to it, nor does their backward pass."""
CHANNELS = ("in_chs", "mid_chs", "out_chs", "chs")


@dataclass
class View:
    """Node of a graph with the calls that compute it.

    group: the attribute of `Network` that it becomes part of, or "".
    stage: the stage that it is a block of, or "".
    nested: the call of the class that was generated for its graph.
    inplace: whether it may overwrite its input.
    """

    name: str
    op: Any
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    label: str = ""
    group: str = ""
    stage: str = ""
    nested: Call | None = None
    inplace: bool = False

    @cached_property
    def module(self) -> Call | None:
        if self.nested or isinstance(self.op, Graph):
            return self.nested
        call: Call | None = self.op.module(*self.shapes)
        return Call(call.target, (*call.args, INPLACE)) if call and self.inplace else call

    @cached_property
    def function(self) -> Call | None:
        return None if isinstance(self.op, Graph) else self.op.function(*self.shapes)


@dataclass
class Param:
    """Argument of `__init__`, with its value for each graph of the class."""

    name: str
    values: tuple[Any, ...]
    default: Any = REQUIRED
    is_channels: bool = False

    @property
    def is_positional(self) -> bool:
        return self.is_channels or self.name == NUM_CLASSES


@dataclass
class ClassPlan:
    """Class of the generated code, and the graphs that share it.

    texts: code in place of a number, by node and argument.
    views: the nodes of each of the graphs.
    """

    graphs: list[Graph]
    name: str = ""
    params: list[Param] = field(default_factory=list)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    views: list[list[View]] = field(default_factory=list)

    @property
    def graph(self) -> Graph:
        return self.graphs[0]

    @property
    def changes_shape(self) -> bool:
        return all(g.input_shape != g.output_shape for g in self.graphs)

    def call(self, graph: Graph) -> Call:
        """Return the call that makes an instance for one of the graphs."""
        i = next(i for i, g in enumerate(self.graphs) if g is graph)
        args = (Arg(p.name, p.values[i], p.default, not p.is_positional) for p in self.params)
        return Call(self.name, tuple(args))


def plan_classes(graph: Graph) -> list[ClassPlan]:
    """Plan the classes for all graphs nested in `graph`, the innermost first."""
    levels: dict[int, list[Graph]] = {}
    known: dict[int, int] = {}
    top = _height(graph, levels, known)
    for retraced in _on_other_images(graph):
        _height(retraced, levels, known)
    plans: list[ClassPlan] = []
    homes: dict[int, ClassPlan] = {}
    for height in range(top):
        groups: dict[Hashable, ClassPlan] = {}
        for nested in levels[height]:
            shown = list(_views(nested, homes))
            plan = groups.setdefault(_signature(nested, shown, homes), ClassPlan([]))
            homes[id(nested)] = plan
            plan.graphs.append(nested)
            plan.views.append(shown)
        for plan in groups.values():
            _parametrise(plan)
        plans += groups.values()
        _name(plans)
    return plans


def _on_other_images(graph: Graph) -> list[Graph]:
    """Retrace the modules that take the image itself for twice its channels, so that the number of
    channels becomes an argument of their class."""
    retraced = []
    for name, node in graph.nodes.items():
        op = node.op
        if name != STEM and isinstance(op, Graph) and op.retrace and node.inputs[0] == INPUT:
            channels, *size = op.input_shape
            retraced.append(op.retrace((2 * channels, *size)))
    return retraced


def views(graph: Graph, plans: Sequence[ClassPlan]) -> list[View]:
    """Return the nodes of a graph in topological order, nested graphs as calls of their classes."""
    homes = {id(g): plan for plan in plans for g in plan.graphs}
    plan = homes.get(id(graph))
    if plan is None:
        return list(_views(graph, homes))
    return next(shown for other, shown in zip(plan.graphs, plan.views, strict=True) if other is graph)


def arg_text(arg: Arg, text: str) -> str:
    """Return an argument as it is printed in a call."""
    return f"{arg.name}={text}" if arg.keyword else text


def call_text(call: Call, texts: dict[str, str] | None = None) -> CallText:
    """Return a constructor call to print. Arguments at their default are left out; `texts` has the code
    that replaces the number of an argument."""
    texts = texts or {}
    shown = []
    for arg in call.args:
        if arg.name in texts:
            shown.append(arg_text(arg, texts[arg.name]))
        elif arg.value != arg.default:
            shown.append(arg_text(arg, literal(arg.value)))
    return CallText(call.target, tuple(shown))


def literal(value: Any) -> str:
    """Return a value as Python source, with strings in double quotes."""
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _is_channels(name: str) -> bool:
    return name.rstrip("0123456789") in CHANNELS


def _height(graph: Graph, levels: dict[int, list[Graph]], known: dict[int, int]) -> int:
    if id(graph) not in known:
        ops = [node.op for node in graph.nodes.values()]
        nested = [op for op in ops if isinstance(op, Graph) and not _only_module(op)]
        known[id(graph)] = 1 + max((_height(inner, levels, known) for inner in nested), default=-1)
        levels.setdefault(known[id(graph)], []).append(graph)
    return known[id(graph)]


def _views(graph: Graph, homes: dict[int, ClassPlan]) -> Iterator[View]:
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
            yield View(name, op, node.inputs, shapes, node.label, nested=nested, inplace=inplace)


def _only_module(op: Any) -> Any:
    """Return the primitive of a nested graph that holds no more than one module, else None."""
    if not isinstance(op, Graph) or len(op.primitives) != 1 or len(op.input_names) != 1:
        return None
    primitive = op.primitives[0]
    return primitive.op if primitive.op.module(*primitive.input_shapes) else None


def _signature(graph: Graph, shown: Sequence[View], homes: dict[int, ClassPlan]) -> Hashable:
    """Return all of a graph but its numbers, equal for graphs that share a class."""
    position = {name: i for i, name in enumerate(graph.nodes)}
    parts: list[Hashable] = [graph.kind]
    for view in shown:
        calls = [view.module, view.function]
        printed = tuple((call.target, tuple(arg.name for arg in call.args)) for call in calls if call)
        home = id(homes[id(view.op)]) if isinstance(view.op, Graph) else type(view.op).__name__
        parts.append((home, printed, view.label, tuple(position[source] for source in view.inputs)))
    return (*parts, graph.output)


def _parametrise(plan: ClassPlan) -> None:
    """Find the numbers that differ between the graphs, and name them."""
    ins = tuple(g.input_shape[0] for g in plan.graphs)
    outs = tuple(g.output_shape[0] for g in plan.graphs)
    for same in zip(*plan.views, strict=True):
        calls = [view.module or view.function for view in same]
        for column in zip(*(call.args for call in calls if call), strict=True):
            values = tuple(arg.value for arg in column)
            if len(set(values)) > 1 or column[0].name == NUM_CLASSES:
                text = _derived(plan, column[0], values) or _param(plan, column[0], values, ins, outs).name
                plan.texts[same[0].name, column[0].name] = text
    _name_by_branch(plan)
    order = {"in_chs": 0, "chs": 0, "out_chs": 2, NUM_CLASSES: 3}
    plan.params.sort(key=lambda p: (p.default is not REQUIRED, order.get(p.name, 1 if p.is_channels else 4)))


def _derived(plan: ClassPlan, arg: Arg, values: tuple[Any, ...]) -> str:
    """Return the code for numbers that follow from other arguments, or ""."""
    known = {param.name: param.values for param in plan.params}
    kernels = known.get("kernel_size", ())
    if arg.name == "padding" and values == tuple(k // 2 for k in kernels):
        return "kernel_size // 2"
    grown = tuple(o - i for o, i in zip(known.get("out_chs", ()), known.get("in_chs", ()), strict=False))
    return "out_chs - in_chs" if arg.name == "extra_chs" and values == grown else ""


def _param(
    plan: ClassPlan, arg: Arg, values: tuple[Any, ...], ins: tuple[int, ...], outs: tuple[int, ...]
) -> Param:
    """Return the argument that carries these values; add it if there is none."""
    name = arg.name
    if _is_channels(name):
        name = "chs" if values == ins == outs else {ins: "in_chs", outs: "out_chs"}.get(values, "mid_chs")
    for param in plan.params:
        if param.values == values and (param.is_channels if _is_channels(name) else param.name == name):
            return param
    default = arg.default if arg.default in values else REQUIRED
    name, channels = fresh(name, {param.name for param in plan.params}), _is_channels(name)
    plan.params.append(Param(name, values, default, channels))
    return plan.params[-1]


def _name_by_branch(plan: ClassPlan) -> None:
    """Name the widths inside a class, if there are several, after the branch in which each comes first."""
    widths = {param.name: param for param in plan.params if param.name.startswith("mid_chs")}
    if len(widths) < 2:
        return
    branches: dict[str, str] = {}  # label of each node, else of a node that it leads to
    for view in reversed(plan.views[0]):
        label = view.label or branches.get(view.name, "")
        branches |= dict.fromkeys((view.name, *view.inputs), label)
    renamed: dict[str, str] = {}
    for (node, _), text in plan.texts.items():
        if text in widths and text not in renamed and branches[node]:
            taken = {param.name for param in plan.params}
            renamed[text] = widths[text].name = fresh(f"{branches[node]}_chs", taken)
    plan.texts = {key: renamed.get(text, text) for key, text in plan.texts.items()}


def _name(plans: list[ClassPlan]) -> None:
    """Name each class after the kind of its graphs, told apart by a change of shape, else by number."""
    kinds: dict[str, list[ClassPlan]] = {}
    for plan in plans:
        kinds.setdefault(plan.graph.kind, []).append(plan)
    for kind, same in kinds.items():
        keep_shape = [plan for plan in same if not plan.changes_shape]
        counts: Counter[str] = Counter()
        for plan in same:
            name = f"{kind}Transition" if plan.changes_shape and keep_shape else kind
            counts[name] += 1
            plan.name = name if counts[name] == 1 else f"{name}{counts[name]}"
