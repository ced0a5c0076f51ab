"""Layout of generated Python as `ruff format` has it, at 88 columns."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from itertools import chain, count

WIDTH = 88
INDENT = "    "


@dataclass(frozen=True)
class CallText:
    """Call to print; `spread` puts each argument on a line of its own."""

    target: str
    args: tuple[str | CallText, ...] = ()
    spread: bool = False

    def flat(self) -> str:
        return f"{self.target}({', '.join(a if isinstance(a, str) else a.flat() for a in self.args)})"

    @property
    def spreads(self) -> bool:
        return self.spread or any(isinstance(a, CallText) and a.spreads for a in self.args)


def call_lines(call: CallText, level: int, before: str = "", after: str = "") -> list[str]:
    """Return the lines of a call at an indentation, with text before and after it: all on one line, or
    its arguments on one line, or one argument per line."""
    pad = INDENT * level
    line = f"{pad}{before}{call.flat()}{after}"
    if not call.spreads and len(line) <= WIDTH:
        return [line]
    inner = f"{pad}{INDENT}{', '.join(a if isinstance(a, str) else a.flat() for a in call.args)}"
    opening, closing = f"{pad}{before}{call.target}(", f"{pad}){after}"
    if not call.spreads and len(inner) <= WIDTH:
        return [opening, inner, closing]
    lines = [opening]
    for arg in call.args:
        if isinstance(arg, str):
            lines.append(f"{pad}{INDENT}{arg},")
        else:
            lines += call_lines(arg, level + 1, after=",")
    return [*lines, closing]


def statement_lines(statement: str, level: int) -> list[str]:
    """Return the lines of `return …` or `name = …` at an indentation."""
    pad = INDENT * level
    if len(pad + statement) <= WIDTH:
        return [pad + statement]
    if statement.startswith(INDENT):
        return statement_lines(statement.removeprefix(INDENT), level + 1)
    keyword, expression = re.fullmatch(r"(return |\w+ = )(.*)", statement).groups()  # type: ignore[union-attr]
    bracket = re.fullmatch(r"([\w.]*)\((.*)\)( / \d+)?", expression)
    if not bracket:
        bracket = re.fullmatch(r"()(.*)()", expression)
    target, inside, after = bracket.groups(default="")  # type: ignore[union-attr]
    opening, closing = f"{pad}{keyword}{target}(", f"{pad}){after}"
    one = f"{pad}{INDENT}{inside}"
    if len(one) <= WIDTH:
        return [opening, one, closing]
    parts = split_top(inside, ", ") if target else split_top(inside, " + ")
    if target:
        return [opening, *(f"{pad}{INDENT}{part}," for part in parts), closing]
    first, *rest = parts
    return [opening, f"{pad}{INDENT}{first}", *(f"{pad}{INDENT}+ {part}" for part in rest), closing]


def split_top(text: str, separator: str) -> list[str]:
    """Split where no bracket is open."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if not depth and text.startswith(separator, i):
            parts.append(text[start:i])
            start = i + len(separator)
    return [*parts, text[start:]]


def is_atomic(expression: str) -> bool:
    """Tell whether an attribute or operator may follow without brackets around the expression."""
    return len(split_top(expression, " ")) == 1


def fresh(base: str, taken: Container[str]) -> str:
    """Return the name, with a number if it is taken."""
    names = chain([base], (f"{base}{number}" for number in count(2)))
    return next(name for name in names if name not in taken)
