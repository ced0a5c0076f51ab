"""Loader for YAML from strangers: safe types only, bounded, and with the line of every key.

It refuses files above 64 KiB, which would take seconds to parse, aliases, tags, duplicate keys,
nesting deeper than 50, and numbers of more than 64 bits. It refuses words without quotes that YAML reads as
something else, too: `010` is 8, `1:30` is 90, and `no` is false.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from nas.errors import NasError

MAX_BYTES = 1 << 16
MAX_DEPTH = 50
MAX_BITS = 64

Path = tuple[str | int, ...]


class Document(NamedTuple):
    """Data of a file, and the line (from 1) on which each key path begins."""

    data: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of a key path, or of the nearest place above it that is in the file."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


class _Loader(yaml.SafeLoader):
    depth = 0
    where = ""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        if event.tag is not None:
            raise yaml.MarkedYAMLError(problem=f"the tag {event.tag} is not allowed", problem_mark=mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            problem = f"nested deeper than {MAX_DEPTH}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def load_yaml(text: str, where: str) -> Document:
    """Parse one YAML document; NasError names file and line."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise NasError(f"larger than {MAX_BYTES:,} bytes", where=where)
    loader = None
    try:
        loader = _Loader(text)
        loader.where = where
        root = loader.get_single_node()
        lines: dict[Path, int] = {(): 1}
        return Document(_construct(loader, root, (), lines) if root else None, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}:{mark.line + 1}" if mark else where
        raise NasError(f"not valid YAML: {error.problem or error.context}", where=place) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise NasError(f"not valid YAML: {str(error).splitlines()[0]}", where=where) from None
    finally:
        if loader:
            loader.dispose()


def _construct(loader: _Loader, node: yaml.Node, path: Path, lines: dict[Path, int]) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, item, (*path, i), lines) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node)
    data: dict[Any, Any] = {}
    for key_node, value in node.value:
        mark = key_node.start_mark
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be a word or a number", problem_mark=mark)
        key = _scalar(loader, key_node)
        if key in data:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} appears twice", problem_mark=mark)
        lines[(*path, key)] = mark.line + 1
        data[key] = _construct(loader, value, (*path, key), lines)
    return data


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    value = loader.construct_object(node)
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        problem = f"a number of more than {MAX_BITS} bits"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    written = _intended(str(node.value), value)
    if written:
        raise NasError(
            f"{node.value} without quotes is {_plain(value)} in YAML",
            where=f"{loader.where}:{node.start_mark.line + 1}",
            hint=f'write {written}, or "{node.value}" in quotes if it is a word',
        )
    return value


def _intended(text: str, value: Any) -> str:
    """Return what a word without quotes may have been meant for, "" if it means what YAML reads."""
    if isinstance(value, bool):
        return "" if text.lower() in ("true", "false") else _plain(value)
    if type(value) is int and re.match(r"[-+]?0[0-7_]", text):
        decimal = int(text)
        return "" if decimal == value else f"{decimal} or {value}"
    return _plain(value) if type(value) in (int, float) and ":" in text else ""


def _plain(value: Any) -> str:
    return str(value).lower()
