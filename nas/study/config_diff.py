"""Settings of two runs that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

DERIVED = ("schema", "checksum", "classes", "mean", "std")
"""What follows from other settings, or says nothing of the search."""
LONGEST = 40


def changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What a and b have for each setting that differs, None for nothing; `recipe.epochs` is the
    setting `epochs` in `recipe`."""
    return {name: pair for name, pair in _pairs(a, b, "") if pair[0] != pair[1]}


def lines(settings: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """`recipe.epochs: 4 against 8`"""
    return [f"{name}: {shown(a)} against {shown(b)}" for name, (a, b) in settings.items()]


def shown(value: Any) -> str:
    """In few characters; a dash for what is not set."""
    if value is None:
        return "-"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key in dict.fromkeys((*a, *b)):
        first, second = a.get(key), b.get(key)
        if key in DERIVED:
            continue
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            yield from _pairs(first, second, f"{prefix}{key}.")
        else:
            yield prefix + key, (first, second)
