"""Figures, tables and counts as text, in the units that people read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nas.stats.estimate import Estimate, percent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SCHEMA = 1
"""Version of the layout of every JSON document."""

FLOPS_NOTE = "FLOPs are multiply-adds of convolutions and linear layers."

WIDTH = 110
"""Most columns of running text."""

UNLIMITED = 1000
"""Columns of a table that no screen limits."""


def to_text(*parts: RenderableType, width: int = UNLIMITED) -> str:
    """Return rich tables and strings as plain text, one below the other.

    width: columns of the screen, for tables as in `nas.text_table`; strings are wrapped at `WIDTH` at most.
    """
    from rich.console import Console
    from rich.table import Table

    from nas.text_table import table_lines

    lines: list[str] = []
    for part in parts:
        if isinstance(part, Table):
            lines += table_lines(part, width)
            continue
        console = Console(
            width=min(width, WIDTH), color_system=None, force_terminal=False, highlight=False, emoji=False
        )  # or rich makes a picture of ":100:"
        with console.capture() as capture:
            console.print(part, markup=False)
        lines += [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join(lines)


def metric(value: float) -> str:
    """Return `40.6M`: three digits and a factor of a thousand."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}" if value < 999.5 * factor else f"{value / factor:.0f}{unit}"
    return f"{value:.3g}" if 0 < value < 1 else f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """Return `4:05`: minutes and seconds, with hours where there are any; a dash where it is not known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def known(value: float, form: str) -> str:
    """Return a formatted value; "" for NaN."""
    return "" if math.isnan(value) else format(value, form)


def count(number: int, noun: str) -> str:
    """Return `1 trial`, `2 trials`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def interval(estimate: Estimate) -> str:
    """Return `1.20 [0.40, 2.00]` in percentage points."""
    if math.isnan(estimate.value):
        return "not known"
    if math.isnan(estimate.low):
        return f"{100 * estimate.value:.2f}"
    return percent(estimate)


def table_of(*columns: str) -> Table:
    """Return a table without borders and rows; a header that ends in `>` is right-aligned."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column.rstrip(">"), justify="right" if column.endswith(">") else "left", no_wrap=True
        )
    return table


def unicode_text(text: str) -> str:
    """Return a text with escapes such as \\udcff in place of bytes of file names that are not Unicode, which
    no record holds."""
    return text.encode(errors="backslashreplace").decode()
