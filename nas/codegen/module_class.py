"""The class of a module in the generated code, and attributes as `__init__` sets them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from nas.codegen.classes import ClassPlan, Param, View, call_text, literal, views
from nas.codegen.format import INDENT, WIDTH, CallText, call_lines, fresh, statement_lines
from nas.codegen.forward import Forward, Unit, plan_units
from nas.graph.graph import Graph
from nas.graph.ops import REQUIRED

Texts = Callable[[View], dict[str, str]]
"""Code for arguments of a node's call, by name, in place of their numbers."""
REPEATS = 3
"""As many equal modules in a row are printed as a comprehension."""


def module_class(plan: ClassPlan, plans: Sequence[ClassPlan]) -> str:
    graph = plan.graph
    units = plan_units(views(graph, plans), graph.output)
    if is_chain(graph, units):
        return _sequential_class(plan, units[0])
    kept: dict[str, str] = {}  # numbers that the forward reads: attribute -> code
    names = graph.input_names
    variables = graph.arg_names
    forward = Forward.over(units, dict(zip(names, variables, strict=True)), graph.output)
    forward.run(units, lambda view: _kept(plan, view, kept))
    lines = [*_class_lines(plan, "nn.Module"), f"{INDENT * 2}super().__init__()"]
    lines += [f"{INDENT * 2}self.{name} = {code}" for name, code in kept.items()]
    for unit in units:
        if unit.is_attribute:
            lines += attribute(unit, lambda view: _texts(plan, view))
    lines += ["", f"{INDENT}def forward(self, {', '.join(variables)}):"]
    for statement in (*forward.statements, f"return {forward.result(graph.output)}"):
        lines += statement_lines(statement, 2)
    return "\n".join(lines) + "\n"


def is_chain(graph: Graph, units: Sequence[Unit]) -> bool:
    """Whether the class is one chain from end to end, so an `nn.Sequential` of its own."""
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
    """What all graphs of the class have in common."""
    notes = [str(graph.description).split(", ") for graph in plan.graphs]
    common = ", ".join(part for part in notes[0] if part and all(part in note for note in notes))
    if not common:
        return []
    lines = textwrap.wrap(common[0].upper() + common[1:] + ".", WIDTH - 10)
    if len(lines) == 1:
        return [f'{INDENT}"""{lines[0]}"""']
    return [f'{INDENT}"""{lines[0]}', *(INDENT + line for line in lines[1:]), f'{INDENT}"""']


def _param_text(param: Param) -> str:
    return param.name if param.default is REQUIRED else f"{param.name}={literal(param.default)}"


def _texts(plan: ClassPlan, view: View) -> dict[str, str]:
    return {name: code for (node, name), code in plan.texts.items() if node == view.name}


def _kept(plan: ClassPlan, view: View, kept: dict[str, str]) -> Mapping[str, str]:
    """Attributes in place of arguments, for an expression of the forward."""
    given = {}
    for name, code in _texts(plan, view).items():
        attribute = fresh(name, {other for other, kept_code in kept.items() if kept_code != code})
        kept[attribute] = code
        given[name] = f"self.{attribute}"
    return given


def _calls(unit: Unit, texts: Texts) -> list[CallText]:
    modules = ((view, view.module) for view in unit.views)
    return [call_text(module, texts(view)) for view, module in modules if module]


def attribute(unit: Unit, texts: Texts) -> list[str]:
    calls = _calls(unit, texts)
    whole = calls[0] if len(calls) == 1 else CallText("nn.Sequential", tuple(_folded(calls)), spread=True)
    return call_lines(whole, 2, f"self.{unit.name} = ")


def _folded(calls: Sequence[CallText]) -> list[str | CallText]:
    """Runs of equal modules as a comprehension, where that fits on a line."""
    folded: list[str | CallText] = []
    for text, run in groupby(calls, key=CallText.flat):
        same = list(run)
        line = f"*({text} for _ in range({len(same)}))"
        short = len(same) >= REPEATS and len(line) + 3 * len(INDENT) < WIDTH
        folded += [line] if short else same
    return folded
