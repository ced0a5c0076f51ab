"""Prints the class of a module, and attributes as `__init__` sets them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from nas.codegen.class_plan import ClassPlan, Param, View, call_text, literal
from nas.codegen.families import GUARD_NAMES, about
from nas.codegen.format import INDENT, WIDTH, CallText, call_lines, fresh, statement_lines
from nas.codegen.forward import Forward, Unit, plan_units
from nas.codegen.written import body
from nas.graph.graph import Graph
from nas.graph.ops import REQUIRED, Add, BatchNorm, StochasticDepth

Texts = Callable[[View], dict[str, str]]
"""Function from a node to the code that replaces numbers in its call, by argument."""
BRANCH, GATED = "branch", "gated"
EXTRA = "extra_chs"
ZERO_INIT = """
    def zero_init_last(self) -> None:
        \"\"\"Let the branch return zero at first (Goyal et al., 2017).\"\"\"
        nn.init.zeros_(self.branch[-1].weight)"""
REPEATS = 3
"""Number of equal modules in a row from which they are printed as a comprehension."""


def module_class(plan: ClassPlan) -> str:
    """Return the source of a class."""
    if plan.written:
        return "\n".join([*_class_lines(plan, "nn.Module"), *body(plan)]) + "\n"
    graph = plan.graph
    units = plan_units(plan.shown, graph.output)
    if is_chain(graph, units):
        return _sequential_class(plan, units[0])
    attributes: dict[str, str] = {}  # code of the numbers that the forward reads
    inputs = dict(zip(graph.input_names, graph.arg_names, strict=True))
    forward = Forward.over(units, inputs, graph.output)
    forward.run(units, lambda view: _as_attributes(plan, view, attributes))
    lines = [*_class_lines(plan, "nn.Module"), f"{INDENT * 2}super().__init__()"]
    lines += [f"{INDENT * 2}self.{name} = {code}" for name, code in attributes.items()]
    for unit in units:
        if unit.is_attribute:
            lines += attribute(unit, lambda view: _texts(plan, view))
    signature = CallText("forward", ("self", *(f"{name}: torch.Tensor" for name in graph.arg_names)))
    lines += ["", *call_lines(signature, 1, "def ", " -> torch.Tensor:")]
    for statement in (*forward.statements, f"return {forward.result(graph.output)}"):
        lines += statement_lines(statement, 2)
    if ends_in_norm(plan):
        lines += ZERO_INIT.splitlines()
    return "\n".join(lines) + "\n"


def ends_in_norm(plan: ClassPlan) -> bool:
    """Tell whether it is a residual class whose branch ends in a batch norm."""
    added = {source for view in plan.shown if isinstance(view.op, Add) for source in view.inputs}
    for view in reversed(plan.shown):  # a gate or stochastic depth, through which a zero stays zero
        if view.name in added and (view.label == GATED or isinstance(view.op, StochasticDepth)):
            added.update(view.inputs)
    branch = [view for view in plan.shown if view.name in added and view.label == BRANCH]
    return any(isinstance(view.op, BatchNorm) for view in branch)


def is_chain(graph: Graph, units: Sequence[Unit]) -> bool:
    """Tell whether the class is one chain from end to end, and so an `nn.Sequential`."""
    return len(units) == len(graph.input_names) == 1 and len(units[0].views) > 1


def _sequential_class(plan: ClassPlan, unit: Unit) -> str:
    calls = _calls(unit, lambda view: _texts(plan, view))
    body = call_lines(CallText("super().__init__", tuple(calls), spread=True), 2)
    return "\n".join([*_class_lines(plan, "nn.Sequential"), *body]) + "\n"


def _class_lines(plan: ClassPlan, base: str) -> list[str]:
    docstring = _class_docstring(plan)
    arguments = CallText("__init__", ("self", *map(_param_text, plan.params)))
    blank = [""] if docstring else []
    return [f"class {plan.name}({base}):", *docstring, *blank, *call_lines(arguments, 1, "def ", ":")]


def _class_docstring(plan: ClassPlan) -> list[str]:
    """Return the docstring: what the module type is, and the settings in words, or what all graphs of the
    class have in common."""
    text = about(plan.graph)
    if not text:
        first, *others = [str(graph.description).split(", ") for graph in plan.graphs]
        text = ", ".join(part for part in first if part and all(part in other for other in others))
        text = text and f"{text[0].upper()}{text[1:]}."
    if not text:
        return []
    lines = textwrap.wrap(text, WIDTH - 10)
    if len(lines) == 1:
        return [f'{INDENT}"""{lines[0]}"""']
    return [f'{INDENT}"""{lines[0]}', *(INDENT + line for line in lines[1:]), f'{INDENT}"""']


def _param_text(param: Param) -> str:
    text = f"{param.name}: {type(param.values[0]).__name__}"
    return text if param.default is REQUIRED else f"{text} = {literal(param.default)}"


def _texts(plan: ClassPlan, view: View) -> dict[str, str]:
    return {name: code for (node, name), code in plan.texts.items() if node == view.name}


def _as_attributes(plan: ClassPlan, view: View, attributes: dict[str, str]) -> Mapping[str, str]:
    """Return the attributes that an expression of the forward reads in place of arguments, and add
    them to `attributes`."""
    texts = {}
    codes = _texts(plan, view)
    if view.guard and EXTRA not in codes:
        codes |= {name: name for name in GUARD_NAMES if name in view.guard}
    for name, code in codes.items():
        attribute = fresh(name, {other for other, other_code in attributes.items() if other_code != code})
        attributes[attribute] = code
        texts[name] = f"self.{attribute}"
    return texts | ({view.guard: f"{texts[EXTRA]} > 0"} if EXTRA in texts else {})


def _calls(unit: Unit, texts: Texts) -> list[CallText]:
    modules = ((view, view.module) for view in unit.views)
    return [call_text(module, texts(view)) for view, module in modules if module]


def attribute(unit: Unit, texts: Texts) -> list[str]:
    """Return the lines of `__init__` that set the attribute of a unit."""
    calls = _calls(unit, texts)
    whole = (
        calls[0] if not unit.is_sequential else CallText("nn.Sequential", tuple(_folded(calls)), spread=True)
    )
    if not unit.guard:
        return call_lines(whole, 2, f"self.{unit.name} = ")
    condition = [f"{INDENT * 2}self.{unit.name} = None", f"{INDENT * 2}if {unit.guard}:"]
    return [*condition, *call_lines(whole, 3, f"self.{unit.name} = ")]


def _folded(calls: Sequence[CallText]) -> list[str | CallText]:
    """Write runs of equal modules as a comprehension, where that fits on a line."""
    folded: list[str | CallText] = []
    for text, run in groupby(calls, key=CallText.flat):
        same = list(run)
        line = f"*({text} for _ in range({len(same)}))"
        short = len(same) >= REPEATS and len(line) + 3 * len(INDENT) < WIDTH
        folded += [line] if short else same
    return folded
