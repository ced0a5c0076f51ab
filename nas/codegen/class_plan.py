"""A class of the generated code: the graphs that share it, their nodes, and the arguments that tell them
apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nas.codegen.format import CallText
from nas.graph.graph import Graph, Shape
from nas.graph.ops import NUM_CLASSES, REQUIRED, Arg, Call
from nas.modules.base import WrittenClass

INPLACE = Arg("inplace", True, False, keyword=True)


@dataclass
class View:
    """Node of a graph with the calls that compute it.

    group: the attribute of the network that it becomes part of, or "".
    stage: the stage that it is a block of, or "".
    nested: the call of the class that was generated for its graph.
    inplace: whether it may overwrite its input.
    guard: condition on the arguments of the class under which the node exists, or "" for always.
    bypass: node that stands in for it where it does not exist.
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
    guard: str = ""
    bypass: str = ""

    @cached_property
    def module(self) -> Call | None:
        if self.nested or isinstance(self.op, Graph):
            return self.nested
        call: Call | None = self.op.module(*self.shapes)
        return Call(call.target, (*call.args, INPLACE)) if call and self.inplace else call

    @cached_property
    def function(self) -> Call | None:
        return None if isinstance(self.op, Graph) else self.op.function(*self.shapes)

    @cached_property
    def printed(self) -> tuple[Any, ...]:
        """All of its calls but the numbers."""
        calls = [call for call in (self.module, self.function) if call]
        kind = "" if isinstance(self.op, Graph) else type(self.op).__name__
        return (kind, *((call.target, tuple(arg.name for arg in call.args)) for call in calls))


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


@dataclass(eq=False)
class ClassPlan:
    """Class of the generated code, and the graphs that share it.

    texts: code in place of a number, by node and argument.
    shown: the nodes that are printed, those of the graph that has most.
    views: the nodes of each of the graphs, in the order of `shown`; None for one that it lacks.
    written: the text that its module type gives, of which only constructors are printed, or None.
    """

    graphs: list[Graph]
    name: str = ""
    params: list[Param] = field(default_factory=list)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    shown: list[View] = field(default_factory=list)
    views: list[list[View | None]] = field(default_factory=list)
    written: WrittenClass | None = None

    @property
    def graph(self) -> Graph:
        return self.graphs[0]

    def call(self, graph: Graph) -> Call:
        """Return the call that makes an instance for one of the graphs."""
        i = next(i for i, g in enumerate(self.graphs) if g is graph)
        args = (Arg(p.name, p.values[i], p.default, not p.is_positional) for p in self.params)
        return Call(self.name, tuple(args))


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
