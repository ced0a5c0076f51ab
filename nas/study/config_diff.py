"""Settings that differ, such as those of two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SAME_DATA = ("data_fingerprint", "input_shape", "num_classes")
"""Settings that agree where runs have the same images, split alike."""
LONGEST = 60
"""Characters of a value in a message."""
AGAINST = "{}: {} against {}"
BECAME = "{}: was {}, now {}"


def differences(
    a: Mapping[str, Any], b: Mapping[str, Any], ignore: frozenset[str] = frozenset()
) -> dict[str, tuple[Any, Any]]:
    """Return the values in a and b of each setting that differs, None where one lacks it.

    `recipe.epochs` is the setting `epochs` in the mapping `recipe`; `ignore` names settings of the top level.
    """
    pairs = (pair for key in dict.fromkeys((*a, *b)) if key not in ignore for pair in _pairs(a, b, key))
    return {name: (first, second) for name, first, second in pairs if first != second}


def lines(settings: Mapping[str, tuple[Any, Any]], form: str = AGAINST) -> list[str]:
    """Return one line per setting that differs, as in `recipe.epochs: 4 against 8`."""
    return [form.format(name, shown(a), shown(b)) for name, (a, b) in settings.items()]


def shown(value: Any) -> str:
    """Return a value in few characters; a dash for a setting that is not set."""
    if value is None:
        return "-"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any, Any]]:
    first, second = a.get(key), b.get(key)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for below in dict.fromkeys((*first, *second)):
            for name, *values in _pairs(first, second, below):
                yield f"{key}.{name}", *values
    else:
        yield key, first, second
