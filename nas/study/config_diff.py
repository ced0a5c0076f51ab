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


FREE = {"trials", "versions", "checksum", "task", "schema", "storage", "study", "mean", "std"}
"""Keys of `config.json` that a resumed run may change, or that follow from others: mean and standard
deviation from the data, whose fingerprint is compared, but for the last digit, which is the machine's."""


def describe_changes(recorded: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> str:
    """One line for each setting that differs, as in `recipe.epochs: was 8, now 4`; "" if none does."""
    lines = []
    for key in dict.fromkeys((*recorded, *asked)):
        before, now = recorded.get(key), asked.get(key)
        if (not prefix and key in FREE) or before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            lines.append(describe_changes(before, now, f"{key}."))
        else:
            lines.append(f"{prefix}{key}: was {_short(before)}, now {_short(now)}")
    return "\n  ".join(lines)


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
