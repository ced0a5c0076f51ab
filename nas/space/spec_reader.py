"""Reader of search-space files: what the types of `SpaceSpec` cannot express is checked here, and every fault
names file, line, key path and the nearest known name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pydantic import BaseModel, ValidationError

from nas.errors import NasError, did_you_mean
from nas.graph.ops import MAX_SIZE
from nas.modules import Component, Head, Module, Stem
from nas.modules.base import find_type, is_option, options_hint, type_hint
from nas.modules.structure import Structure
from nas.recipe import check_option
from nas.space.genotype import JOINS
from nas.space.spec import AUTO, FIRST_SKIP, Limits, Modules, Skips, SpaceSpec, Stage, as_mapping, listed
from nas.space.yaml_loader import Document, Path, load_yaml

FROM_SKELETON = ("width", "stride")
LIMITED = ("flops", "params", "depth")
"""Figures of every network. Those of structured fields can be limited where a module type has them."""
EMPTY = "is an empty list; give a value, or a list of the values to search"
DIFFERENT = "must be a value or a list of different values"
MAX_BLOCKS = 192
"""Most blocks of a network: with more, the number of genotypes has more digits than Python prints."""


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


def recipe_names(text: str) -> list[str]:
    """Return the fields of the recipe that a space file names, also where its module types are unknown here;
    [] for a text that is no such file."""
    try:
        data = load_yaml(text, "").data
    except NasError:
        return []
    recipe = data.get("recipe") if isinstance(data, dict) else None
    return [str(name) for name in recipe] if isinstance(recipe, dict) else []


def _problems(spec: SpaceSpec) -> Iterator[tuple[Path, str, str]]:
    """Yield faults that the types of the file cannot express: names, options and dependencies."""
    if spec.stem:
        yield from _component_problems(Stem, spec.stem, ("stem",))
    yield from _component_problems(Head, spec.head, ("head",))
    skips = listed(spec.head.get("skips", 0))
    if all(type(skip) is int for skip in skips) and max(skips, default=0) >= len(spec.stages):
        yield ("head", "skips"), f"{max(skips)} skips need {max(skips)} stages before the last", ""
    yield from _module_problems(spec.modules, ("modules",))
    blocks = sum(max(stage.depth) for stage in spec.stages)
    if blocks > MAX_BLOCKS:
        yield ("stages",), f"up to {blocks} blocks, more than {MAX_BLOCKS}", ""
    limited = [*LIMITED, *structure_figures(spec)]
    for name in spec.constraints:
        if name not in limited:
            yield ("constraints", name), f"unknown limit {name!r}", did_you_mean(name, limited)
        elif spec.constraints[name].at is not None and name != "flops":
            yield ("constraints", name, "at"), "only FLOPs grow with the images", ""
        elif spec.constraints[name].min is None and spec.constraints[name].max is None:
            yield ("constraints", name), "needs min or max", ""
    for i, stage in enumerate(spec.stages):
        for join in stage.skips.join if stage.skips else ():
            if join not in JOINS:
                yield ("stages", i, "skips", "join"), f"unknown join {join!r}", did_you_mean(join, JOINS)
        if stage.skips and max(stage.depth) < FIRST_SKIP:
            message = f"a skip ends at block {FIRST_SKIP} or later, and the stage has {max(stage.depth)}"
            yield ("stages", i, "skips"), message, ""
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
    yield from _recipe_problems(spec)


def _recipe_problems(spec: SpaceSpec) -> Iterator[tuple[Path, str, str]]:
    types = spec.stage_modules(0)
    if spec.recipe and "recipe" in types:
        yield ("modules",), "a module type is called recipe, as the recipe that the space searches is", ""
    for name, value in spec.recipe.items():
        place, branches = ("recipe", name), {"": value}
        if isinstance(value, Mapping):
            if value.get("by") != "type":
                yield place, "may depend on the module type alone", "write {by: type, TYPE: options, …}"
            elif spec.vary != "network":
                hint = "vary: network lets each network have one type"
                yield place, "depends on the module type, and networks may hold several", hint
            branches = {kind: options for kind, options in value.items() if kind != "by"}
            if missing := [kind for kind in types if kind not in branches]:
                yield place, f"has no options for the module type {missing[0]!r}", ""
        for kind, options in branches.items():
            below = (*place, kind) if kind else place
            if kind and kind not in types:
                yield below, f"unknown module {kind!r}", did_you_mean(kind, types)
            for message, hint in _field_problems(name, listed(options)):
                yield below, message, hint


def _field_problems(name: str, options: Sequence[Any]) -> Iterator[tuple[str, str]]:
    if not options:
        yield EMPTY, ""
    elif any(isinstance(option, list | dict) for option in options) or len(set(options)) < len(options):
        yield DIFFERENT, ""
    for option in options:
        try:
            check_option(name, option)
        except NasError as error:
            yield error.message, error.hint


def structure_figures(spec: SpaceSpec) -> list[str]:
    """Return the figures of the structured fields of the module types."""
    names = [name for i in range(len(spec.stages)) for name in spec.stage_modules(i)]
    kinds = [cls for name in names if (cls := find_type(Module, name))]
    return list(dict.fromkeys(name for cls in kinds for _, kind in cls.structures() for name in kind.figures))


def _module_problems(modules: Modules | list[str], path: Path) -> Iterator[tuple[Path, str, str]]:
    for name, settings in as_mapping(modules).items():
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
        if kind := dict(cls.structures()).get(key):
            yield from _structure_problems(kind, value, place)
            continue
        if isinstance(value, Mapping):
            if value.get("by") not in seen:
                hint = "`by` must name a field listed above it in the same module"
                yield place, f"{value.get('by')!r} is not known here", hint
            branches = [options for branch, options in value.items() if branch != "by"]
            possible = _possible(settings[value["by"]])
            missing = [option for option in possible if option not in value]
            if missing:
                yield place, f"has no options for {value['by']} {missing[0]!r}", ""
            if idle := [branch for branch in value if branch != "by" and branch not in possible]:
                yield place, f"{value['by']} is never {idle[0]!r}", ""
        else:
            branches = [value]
        for options in branches:
            yield from _option_problems(cls, key, listed(options), place)
        seen.append(key)


def _structure_problems(kind: type[Structure], value: Any, place: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield faults of a structured field: its options by key, or the texts of its values."""
    if not isinstance(value, Mapping):
        texts = listed(value)
        if not texts or len(set(map(str, texts))) < len(texts):
            yield place, "must be a text or a list of different texts" if texts else EMPTY, ""
        for text in texts:
            try:
                kind.read(text)
            except NasError as error:
                yield place, error.message, error.hint
        return
    for key in value:
        if key not in kind.keys:
            yield (*place, key), f"unknown key {key!r}", did_you_mean(key, kind.keys)
    missing = [repr(key) for key in kind.keys if key not in value and key not in kind.optional]
    if missing:
        yield place, f"needs {', '.join(missing)}", ""
    if problem := kind.problem(value):
        yield place, problem, ""
    for key, options in kind.keys.items():
        if key not in value:
            continue
        chosen = listed(value[key])
        if not chosen or any(isinstance(o, list | dict) for o in chosen) or len(set(chosen)) < len(chosen):
            yield (*place, key), "must be a value or a list of different values" if chosen else EMPTY, ""
            continue
        for option in chosen:
            if not is_option(option, options):
                yield (*place, key), f"{option!r} is not an option of {key}", options_hint(option, options)


def _possible(value: Any) -> list[Any]:
    """Return every option that a setting can have."""
    if not isinstance(value, Mapping):
        return list(listed(value))
    return [option for branch, options in value.items() if branch != "by" for option in listed(options)]


def _option_problems(
    cls: type[Component], key: str, options: Sequence[Any], place: Path
) -> Iterator[tuple[Path, str, str]]:
    if not options:
        yield place, EMPTY, ""
        return
    if any(isinstance(o, list | dict) for o in options) or len(set(options)) < len(options):
        yield place, DIFFERENT, ""
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
