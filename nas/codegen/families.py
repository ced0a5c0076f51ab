"""Families of graphs: one module type at other shapes and other numbers.

The generated class of a module depends on its type and its settings, not on the network it is in, because
the graphs of its family share the class: what differs among them becomes an argument.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

from nas.errors import NasError
from nas.graph.graph import Graph
from nas.modules import MODULE_TYPES, Module
from nas.modules.base import default_settings, expansion
from nas.modules.structure import Structure

CONTEXTS = ((64, 64, 1), (64, 128, 2), (64, 128, 1), (128, 128, 2))
"""Input channels, width and stride of the graphs of a family. The first keeps the shape."""
OWN_FILES = frozenset(cls.__module__ for cls in MODULE_TYPES.values())
"""Files that hold one module type each, and say what it is."""
SIZE = 64
"""Height and width of their images, in pixels."""
PROSE = r"[\w ,.:;()/'+@-]{1,160}"
"""What may stand in the docstring of a class."""
GUARDS: dict[str, Callable[[int, int, int], bool]] = {
    "stride > 1": lambda ins, outs, stride: stride > 1,
    "out_chs > in_chs": lambda ins, outs, stride: outs > ins,
    "stride > 1 or in_chs != out_chs": lambda ins, outs, stride: stride > 1 or ins != outs,
    "in_chs != out_chs": lambda ins, outs, stride: ins != outs,
}
"""Conditions, as code and as functions, under which a module has nodes that it lacks otherwise."""
GUARD_NAMES = ("in_chs", "out_chs", "stride")
"""Arguments on which it may depend whether a node exists."""


@lru_cache(maxsize=2048)
def family(module: Module, channels: int) -> tuple[Graph, ...]:
    """Return the graphs of a module in other contexts, and with other numbers in one of them.

    `channels` of an input that fits are used where a setting of the module fixes its width.
    """
    _, usual, *_ = CONTEXTS
    graphs = list(_expanded(module, CONTEXTS))
    if not graphs:
        own = (channels, module.width, module.stride)
        usual = (2 * channels, module.width, 1)
        graphs = list(_expanded(module, (own, usual, (2 * channels, 2 * module.width, 2))))
    for other in _with_other_numbers(module):
        graphs += _expanded(other, (usual,))
    return tuple(graphs)


def relatives(graph: Graph) -> tuple[Graph, ...]:
    """Return the family of a graph's module, in the variant of the graph."""
    graphs = family(graph.module, graph.input_shape[0])
    return graphs if graph.variant is None else tuple(graph.variant(other) for other in graphs)


def _expanded(module: Module, contexts: Sequence[tuple[int, int, int]]) -> Iterator[Graph]:
    for channels, width, stride in contexts:
        try:
            yield expansion(replace(module, width=width, stride=stride), (channels, SIZE, SIZE))
        except NasError:  # the settings do not fit this width
            continue


def _with_other_numbers(module: Module) -> Iterator[Module]:
    """Yield the module with one, all but one, or all of its unusual numbers at their default, and with
    another option of each number, the others as they are or at their default."""
    defaults = default_settings(type(module))
    numbers = {name: options for name, options in module.choices() if not isinstance(options[0], str)}
    unusual = [name for name in numbers if getattr(module, name) != defaults[name]]
    usual = {tuple(unusual), *((name,) for name in unusual)}
    usual |= {tuple(other for other in unusual if other != name) for name in unusual}
    for names in sorted(usual - {()}):
        yield replace(module, **{name: defaults[name] for name in names})
    kept = [name for name in unusual if isinstance(defaults[name], float) and not defaults[name]]
    plain = replace(module, **{name: defaults[name] for name in unusual if name not in kept})
    for like in dict.fromkeys((module, plain)):
        for name, options in numbers.items():
            now = getattr(like, name)
            others = (o for o in options if o != now and (not isinstance(o, float) or bool(o) == bool(now)))
            for option in islice(others, 1):
                yield replace(like, **{name: option})


