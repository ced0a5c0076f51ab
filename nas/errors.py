"""Errors that a user can act on: each says where, what, and what to do next.

The command line prints them without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MAX_LISTED = 24
"""Most names that a hint lists; of more names, only the close ones."""
MAX_NAME = 64
"""Characters of a name that are compared with the known names."""
MAX_LINE = 2000


def last_line(text: str) -> str:
    """Return the last line of a traceback, which has the error."""
    return text.strip().rpartition("\n")[2]


class NasError(Exception):
    """Wrong usage or configuration.

    `where` names the place (file, line, key path, option), `hint` the way out.
    """

    exit_code = 2

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return readable(f"{text}\n  {self.hint}" if self.hint else text)

    def at(self, where: str) -> NasError:
        """Return the same error, with `where` set before the place already known."""
        place = f"{where}: {self.where}" if self.where else where
        return type(self)(self.message, where=place, hint=self.hint)


class NotFoundError(NasError):
    """A run, trial, file or space that does not exist."""

    exit_code = 3


class AllTrialsFailedError(NasError):
    """Every candidate of a search failed."""

    exit_code = 4


class LockedError(NasError):
    """Another process holds the run folder."""

    exit_code = 5


class StorageError(NasError):
    """The disk is full, a file is damaged, or a folder cannot be written."""

    exit_code = 6


class ClusterLostError(NasError):
    """Ray itself has ended while it was used."""

    exit_code = 6


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return a hint that lists `known` and leads with the closest match, if one is close."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name)[:MAX_NAME], names, n=5)
    listing = f"known: {', '.join(names)}"
    if len(names) > MAX_LISTED:
        listing = f"also close: {', '.join(close[1:])}" if close[1:] else f"{len(names)} are known"
    return f"did you mean '{close[0]}'?  {listing}" if close else listing


def escape_controls(text: str) -> str:
    """Return a text with control characters, but line breaks and tabs, as visible escapes.

    They are C0 and C1 controls (a terminal acts on them), bidirectional controls (they reorder what is read)
    and lone surrogates (no encoding has them). The text may come from a stranger's file.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def readable(text: str) -> str:
    """Return `escape_controls` of a text, with lines of bounded length."""
    lines = escape_controls(text).split("\n")
    return "\n".join(line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…" for line in lines)


@contextmanager
def error_context(where: str) -> Iterator[None]:
    """Add `where` to the place that a NasError raised inside names, unless it begins with it."""
    try:
        yield
    except NasError as error:
        if error.where.startswith(where):
            raise
        raise error.at(where) from None
