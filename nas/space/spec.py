"""Schema of search-space files, checked before anything is built from them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from nas.errors import NasError, did_you_mean
from nas.graph.graph import shape_text
from nas.graph.ops import MAX_SIZE
from nas.modules import Component, Head, Module, Stem
from nas.modules.base import find_type, is_option, options_hint, type_hint
from nas.space.genotype import JOINS
from nas.space.yaml_loader import Document, Path, load_yaml

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
FROM_SKELETON = ("width", "stride")
EMPTY = "is an empty list; give a value, or a list of the values to search"
LIMITED = ("flops", "params", "depth")
AUTO = "auto"
"""Stride of a stem that follows from the size of the images."""
MAX_BLOCKS = 192
"""Most blocks of a network: with more, the number of genotypes has more digits than Python prints."""


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _number(value: Any) -> Any:
    """`40M` is 40,000,000, as are `4e7` and `4.0e+7`."""
    form = r"(\d{1,18}(?:\.\d{1,18})?(?:[eE]\+?\d\d?)?)([kMGT]?)"
    match = re.fullmatch(form, str(value)) if type(value) is not bool else None
    if not match:
        raise ValueError("must be a number, as in 250k, 40M or 1.5G")
    number = round(float(match[1]) * UNITS[match[2]])
    if number >= 2**63:
        raise ValueError("must be less than 2^63")
    return number


def _shape(value: Any) -> Any:
    match = re.fullmatch(r"(\d{1,18})x(\d{1,18})x(\d{1,18})", str(value))
    if not match:
        raise ValueError("must be CHANNELSxHEIGHTxWIDTH, as in 3x32x32")
    return tuple(map(int, match.groups()))


def _area(value: Any) -> Any:
    match = re.fullmatch(r"(\d{1,18})x(\d{1,18})", str(value))
    if not match:
        raise ValueError("must be HEIGHTxWIDTH, as in 32x32")
    return tuple(map(int, match.groups()))


Size = Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)]
Sizes = Annotated[list[Size], BeforeValidator(_listed), Field(min_length=1, max_length=64)]
Depths = Annotated[
    list[Annotated[int, Field(strict=True, ge=1, le=64)]], BeforeValidator(_listed), Field(min_length=1)
]
Number = Annotated[int, BeforeValidator(_number)]
Shape = Annotated[tuple[Size, Size, Size], BeforeValidator(_shape), PlainSerializer(shape_text)]
Area = Annotated[tuple[Size, Size], BeforeValidator(_area), PlainSerializer(shape_text)]
Modules = dict[str, dict[str, Any]]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Spec):
    """Bounds of a figure. at: height and width of the images for which they are given; for larger ones they
    grow with the pixels that stage 1 takes."""

    min: Number | None = None
    max: Number | None = None
    at: Area | None = None

    def bounds(self) -> dict[str, int]:
        """Return the bounds that are given, by `min` and `max`."""
        given = {"min": self.min, "max": self.max}
        return {kind: figure for kind, figure in given.items() if figure is not None}

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


class Skips(_Spec):
    join: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]


class Stage(_Spec):
    depth: Depths
    width: Sizes
    stride: Sizes = [1]
    modules: Modules | list[str] | None = None
    skips: Skips | None = None


class SpaceSpec(_Spec):
    """Search-space file. A single value is fixed, a list is searched.

    vary: scope in which one module type is chosen: every block, every stage, or the network.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    description: str = ""
    input: Shape = (3, 32, 32)
    classes: Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)] = 10
    vary: Literal["block", "stage", "network"] = "block"
    stem: dict[str, Any] = {"type": "conv", "width": 16}
    modules: Modules | list[str] = []
    stages: Annotated[list[Stage], Field(min_length=1, max_length=16)]
    head: dict[str, Any] = {"type": "pool"}
    constraints: dict[str, Limits] = {}

    def stage_modules(self, at: int) -> Modules:
        """Return the settings of each module type that stage `at` may use."""
        return _as_mapping(self.stages[at].modules or self.modules)


