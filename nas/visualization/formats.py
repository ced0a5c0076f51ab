"""File formats of pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas.errors import NasError

FORMATS = (".png", ".svg", ".pdf")
"""Suffixes of the pictures that matplotlib writes."""


def check_format(file: str | Path, known: Iterable[str] = FORMATS) -> Path:
    """Return the path if its suffix is among the `known`; NasError otherwise."""
    path = Path(file)
    if path.suffix.lower() not in known:
        hint = f"known: {', '.join(known)}"
        raise NasError(f"no picture format {path.suffix!r}", where=str(file), hint=hint)
    return path
