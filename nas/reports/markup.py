"""Pieces of HTML. Whatever is not of type `Html` is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


class Html(str):
    """Text that is markup already."""


def text(value: Any) -> Html:
    """Escaped, unless it is markup."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(parts: Iterable[Any], between: str = "\n") -> Html:
    return Html(between.join(text(part) for part in parts))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element; a trailing `_` of an attribute is dropped, `_` elsewhere is a hyphen."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{shown}>{join(children, '')}</{name}>")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], wide: Sequence[str] = ()) -> Html:
    """A table that scrolls sideways where it is too wide. A header that ends in `>` is of figures;
    columns in `wide` may wrap."""
    names = [column.rstrip(">") for column in columns]
    classes = [
        "right" if column.endswith(">") else "wide" if name in wide else ""
        for column, name in zip(columns, names, strict=True)
    ]
    head = join((_cell("th", name, kind) for name, kind in zip(names, classes, strict=True)), "")
    body = [
        tag("tr", *(_cell("td", cell, kind) for cell, kind in zip(row, classes, strict=True))) for row in rows
    ]
    whole = tag("table", tag("thead", tag("tr", head)), tag("tbody", join(body)))
    return tag("div", whole, class_="scroll", tabindex="0")


def _cell(name: str, content: Any, kind: str) -> Html:
    return tag(name, content, class_=kind) if kind else tag(name, content)


def of_text(parts: Iterable[RenderableType]) -> Html:
    """The parts of a text report (see `nas.formatting.to_text`): strings as paragraphs, tables as
    tables."""
    from rich.table import Table

    found = []
    for part in parts:
        if isinstance(part, Table):
            names = [f"{c.header}{'>' if c.justify == 'right' else ''}" for c in part.columns]
            found.append(table(names, zip(*(c.cells for c in part.columns), strict=True)))
        elif str(part).strip():
            found.append(tag("p", str(part).strip()))
    return join(found)


def data(value: Any) -> Html:
    """JSON that may stand in a script element, whatever strings it holds."""
    raw = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Html(raw.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def resource(name: str) -> str:
    """The text of a file beside this one."""
    return files("nas.reports").joinpath(name).read_text(encoding="utf-8")


def fill(template: str, parts: Mapping[str, Any]) -> str:
    """`{{name}}` replaced by the part of that name, each once: what is filled in is not looked at."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: text(parts[match[1]]), template)
