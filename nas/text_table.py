"""Tables as plain text that fit into the columns of a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2
"""Spaces between columns."""


@dataclass
class Column:
    """A column of a table. Its header may be broken at spaces, and so may cells of `text`."""

    header: str
    cells: list[str]
    right: bool
    text: bool
    width: int = 0

    @property
    def least(self) -> int:
        """Width below which a word or a figure would be broken."""
        whole = [word for cell in self.cells for word in cell.split()] if self.text else self.cells
        return max(map(cell_len, ("", *whole, *self.header.split())))

    @property
    def most(self) -> int:
        return max(map(cell_len, (self.header, *self.cells)))

    def lines(self, row: int | None) -> list[str]:
        """Return the lines of a cell, or of the header."""
        cell = self.header if row is None else self.cells[row]
        if cell_len(cell) <= self.width:
            return [cell]
        lines = [""]
        for word in cell.split():
            joined = f"{lines[-1]} {word}".lstrip()
            if lines[-1] and cell_len(joined) > self.width:
                lines.append(word)
            else:
                lines[-1] = joined
        return lines

    def padded(self, line: str) -> str:
        space = " " * (self.width - cell_len(line))
        return space + line if self.right else line + space


def table_lines(table: Table, width: int) -> list[str]:
    """Return the lines of a table.

    Where it is wider than `width`, headers and texts of the last column are broken at spaces; columns that
    still do not fit follow below, beside the first column again.
    """
    columns = [
        Column(str(c.header), [str(cell) for cell in c.cells], c.justify == "right", c is table.columns[-1])
        for c in table.columns
    ]
    lines: list[str] = []
    for piece in _pieces(columns, width):
        _widen(piece, width)
        lines += [""] * bool(lines)
        for row in (None, *range(len(piece[0].cells))):
            lines += _row_lines(piece, row)
    return lines


def _pieces(columns: Sequence[Column], width: int) -> list[list[Column]]:
    pieces: list[list[Column]] = [[]]
    for column in columns:
        column.width = column.least
        if len(pieces[-1]) > 1 and sum(c.width + GAP for c in pieces[-1]) + column.width > width:
            pieces.append([columns[0]])
        pieces[-1].append(column)
    return pieces


def _widen(columns: Sequence[Column], width: int) -> None:
    """Give the room that is left to the columns, the last first."""
    room = width - sum(column.width for column in columns) - GAP * (len(columns) - 1)
    for column in reversed(columns):
        more = max(0, min(room, column.most - column.width))
        column.width += more
        room -= more


def _row_lines(columns: Sequence[Column], row: int | None) -> list[str]:
    cells = [column.lines(row) for column in columns]
    height = max(map(len, cells))
    for cell in cells:
        blank = [""] * (height - len(cell))
        cell[:] = [*blank, *cell] if row is None else [*cell, *blank]  # headers stand on their columns
    lines = (zip(columns, line, strict=True) for line in zip(*cells, strict=True))
    return [(" " * GAP).join(column.padded(text) for column, text in line).rstrip() for line in lines]
