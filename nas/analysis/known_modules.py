"""Names of the modules that come along and make the same graph as one that a search found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

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


@cache
def _known() -> dict[str, str]:
    """Map the keys of known modules to their text."""
    texts: dict[str, list[str]] = {}
    for module in _modules():
        texts.setdefault(module_key(module), []).append(str(module).rpartition(" ")[0])
    return {key: min(names, key=len) for key, names in texts.items()}


def _modules() -> Iterator[Module]:
    """Yield the modules of all types that come along, each place of batch norm with any one other setting."""
    for name, kind in MODULE_TYPES.items():
        if name in FREE or not kind.__module__.startswith("nas.modules."):
            continue
        fields = {field: options for field, options in kind.choices() if len(options) <= MANY}
        norms = fields.pop("norm", None)
        settings = [{}, *({field: option} for field, options in fields.items() for option in options)]
        for setting, norm in product(settings, norms or [None]):
            values = {**setting, "norm": norm} if norms else setting
            try:
                yield kind(64, **values)
            except (NasError, TypeError):  # a type without defaults, or settings that belong together
                continue
