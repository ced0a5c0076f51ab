"""Templates of the page. Values are escaped unless they are `Markup`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.visualization.colours import stylesheet

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Table:
    """A table of the page: (name, CSS class) per column, and one sequence of cells per row."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Any]]


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], wide: Sequence[str] = ()) -> Table:
    """Make a table.

    columns: headers; one that ends in `>` is right-aligned, for figures.
    rows: cells, as text or `Markup`.
    wide: headers of the columns whose text may wrap.
    """
    kinds = ["right" if name.endswith(">") else "wide" if name in wide else "" for name in columns]
    return Table([(name.rstrip(">"), kind) for name, kind in zip(columns, kinds, strict=True)], list(rows))


def blocks(parts: Iterable[RenderableType]) -> list[Table | str]:
    """Turn the parts of a text report (see `nas.formatting.to_text`) into paragraphs and tables."""
    from rich.table import Table as RichTable

    content: list[Table | str] = []
    for part in parts:
        if isinstance(part, RichTable):
            names = [f"{c.header}{'>' if c.justify == 'right' else ''}" for c in part.columns]
            content.append(table(names, zip(*(c.cells for c in part.columns), strict=True)))
        elif str(part).strip():
            content.append(str(part).strip())
    return content


def render(template: str, **values: Any) -> Markup:
    """Fill a template of `nas/reports/templates`; a name that the template misses is an error."""
    return Markup(_environment().get_template(template).render(values))


def render_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """Fill the template of a table alone; columns and rows as for `table`."""
    macros: Any = _environment().get_template("macros.html").module
    return Markup(macros.table(table(columns, rows)))


def resource(name: str) -> Markup:
    """Return the text of a file in `nas/reports/templates`."""
    return Markup(files("nas.reports").joinpath("templates", name).read_text(encoding="utf-8"))


def style() -> Markup:
    """Return the style of a page with the colours of the module types."""
    return resource("style.css") + Markup(stylesheet())


@cache
def _environment() -> Environment:
    loader = PackageLoader("nas.reports")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