def settings_of(graph: Graph) -> dict[str, Any]:
    """Return the settings of the module that a graph expands, but width and stride; {} without a module."""
    fields = (*graph.module.structures(), *graph.module.choices()) if graph.module else ()
    return {name: getattr(graph.module, name) for name, _ in fields}


def words_of(graph: Graph) -> tuple[Any, ...]:
    """Return the settings that are words, which tell classes apart even where the graphs look alike."""
    return tuple(value for value in settings_of(graph).values() if isinstance(value, str | Structure))


def about(graph: Graph) -> str:
    """Describe the type of a graph's module by the first sentence of its documentation, with the settings
    that are words and not the usual; "" without a module or a documentation that fits."""
    if graph.module is None:
        return ""
    cls = type(graph.module)
    of_dataclass = (cls.__doc__ or "").startswith(f"{cls.__name__}(")
    text = cls.__doc__ if cls.__module__ not in OWN_FILES and not of_dataclass else ""
    file = sys.modules.get(cls.__module__)  # a type of a plug-in comes to workers without its file
    text = text or (file.__doc__ if file else "") or ""
    sentence = " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")
    if not re.fullmatch(PROSE, sentence):
        return ""
    defaults = default_settings(cls)
    words = {
        name: value
        for name, value in settings_of(graph).items()
        if isinstance(value, str) and value != defaults[name] and re.fullmatch(PROSE, value)
    }
    settings = ", ".join(
        f"{name.replace('_', ' ')} {value.replace('_', ' ')}" for name, value in words.items()
    )
    inside = "; ".join(str(value) for value in settings_of(graph).values() if isinstance(value, Structure))
    variant = str(graph.description).split(", ")[-1] if graph.variant else ""
    return f"{'; '.join(part for part in (sentence, settings, inside, variant) if part)}."


def count_defaults(graph: Graph) -> int:
    """Return how many numbers of a graph's module are at their default."""
    if graph.module is None:
        return 0
    defaults, settings = default_settings(type(graph.module)), settings_of(graph)
    words = (str, Structure)
    return sum(not isinstance(value, words) and value == defaults[name] for name, value in settings.items())


def class_name(graphs: Sequence[Graph], apart: Callable[[Graph, Graph], bool]) -> str:
    """Name a class after the type of its modules and the settings that are not the usual.

    `apart` tells whether two graphs are of different classes.
    """
    first = graphs[0]
    if first.module is None:
        return first.kind
    name, defaults = first.kind, default_settings(type(first.module))
    for field, value in settings_of(first).items():
        if isinstance(value, Structure):  # so that the name is the same in all networks of a space
            name += _short_digest(str(value))
            continue
        if value == defaults[field] or (not isinstance(value, str) and not _decides(first, field, apart)):
            continue
        values = {settings_of(graph)[field] for graph in graphs if graph.module is not None}
        name += _camel(field, value if len(values) == 1 else None)
    return name


def _short_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=2).hexdigest()


def _decides(graph: Graph, field: str, apart: Callable[[Graph, Graph], bool]) -> bool:
    """Tell whether a number changes the structure: whether its default makes a graph of another class."""
    module = graph.module
    usual = replace(module, **{field: default_settings(type(module))[field]})
    others = relatives(graph)
    alike = (g for g in others if replace(g.module, width=module.width, stride=module.stride) == usual)
    return any(apart(graph, other) for other in alike)


def _camel(field: str, value: Any) -> str:
    words = field.split("_")
    if isinstance(value, str) and not re.fullmatch(r"\w+", value):  # a text, such as that of a graph
        return _short_digest(value)
    if isinstance(value, str) and len(value) > 2 and value[0].isalpha() and value != "none":
        words = value.split("_")
    elif value is not None and not isinstance(value, bool):
        words = [*words, re.sub(r"\W", "_", str(value))]
    return "".join(word[:1].upper() + word[1:] for word in words)
