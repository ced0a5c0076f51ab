"""Fill pages of the docs with what the program knows: mkdocs calls `on_page_markdown` for each page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from nas.data.load import forms
from nas.modules import Component, Head, Module, Stem
from nas.modules.structure import Structure

TABLES: Mapping[str, Mapping[str, type[Component]]] = {
    "modules": Module.registry,
    "stems": Stem.registry,
    "heads": Head.registry,
}


def table(types: Mapping[str, type[Component]]) -> str:
    """Return a Markdown table: one row per type, with the first sentence of its docstring and its fields."""
    rows = ["| type | what it is | fields |", "|---|---|---|"]
    for name, cls in sorted(types.items()):
        about = description(cls).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        fields = [f"`{field}`: {structured(kind)}" for field, kind in cls.structures()]
        fields += [f"`{field}`: {listed(options)}" for field, options in cls.choices()]
        fields += [
            f"`{field}`: {low} to {high}" for field, (low, high) in cls.bounds.items() if field != "width"
        ]
        rows.append(f"| `{name}` | {about} | {'<br>'.join(fields) or 'none'} |")
    return "\n".join(rows)


def structured(kind: type[Structure]) -> str:
    """Return where the keys of a structured field are described."""
    return f"[structured](space_yaml.md#structured-fields): {', '.join(f'`{key}`' for key in kind.keys)}"


def description(cls: type[Component]) -> str:
    """Return the docstring of a type, or that of its file, which holds one type, where it has none."""
    own = inspect.getdoc(cls) or ""
    made_by_dataclass = own.startswith(f"{cls.__name__}(")
    return (inspect.getmodule(cls).__doc__ or "") if made_by_dataclass else own


def listed(options: Any) -> str:
    if isinstance(options, range):
        return f"{options.start} to {options[-1]}"
    return ", ".join("none" if option is None else str(option).lower() for option in options)


def data_forms() -> str:
    """Return a Markdown table of the forms of data."""
    rows = [f"| `{form}` | {form.about} |" for form in forms().values()]
    return "\n".join(["| form | what it is |", "|---|---|", *rows])


def figures_whole(markdown: str) -> str:
    """Join the parts of `1.2 ± 0.3` and `1.2 [0.9, 1.5]` in rows of tables by no-break spaces."""
    inside = re.compile(r"(?<=\d) (?=± [\d.]|\[)|(?<=±) (?=[\d.])|(?<=\d,) (?=\W?\d[\d.]*\])")
    lines = markdown.split("\n")
    return "\n".join(inside.sub("\N{NO-BREAK SPACE}", line) if line[:1] == "|" else line for line in lines)


def on_page_markdown(markdown: str, **_: Any) -> str:
    for name, types in TABLES.items():
        markdown = markdown.replace(f"<!-- table of {name} -->", table(types))
    return figures_whole(markdown.replace("<!-- table of data forms -->", data_forms()))
