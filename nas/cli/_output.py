"""Output of the commands: data to stdout, notes to stderr.

Every text goes through `echo`, `note`, `table` or `emit`, which show control characters as escapes. Names and
messages may come from a stranger's file, and must not clear the screen or write to the clipboard.
"""

from __future__ import annotations

import io
import json
import sys
import textwrap
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

from nas.errors import escape_controls, readable
from nas.formatting import SCHEMA, UNLIMITED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPED_WIDTH = 200
"""Columns if stdout is not a terminal, enough for tables to keep one line per row."""

LABEL = 12
"""Columns of the labels before lines about data, a plan or a training."""

COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def echo(text: object = "", *, err: bool = False, newline: bool = True) -> None:
    """Print a text to stdout, or to stderr."""
    click.echo(escape_controls(str(text)), nl=newline, err=err)


def echo_labelled(*lines: str) -> None:
    """Print lines of a label and a text, broken below their texts on a narrow terminal."""
    for line in lines:
        echo(hanging(line, text_width()))


def hanging(line: str, width: int) -> str:
    """Break a line that begins with a label at spaces, so that it continues below its text."""
    if len(line) <= width:
        return line
    return textwrap.fill(
        line, width, subsequent_indent=" " * LABEL, break_long_words=False, break_on_hyphens=False
    )


def echo_types(text: str, types: Sequence[str]) -> None:
    """Print a text; on a terminal the names of module types have the colours of the plots."""
    if sys.stdout.isatty():
        console().print(coloured(text, types), soft_wrap=True)
    else:
        echo(text)


def coloured(text: str, types: Sequence[str]) -> Text:
    """Return a text in which the names of module types have the colours of the plots."""
    from rich.text import Text

    from nas.visualization.colours import colour_words

    shown = Text(escape_controls(text))
    for start, end, colour in colour_words(shown.plain, types):
        shown.stylize(colour, start, end)
    return shown


def emit(data: Mapping[str, Any]) -> None:
    """Print a JSON document with the version of its layout."""
    text = json.dumps({"schema": SCHEMA, **data}, indent=2, allow_nan=False)
    click.echo(text.replace("\x7f", "\\u007f"))  # the one control character that JSON leaves as it is


def note(text: str) -> None:
    """Print a remark to stderr, where it does not mix with data."""
    click.echo(readable(text), err=True)


def heading(text: str) -> None:
    """Print the title of a part of the output."""
    click.echo(f"\n{click.style(escape_controls(text), bold=True)}")


def status(state: str, text: str) -> None:
    """Print a line behind its state, which is one of `COLOURS`."""
    click.echo(f"{click.style(f'{state:<8}', fg=COLOURS[state])} {escape_controls(text)}")


def console(*, stderr: bool = False) -> Console:
    """Return the console on stdout or stderr. It interprets no markup in what it prints."""
    from rich.console import Console

    width = None if (sys.stderr if stderr else sys.stdout).isatty() else PIPED_WIDTH
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def text_width() -> int:
    """Return the columns of the terminal; without one, tables may be as wide as they are."""
    return console().width if sys.stdout.isatty() else UNLIMITED


def table(rows: Sequence[Mapping[str, Any]], right: Sequence[str] = ()) -> None:
    """Print rows under the names of their keys; columns in `right` are figures."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0] if rows else ():
        figures = name in right
        justify: Literal["left", "right"] = "right" if figures else "left"
        shown.add_column(name, justify=justify, no_wrap=figures, overflow="fold")
    for row in rows:
        shown.add_row(*(readable(str(value)) for value in row.values()))
    out = console()
    with out.capture() as captured:
        out.print(shown)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def percent(value: float | None) -> str:
    """Return a fraction as percent; a dash where there is none."""
    return "-" if value is None else f"{value:.2%}"


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning of Python as a note, in place of the line of code that gave it."""
    note(f"warning: {message}")


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an error that is no NasError, which is a bug."""
    echo("".join(traceback.format_exception(kind, error, trace)), err=True, newline=False)


def accept_any_text(stream: TextIO) -> None:
    """Let a stream print what its encoding lacks, such as an ellipsis in latin-1, as an escape."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


class WithoutRaylet(io.TextIOBase):
    """Stream that passes on what others print, but no messages of Ray's daemon. These dump its state when it
    dies, and the deaths of workers are in the record of each trial."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.left_out = False

    def write(self, text: str) -> int:
        left_out, self.left_out = self.left_out, "(raylet)" in text[:40]
        if not self.left_out and not (left_out and text == "\n"):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        self.stream.flush()
