"""Names of the modules that come along and make the same graph as one that a search found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations, product
from typing import Any

from nas.analysis.recurrent import module_key
from nas.errors import NasError
from nas.modules import MODULE_TYPES, Module

FREE = ("grammar", "cell")
"""Types whose inside is free: what they make is known if another type makes it, too."""
MANY = 8
"""Options of a field from which on only its default is looked at, such as each number of channels."""


def known_as(module: Module) -> str:
    """Return a known module that makes the same graph, such as `plain(convs=1)`, or ""."""
    if module.type_name not in FREE:
        return module.type_name
    return _known().get(module_key(module), "")


def known_variants(module: Module) -> dict[str, str]:
    """Return the places of batch norm with which a module is a known one of another type, and that."""
    found = {}
    for norm in dict(module.choices()).get("norm", ()):
        changed: dict[str, Any] = {"norm": norm}
        found[norm] = known_as(replace(module, **changed))
    return {norm: known for norm, known in found.items() if known not in ("", module.type_name)}


def settings_text(module: Module) -> str:
    """Return a module without its width and stride, such as `plain(convs=1)`."""
    return str(module).rpartition(" ")[0]


@cache
def _known() -> dict[str, str]:
    """Map the keys of known modules to their text."""
    texts: dict[str, list[str]] = {}
    for module in _modules():
        texts.setdefault(module_key(module), []).append(settings_text(module))
    return {key: min(names, key=len) for key, names in texts.items()}


def _modules() -> Iterator[Module]:
    """Yield the modules of all types that come along: each place of batch norm with any two other fields."""
    for name, kind in MODULE_TYPES.items():
        if name in FREE or not kind.__module__.startswith("nas.modules."):
            continue
        fields = {field: options for field, options in kind.choices() if len(options) <= MANY}
        norms = fields.pop("norm", None)
        settings = [
            dict(zip(names, values, strict=True))
            for count in range(3)
            for names in combinations(fields, count)
            for values in product(*(fields[name] for name in names))
        ]
        for setting, norm in product(settings, norms or [None]):
            values = {**setting, "norm": norm} if norms else setting
            try:
                yield kind(64, **values)
            except (NasError, TypeError):  # a type without defaults, or settings that belong together
                continue
