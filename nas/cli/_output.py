"""How the commands print: data to stdout, notes to stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from nas.errors import readable

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 200
"""Columns where stdout is no terminal: wide enough that tables keep one row a line."""


def emit(data: Mapping[str, Any]) -> None:
    """Print a JSON document with the version of its layout."""
    click.echo(json.dumps({"schema": 1, **data}, indent=2, allow_nan=False))


def note(text: str) -> None:
    """Print a remark to stderr, where it does not mix with data."""
    click.echo(readable(text), err=True)


def heading(text: str) -> None:
    """Print the title of a part of the output."""
    click.echo(f"\n{click.style(text, bold=True)}")


def console() -> Console:
    """The console on stdout."""
    from rich.console import Console

    plain = Console(highlight=False, markup=False, emoji=False)
    if plain.is_terminal:
        return plain
    return Console(highlight=False, markup=False, emoji=False, width=PIPED_WIDTH)


def text_width() -> int:
    """Columns for running text and wide tables."""
    from nas.formatting import WIDTH

    return min(console().width, WIDTH)


def table(rows: Sequence[Mapping[str, Any]], right: Sequence[str] = ()) -> None:
    """Print rows under the names of their keys; columns in `right` are figures."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0] if rows else ():
        figures = name in right
        shown.add_column(name, justify="right" if figures else "left", no_wrap=figures)
    for row in rows:
        shown.add_row(*(readable(str(value)) for value in row.values()))
    out = console()
    with out.capture() as captured:
        out.print(shown)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def percent(value: float | None) -> str:
    """A fraction as percent; a dash where there is none."""
    return "-" if value is None else f"{value:.2%}"


def duration(seconds: float | None) -> str:
    """Minutes and seconds, with hours where there are any."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
