"""Arguments of generated classes: the numbers in which the graphs of a class differ."""

from __future__ import annotations

from typing import Any

from nas.codegen.class_plan import ClassPlan, Param
from nas.codegen.families import GUARD_NAMES, count_defaults
from nas.codegen.format import fresh
from nas.codegen.written import extra_params
from nas.graph.ops import NUM_CLASSES, REQUIRED, Arg

CHANNELS = ("in_chs", "mid_chs", "out_chs", "chs")
EXTRA = "extra_chs"
Values = tuple[Any, ...]
"""Value of one number in each graph of a class; None where the graph lacks its node."""


def parametrise(plan: ClassPlan) -> None:
    """Find the numbers that differ between the graphs, and name them."""
    ins = tuple(g.input_shape[0] for g in plan.graphs)
    outs = tuple(g.output_shape[0] for g in plan.graphs)
    for shown, same in zip(plan.shown, zip(*plan.views, strict=True), strict=True):
        calls = [view and (view.module or view.function) for view in same]
        first = shown.module or shown.function
        args = first.args if first else ()
        for i in sorted(range(len(args)), key=lambda i: args[i].name == "padding"):
            values = tuple(call.args[i].value if call else None for call in calls)
            if _varies(args[i], values):
                text = _derived(plan, args[i], values) or _param(plan, args[i], values, ins, outs).name
                plan.texts[shown.name, args[i].name] = text
    _name_by_branch(plan)
    _add_guarding(plan, ins, outs)
    plan.params += extra_params(plan)
    order = {"in_chs": 0, "chs": 0, "out_chs": 2, NUM_CLASSES: 3, "eps": 5}
    plan.params.sort(key=lambda p: (p.default is not REQUIRED, order.get(p.name, 1 if p.is_channels else 4)))


def _varies(arg: Arg, values: Values) -> bool:
    """Tell whether a number is an argument. Channels of nodes that some graphs lack always are."""
    partly = None in values and (_is_channels(arg.name) or arg.name == EXTRA)
    return partly or arg.name == NUM_CLASSES or len({value for value in values if value is not None}) > 1


def _equal(values: Values, others: Values) -> bool:
    """Tell whether numbers agree in every graph that has both."""
    return all(a == b or a is None or b is None for a, b in zip(values, others, strict=True))


def _derived(plan: ClassPlan, arg: Arg, values: Values) -> str:
    """Return the code for numbers that follow from other arguments, or ""."""
    known = {param.name: param.values for param in plan.params}
    if arg.name == "groups":  # depthwise
        return next((p.name for p in plan.params if p.is_channels and _equal(p.values, values)), "")
    if arg.name == "padding":
        if "kernel_size" in known and _equal(values, tuple(k // 2 for k in known["kernel_size"])):
            return "kernel_size // 2"
        return "dilation" if "dilation" in known and _equal(values, known["dilation"]) else ""
    if arg.name == "kernel_size" and known.get("stride") == values:  # windows side by side
        return "stride"
    if arg.name == EXTRA and {"in_chs", "out_chs"} <= known.keys():
        grown = tuple(o - i for o, i in zip(known["out_chs"], known["in_chs"], strict=True))
        return "out_chs - in_chs" if _equal(values, grown) else ""
    return ""


def _param(plan: ClassPlan, arg: Arg, values: Values, ins: tuple[int, ...], outs: tuple[int, ...]) -> Param:
    """Return the argument that carries these values; add it if there is none."""
    name = arg.name
    if _is_channels(name):
        ends = {"chs": (ins, outs), "in_chs": (ins,), "out_chs": (outs,)}
        name = next((n for n, all_ in ends.items() if all(_equal(values, v) for v in all_)), "mid_chs")
        values = {"in_chs": ins, "out_chs": outs}.get(name, values)
    for param in plan.params:
        if _equal(param.values, values) and (param.is_channels if _is_channels(name) else param.name == name):
            return param
    strides = tuple(graph.module.stride if graph.module else None for graph in plan.graphs)
    if name == "stride" and None not in strides and _equal(values, strides):
        values = strides  # also of graphs without the node
    filled = next(value for value in values if value is not None)
    values = tuple(filled if value is None else value for value in values)
    name, channels = fresh(name, {param.name for param in plan.params}), _is_channels(name)
    plan.params.append(Param(name, values, REQUIRED if channels else _default(plan, arg, values), channels))
    return plan.params[-1]


def _default(plan: ClassPlan, arg: Arg, values: Values) -> Any:
    """Return the number that the module type has by default, or that of the call, if there is one."""
    if arg.default in values and arg.name == "stride":
        return arg.default
    counts = [count_defaults(graph) for graph in plan.graphs]
    usual = {v for v, count in zip(values, counts, strict=True) if count == max(counts)}
    if len(usual) == 1 and max(counts) and arg.name != NUM_CLASSES:
        return usual.pop()
    return arg.default if arg.default in values else REQUIRED


def _add_guarding(plan: ClassPlan, ins: Values, outs: Values) -> None:
    """Add the arguments that conditions on nodes read and that no number of a node is."""
    strides = tuple(graph.module.stride if graph.module else 1 for graph in plan.graphs)
    guards = " ".join(view.guard for view in plan.shown)
    for name, values in zip(GUARD_NAMES, (ins, outs, strides), strict=True):
        if name in guards and name not in {param.name for param in plan.params}:
            channels = _is_channels(name)
            plan.params.append(Param(name, values, REQUIRED if channels else 1, channels))


def _is_channels(name: str) -> bool:
    return name.rstrip("0123456789") in CHANNELS


def _name_by_branch(plan: ClassPlan) -> None:
    """Name the widths inside a class, if there are several, after the branch in which each comes first."""
    widths = {param.name: param for param in plan.params if param.name.startswith("mid_chs")}
    if len(widths) < 2:
        return
    branches: dict[str, str] = {}  # label of each node, else of a node that it leads to
    for view in reversed(plan.shown):
        label = view.label or branches.get(view.name, "")
        branches |= dict.fromkeys((view.name, *view.inputs), label)
    renamed: dict[str, str] = {}
    for (node, _), text in plan.texts.items():
        if text in widths and text not in renamed and branches[node]:
            taken = {param.name for param in plan.params}
            renamed[text] = widths[text].name = fresh(f"{branches[node]}_chs", taken)
    plan.texts = {key: renamed.get(text, text) for key, text in plan.texts.items()}
