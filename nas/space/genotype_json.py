"""Reading the JSON of a genotype, as `Genotype.to_dict` and `to_json` write it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, did_you_mean, error_context
from nas.modules import Head, Module, Stem
from nas.modules import from_dict as component
from nas.space.node import Auxiliary, Node

if TYPE_CHECKING:
    from nas.space.genotype import Genotype

VERSION = 1
MAX_NESTING = 4
MAX_JSON = 1 << 20
Parts = tuple[Stem | None, tuple[Node, ...], Head, tuple[str, ...], tuple[Auxiliary, ...]]
"""Stem, nodes, head, taps and auxiliary heads."""


def from_dict(cls: type[Genotype], data: Any, where: str) -> Parts:
    """Return the parts of a genotype given as a dictionary; genotypes nested in it become instances of `cls`.
    NasError names the place of a fault."""
    _check_keys(data, ("version", "stem", "nodes", "head"), where, optional=("taps", "auxiliary"))
    stem = _stem_from(data, where)
    return stem, _nodes_from(cls, data["nodes"], where, 0), *_end_from(data, where)


def loads(text: str, where: str) -> Any:
    """Parse JSON of at most 1 MiB. NasError with line and column, or if an object has a key twice."""
    if len(text) > MAX_JSON:
        raise NasError(f"larger than {MAX_JSON:,} characters", where=where)
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates)
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        raise NasError(f"not valid JSON: {error}", where=where) from None


def _stem_from(data: Mapping[str, Any], where: str) -> Stem | None:
    if data["version"] != VERSION or type(data["version"]) is not int:
        hint = f"this program reads version {VERSION}; a newer file needs a newer program"
        raise NasError(f"unknown version {data['version']!r}", where=f"{where}: version", hint=hint)
    return component(Stem, data["stem"], where=f"{where}: stem") if data["stem"] is not None else None


def _end_from(data: Mapping[str, Any], where: str) -> tuple[Head, tuple[str, ...], tuple[Auxiliary, ...]]:
    head = component(Head, data["head"], where=f"{where}: head")
    taps = _names_from(data.get("taps", []), f"{where}: taps")
    return head, taps, _auxiliary_from(data.get("auxiliary", []), f"{where}: auxiliary")


def _check_keys(data: Any, keys: Sequence[str], where: str, optional: Sequence[str] = ()) -> None:
    if not isinstance(data, Mapping):
        raise NasError("must be an object", where=where)
    for key in data:
        if key not in keys and key not in optional:
            raise NasError(f"unknown field {key!r}", where=where, hint=did_you_mean(key, [*keys, *optional]))
    for key in keys:
        if key not in data:
            raise NasError(f"needs {key!r}", where=where)


def _nodes_from(cls: type[Genotype], data: Any, where: str, depth: int) -> tuple[Node, ...]:
    if not isinstance(data, list):
        raise NasError("must be a list", where=f"{where}: nodes")
    if depth > MAX_NESTING:
        raise NasError(f"nested deeper than {MAX_NESTING}", where=f"{where}: nodes")
    return tuple(_new_node(cls, item, f"{where}: nodes[{at}]", depth) for at, item in enumerate(data))


def _new_node(cls: type[Genotype], data: Any, where: str, depth: int) -> Node:
    _check_keys(data, ("name", "inputs", "module"), where, optional=("join",))
    name, inputs, join = _place({key: data[key] for key in data if key != "module"}, where)
    module = data["module"]
    if isinstance(module, Mapping) and module.get("type") == "genotype":
        _check_keys(module, ("type", "nodes"), f"{where}: module")
        nodes = _nodes_from(cls, module["nodes"], f"{where}: module", depth + 1)
        with error_context(f"{where}: module"):
            inner: Module | Genotype = cls(None, nodes)
    else:
        inner = component(Module, module, where=f"{where}: module")
    with error_context(where):
        return Node(name, inner, inputs, join)


def _place(data: Any, where: str) -> tuple[str, tuple[str, ...], str]:
    """Return the name, the inputs and the join of a node."""
    _check_keys(data, ("name", "inputs"), where, optional=("join",))
    join = data.get("join", "add")
    if not isinstance(join, str):
        raise NasError("must be a name", where=f"{where}: join")
    return data["name"], _names_from(data["inputs"], f"{where}: inputs"), join


def _names_from(data: Any, where: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise NasError("must be a list of names", where=where)
    return tuple(data)


def _auxiliary_from(data: Any, where: str) -> tuple[Auxiliary, ...]:
    if not isinstance(data, list):
        raise NasError("must be a list", where=where)
    made = []
    for at, item in enumerate(data):
        place = f"{where}[{at}]"
        _check_keys(item, ("node", "weight", "head"), place)
        head = component(Head, item["head"], where=f"{place}: head")
        with error_context(place):
            made.append(Auxiliary(str(item["node"]), head, item["weight"]))
    return tuple(made)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError(f"two keys {Counter(key for key, _ in pairs).most_common(1)[0][0]!r}")
    return data