def parse_spec(text: str, where: str) -> SpaceSpec:
    """Read a search-space file; NasError names file, line, key path and the nearest known name."""
    document = load_yaml(text, where)
    if not isinstance(document.data, dict):
        raise NasError("must be a mapping with name and stages", where=where)
    try:
        spec = SpaceSpec.model_validate(document.data)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        raise _located(document, where, _in_file(first["loc"], document), *_explain(first)) from None
    for path, message, hint in _problems(spec):
        raise _located(document, where, path, message, hint)
    return spec


def spec_text(spec: SpaceSpec) -> str:
    """Return a file that `parse_spec` reads as this specification."""
    data = {
        **spec.model_dump(exclude_defaults=True),
        "input": shape_text(spec.input),
        "classes": spec.classes,
    }
    return str(yaml.safe_dump(data, sort_keys=False))


def options_of(value: Any, chosen: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the options of a setting: a value, a list, or `{by: FIELD, VALUE: options, …}`."""
    if isinstance(value, Mapping):
        value = value[chosen[value["by"]]]
    return tuple(value) if isinstance(value, list) else (value,)


def _as_mapping(modules: Modules | list[str]) -> Modules:
    return {name: {} for name in modules} if isinstance(modules, list) else modules


def _problems(spec: SpaceSpec) -> Iterator[tuple[Path, str, str]]:
    """Yield faults that the types of the file cannot express: names, options and dependencies."""
    yield from _component_problems(Stem, spec.stem, ("stem",))
    yield from _component_problems(Head, spec.head, ("head",))
    skips = _listed(spec.head.get("skips", 0))
    if all(type(skip) is int for skip in skips) and max(skips, default=0) >= len(spec.stages):
        yield ("head", "skips"), f"{max(skips)} skips need {max(skips)} stages before the last", ""
    yield from _module_problems(spec.modules, ("modules",))
    blocks = sum(max(stage.depth) for stage in spec.stages)
    if blocks > MAX_BLOCKS:
        yield ("stages",), f"up to {blocks} blocks, more than {MAX_BLOCKS}", ""
    for name in spec.constraints:
        if name not in LIMITED:
            yield ("constraints", name), f"unknown limit {name!r}", did_you_mean(name, LIMITED)
        elif spec.constraints[name].at is not None and name != "flops":
            yield ("constraints", name, "at"), "only FLOPs grow with the images", ""
    for i, stage in enumerate(spec.stages):
        for join in stage.skips.join if stage.skips else ():
            if join not in JOINS:
                yield ("stages", i, "skips", "join"), f"unknown join {join!r}", did_you_mean(join, JOINS)
        if stage.skips and len(set(stage.skips.join)) < len(stage.skips.join):
            yield ("stages", i, "skips", "join"), "an option is listed twice", ""
        if stage.modules and spec.vary == "network":
            hint = "with vary: network, list the modules at the top of the file"
            yield ("stages", i, "modules"), "one type for the network, but modules for a stage", hint
        if stage.modules:
            yield from _module_problems(stage.modules, ("stages", i, "modules"))
        elif not spec.modules:
            yield ("stages", i), "needs modules, here or at the top of the file", ""
        for key in ("depth", "width", "stride"):
            options = getattr(stage, key)
            if len(set(options)) < len(options):
                yield ("stages", i, key), "an option is listed twice", ""


def _module_problems(modules: Modules | list[str], path: Path) -> Iterator[tuple[Path, str, str]]:
    for name, settings in _as_mapping(modules).items():
        place = path if isinstance(modules, list) else (*path, name)
        cls = find_type(Module, name)
        if cls is None:
            yield path, f"unknown module {name!r}", type_hint(Module, name)
            continue
        for key in settings:
            if key in FROM_SKELETON:
                yield (*place, key), f"{key} belongs to the stage, so that types share a shape", ""
        yield from _setting_problems(cls, settings, place)


def _component_problems(
    kind: type[Component], data: dict[str, Any], path: Path
) -> Iterator[tuple[Path, str, str]]:
    name = data.get("type")
    cls = find_type(kind, name) if isinstance(name, str) else None
    if cls is None:
        kind_name = kind.__name__.lower()
        yield (*path, "type"), f"unknown {kind_name} {name!r}", type_hint(kind, name)
        return
    settings = {key: value for key, value in data.items() if key != "type"}
    if kind is Stem and settings.get("stride") == AUTO:
        del settings["stride"]
        yield from _auto_problems(cls, settings, path)
    yield from _setting_problems(cls, settings, path)
    if kind is Stem and "width" not in settings:
        yield path, "needs a width", ""


def _auto_problems(cls: Any, settings: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str, str]]:
    if not cls.reductions:
        yield (*path, "stride"), f"{cls.type_name} has no reductions, so its stride must be a number", ""
    elif "pool" in settings:
        yield (*path, "pool"), "follows from the images with stride: auto", "leave out the one or the other"


def _setting_problems(
    cls: type[Component], settings: Mapping[str, Any], path: Path
) -> Iterator[tuple[Path, str, str]]:
    known = [item.name for item in fields(cls)]
    seen: list[str] = []
    for key, value in settings.items():
        place = (*path, key)
        if key not in known:
            yield place, f"unknown field {key!r} of {cls.type_name}", did_you_mean(key, known)
            continue
        if isinstance(value, Mapping):
            if value.get("by") not in seen:
                hint = "`by` must name a field listed above it in the same module"
                yield place, f"{value.get('by')!r} is not known here", hint
            branches = [options for branch, options in value.items() if branch != "by"]
            missing = [option for option in _possible(settings[value["by"]]) if option not in value]
            if missing:
                yield place, f"has no options for {value['by']} {missing[0]!r}", ""
        else:
            branches = [value]
        for options in branches:
            yield from _option_problems(cls, key, _listed(options), place)
        seen.append(key)


def _possible(value: Any) -> list[Any]:
    """Return every option that a setting can have."""
    if not isinstance(value, Mapping):
        return list(_listed(value))
    return [option for branch, options in value.items() if branch != "by" for option in _listed(options)]


def _option_problems(
    cls: type[Component], key: str, options: Sequence[Any], place: Path
) -> Iterator[tuple[Path, str, str]]:
    if not options:
        yield place, EMPTY, ""
        return
    if any(isinstance(o, list | dict) for o in options) or len(set(options)) < len(options):
        yield place, "must be a value or a list of different values", ""
        return
    declared = dict(cls.choices()).get(key)
    low, high = cls.bounds.get(key, (1, MAX_SIZE))
    for option in options:
        if declared is not None and not is_option(option, declared):
            yield place, f"{option!r} is not an option of {key}", options_hint(option, declared)
        elif declared is None and (type(option) is not int or not low <= option <= high):
            yield place, f"must be an integer from {low} to {high}, not {option!r}", ""


def _in_file(location: tuple[int | str, ...], document: Document) -> Path:
    """Return a location of pydantic without its marks of types, which are not in the file."""
    path: Path = ()
    for part in location:
        if (*path, part) in document.lines:
            path = (*path, part)
    unknown = location[-1] if location and location[-1] not in path else None
    return (*path, unknown) if isinstance(unknown, str) and unknown.isidentifier() else path


def _explain(error: Any) -> tuple[str, str]:
    """Return message and hint for a pydantic error."""
    name = error["loc"][-1] if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        parent: type[BaseModel] = SpaceSpec
        if error["loc"][0] == "stages" and len(error["loc"]) > 2:
            parent = Skips if "skips" in error["loc"][:-1] else Stage
        elif error["loc"][0] == "constraints" and len(error["loc"]) > 2:
            parent = Limits
        return f"unknown key {name!r}", did_you_mean(name, parent.model_fields)
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "literal_error":
        expected = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return f"unknown value {error['input']!r}", did_you_mean(error["input"], expected)
    if error["type"] == "missing":
        return f"needs {name!r}", ""
    if error["type"] == "too_short":
        return EMPTY, ""
    return message[0].lower() + message[1:] + f", not {error['input']!r}"[:80], ""


def _located(document: Document, where: str, path: Path, message: str, hint: str) -> NasError:
    keys = ""
    for part in path:
        keys += f"[{part}]" if isinstance(part, int) else f".{part}" if keys else str(part)
    place = f"{where}:{document.line(path)}"
    return NasError(message, where=f"{place}: {keys}" if keys else place, hint=hint)
