"""Base classes of stems, modules and heads: frozen dataclasses with searchable fields and an `expand`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Hashable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any, ClassVar, TypeVar, cast

from nas.errors import NasError, did_you_mean, error_context
from nas.graph.graph import Graph, Shape, Value, trace
from nas.graph.ops import MAX_SIZE, Op
from nas.modules.structure import Structure
from nas.plugins import load_entry_points

C = TypeVar("C", bound="Component")


@dataclasses.dataclass(frozen=True)
class WrittenClass:
    """Class of the generated code that makes and calls the parts of a module in loops.

    The parts are the nested graphs of the module, and are of one class. Each has its attribute as its label,
    such as `steps.0.1`.

    Attributes:
        text: Source of the class after the head of `__init__`, with fields for the constructors of parts.
        parts: Attribute of the part whose constructor a field prints, by the name of the field.
        arguments: Fields of the module that are arguments of the class.
        primitives: Primitives whose helpers the class needs.
    """

    text: str
    parts: Mapping[str, str]
    arguments: tuple[str, ...]
    primitives: tuple[Op, ...] = ()


def choice(*options: Any, default: Any = dataclasses.MISSING) -> Any:
    """Declare a searchable field by its options, or by one `range` of integers. Unless `default` says
    otherwise, the first option is the default."""
    values: Sequence[Any] = options
    if len(options) == 1 and isinstance(options[0], range):
        values = options[0]
    initial = values[0] if default is dataclasses.MISSING else default
    return dataclasses.field(default=initial, metadata={"options": values})


TYPE_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
"""Pattern of the names of types, which stand in records (joined by `+`), in tables and on the screen."""


@dataclasses.dataclass(frozen=True)
class Component:
    """A function over primitives with checked fields: a stem, a module or a head.

    registry: the types of this kind by name; a subclass with a `name` joins it.
    bounds: the least and the greatest value of integer fields that are not searched.
    """

    type_name: ClassVar[str]
    registry: ClassVar[dict[str, type[Component]]]
    bounds: ClassVar[dict[str, tuple[int, int]]] = {}

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            if not re.fullmatch(TYPE_NAME, name):
                hint = "use up to 64 letters, digits and _ . -, the first of them a letter or _"
                raise NasError(f"{name!r} cannot be the name of a type", where=cls.__qualname__, hint=hint)
            taken = cls.registry.get(name)
            if taken and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
                message = f"{name!r} is the name of {taken.__module__}.{taken.__qualname__}"
                raise NasError(message, where=f"{cls.__module__}.{cls.__qualname__}")
            cls.type_name = name
            cls.registry[name] = cls

    def __post_init__(self) -> None:
        for name, (low, high) in self.bounds.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise NasError(f"must be an integer from {low} to {high}, not {value!r}", where=name)
        for name, options in self.choices():
            value = getattr(self, name)
            if not is_option(value, options):
                raise NasError(f"{value!r} is not an option", where=name, hint=options_hint(value, options))
        for name, kind in self.structures():
            value = getattr(self, name)
            if not isinstance(value, kind):  # its text
                with error_context(name):
                    object.__setattr__(self, name, kind.read(value))

    @classmethod
    def choices(cls) -> tuple[tuple[str, Sequence[Any]], ...]:
        """Return the searchable fields with their options."""
        itself: Any = cls  # mypy takes dataclasses for unhashable classes
        return _choices(itself)

    @classmethod
    def structures(cls) -> tuple[tuple[str, type[Structure]], ...]:
        """Return the structured fields with the types of their values."""
        itself: Any = cls  # mypy takes dataclasses for unhashable classes
        return _structures(itself)

    def to_dict(self) -> dict[str, Any]:
        """Return the type, the fields without a default, and those that differ from their default;
        structured ones as text."""
        cls: Any = type(self)  # mypy takes dataclasses for unhashable classes
        defaults = _defaults(cls)
        settings = {name: getattr(self, name) for name in defaults}
        changed = {name: value for name, value in settings.items() if value != defaults[name]}
        for name, _ in self.structures():
            if name in changed:
                changed[name] = str(changed[name])
        return {"type": self.type_name, **changed}

    def __str__(self) -> str:
        return _text(self)


@cache
def _choices(cls: type[Component]) -> tuple[tuple[str, Sequence[Any]], ...]:
    items = dataclasses.fields(cls)
    return tuple((item.name, item.metadata["options"]) for item in items if "options" in item.metadata)


@cache
def _structures(cls: type[Component]) -> tuple[tuple[str, type[Structure]], ...]:
    items = dataclasses.fields(cls)
    return tuple((item.name, item.metadata["structure"]) for item in items if "structure" in item.metadata)


@cache
def _defaults(cls: type[Component]) -> dict[str, Any]:
    return {item.name: item.default for item in dataclasses.fields(cls)}


def default_settings(cls: type[Component]) -> dict[str, Any]:
    """Return the default of every searchable field of a component."""
    itself: Any = cls  # mypy takes dataclasses for unhashable classes
    return {name: _defaults(itself)[name] for name, _ in (*cls.structures(), *cls.choices())}


@cache
def field_names(cls: type[Component]) -> tuple[str, ...]:
    """Return the names of all fields of a component."""
    itself: Any = cls  # mypy takes dataclasses for unhashable classes
    return tuple(_defaults(itself))


@dataclasses.dataclass(frozen=True)
class Module(Component):
    """A module of the body.

    `width` (output channels) and `stride` come from the stage, so that types are compared at
    the same shape; the other fields are declared with `choice` and searched. A new type is one
    file: a subclass with a name and an `expand`.
    """

    width: int
    stride: int = 1

    registry: ClassVar[dict[str, type[Component]]] = {}
    bounds: ClassVar[dict[str, tuple[int, int]]] = {"width": (1, MAX_SIZE), "stride": (1, 8)}

    def expand(self, x: Value) -> Value:
        """Compute the output from the input, written like a `forward`."""
        raise NotImplementedError

    def written_class(self) -> WrittenClass | None:
        """Return the class that is printed for the module, or None where it follows from the graph."""
        return None

    def __call__(self, *values: Value, name: str = "") -> Value:
        """Apply the module to values of a graph, as a nested graph of its own."""
        graph = expansion(self, *(value.shape for value in values))
        return values[0].graph.add(graph, values, name)

    def __str__(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{super().__str__()} {self.width}{stride}"


@dataclasses.dataclass(frozen=True)
class Stem(Module):
    """First part of a network, from the image to the first feature map.

    reductions: how `stride: auto` reduces large images, from small to large: `nas.modules.stems.Reduction`.
    """

    registry: ClassVar[dict[str, type[Component]]] = {}
    reductions: ClassVar[tuple[Any, ...]] = ()


@dataclasses.dataclass(frozen=True)
class Head(Component):
    """Last part of a network, from the last feature map to the scores of the classes.

    takes_image: whether it also takes the image, after the feature maps, for its size.
    """

    registry: ClassVar[dict[str, type[Component]]] = {}
    takes_image: ClassVar[bool] = False

    @property
    def taps(self) -> int:
        """Number of feature maps of earlier stages that the head takes besides the last."""
        return 0

    def expand(self, x: Value, *others: Value, num_classes: int) -> Value:
        """Compute the scores from the last feature map and the others, written like a `forward`."""
        raise NotImplementedError

    def __call__(self, *values: Value, num_classes: int, name: str = "") -> Value:
        """Apply the head to values of a graph, as a nested graph of its own."""
        expand = partial(self.expand, num_classes=num_classes)
        graph = trace(type(self).__name__, [value.shape for value in values], expand)
        skips = (f"skip{i + 1}" for i in range(self.taps))
        graph.arg_names = ("x", *skips, *(["image"] if self.takes_image else []))
        return values[0].graph.add(graph, values, name)


ALWAYS_DESCRIBED = ("shortcut", "norm")
"""Fields that the description of a module shows even at their default."""

MODULE_TYPES = cast(dict[str, type[Module]], Module.registry)
"""The module types of the body by name."""


@lru_cache(maxsize=8192)
def expansion(module: Module, *shapes: Shape) -> Graph:
    """Return the graph of a module at given input shapes. Modules that repeat share it."""
    graph = trace(type(module).__name__, shapes, module.expand)
    graph.module = module
    settings = module.to_dict()
    names = [name for name, _ in module.choices() if name in settings or name in ALWAYS_DESCRIBED]
    graph.description = ", ".join(f"{name} {getattr(module, name)}" for name in names)
    return graph


def is_option(value: Any, options: Sequence[Any]) -> bool:
    """Tell whether a value is among the options. True is not taken for 1, nor 1.0."""
    if isinstance(options, range):
        return type(value) is int and value in options
    return any(type(value) is type(option) and value == option for option in options)


def options_hint(value: Any, options: Sequence[Any]) -> str:
    """Return a hint that names the options, led by the one closest to `value`."""
    if isinstance(options, range):
        return f"an integer from {options[0]} to {options[-1]}"
    return did_you_mean(value, map(str, options))


def find_type(kind: type[C], name: str) -> type[C] | None:
    """Return the class of a stem, module or head. Entry points of installed packages are loaded only for
    a name that is not known yet."""
    if name not in kind.registry:
        load_entry_points()
    return kind.registry.get(name)  # type: ignore[return-value]


class UnknownTypeError(NasError):
    """A stem, module or head whose type is not defined by anything that was loaded."""


def type_hint(kind: type[Component], name: object) -> str:
    """Return a hint for a type that is not known."""
    return f"{did_you_mean(name, kind.registry)}\n  one of your own comes with --plugin FILE.py"


@lru_cache(maxsize=8192)
def _text(component: Component) -> str:
    """Return the type and the fields that differ from their defaults. Width and stride are left to the
    text of the network."""
    shown = {k: v for k, v in component.to_dict().items() if k not in ("type", "width", "stride")}
    extras = ", ".join(f"{name}={value}" for name, value in shown.items())
    return f"{component.type_name}({extras})" if extras else component.type_name


def from_dict(kind: type[C], data: Any, *, where: str) -> C:
    """Read the stem, module or head that `to_dict` wrote. NasError names the place of a fault."""
    if not isinstance(data, Mapping) or not isinstance(data.get("type"), str):
        raise NasError("must be an object with a 'type'", where=where)
    settings = {str(key): value for key, value in data.items() if key != "type"}
    cls: Any = find_type(kind, data["type"])
    if cls is None:
        message, hint = f"unknown {kind.__name__.lower()} {data['type']!r}", type_hint(kind, data["type"])
        raise UnknownTypeError(message, where=where, hint=hint)
    hashable = all(isinstance(value, Hashable) for value in settings.values())
    make = _made if hashable else _made.__wrapped__
    try:
        return cast(C, make(cls, **settings))
    except NasError as error:
        raise error.at(where) from None


@lru_cache(maxsize=8192, typed=True)
def _made(cls: Any, /, **settings: Any) -> Component:
    """The networks of a space share their components, so equal ones are made once."""
    known = {item.name: item for item in dataclasses.fields(cls)}
    for field in settings:
        if field not in known:
            hint = did_you_mean(field, known)
            raise NasError(f"unknown field {field!r} of {cls.type_name}", hint=hint)
    for field, item in known.items():
        if item.default is dataclasses.MISSING and field not in settings:
            raise NasError(f"{cls.type_name} needs {field!r}")
    made: Component = cls(**settings)
    return made


def measures(graph: Graph) -> dict[str, tuple[int, int]]:
    """Return the figures of structured fields, the least and the most over all modules of a network."""
    values: dict[str, list[int]] = {}
    for node in graph.nodes.values():
        if isinstance(node.op, Graph) and node.op.module is None:
            for figure, pair in measures(node.op).items():
                values.setdefault(figure, []).extend(pair)
        elif isinstance(node.op, Graph):
            for name, _ in node.op.module.structures():
                for figure, value in getattr(node.op.module, name).measure().items():
                    values.setdefault(figure, []).append(value)
    return {figure: (min(known), max(known)) for figure, known in values.items()}
