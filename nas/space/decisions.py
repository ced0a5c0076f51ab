"""Program of decisions behind a search space: run, drawn from, and counted."""

from __future__ import annotations

import itertools
import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial
from itertools import pairwise
from math import log, prod
from typing import Any

import numpy as np

from nas.modules import MODULE_TYPES, Component, Head, Stem
from nas.modules.base import field_names
from nas.modules.structure import Weighted
from nas.space.candidate import under
from nas.space.genotype import INPUT_NODE, Genotype, Node
from nas.space.prefix import HopelessError, PrefixCheck
from nas.space.spec import FIRST_SKIP, SpaceSpec, Stage, bounds_of, options_of

Choose = Callable[[str, Sequence[Any]], Any]
NO_SKIP = "none"
RECIPE = "recipe."
"""Prefix of the paths of decisions about the training recipe."""


def build(spec: SpaceSpec, choose: Choose, check: PrefixCheck | None = None) -> Genotype:
    """Run the program; `choose` is asked wherever there are at least two options, `check` sees the blocks so
    far after each of them."""

    def ask(path: str, options: Sequence[Any]) -> Any:
        return options[0] if len(options) == 1 else choose(path, options)

    stem_settings = _settings(_kind(Stem, spec.stem), spec.stem, "stem.", ask) if spec.stem else {}
    stem = None
    nodes: list[Node] = []
    types: dict[str, tuple[str, dict[str, Any]]] = {}  # type and settings chosen in each scope
    for number, stage in enumerate(spec.stages, start=1):
        name = f"stage{number}"
        modules = spec.stage_modules(number - 1)
        depth = ask(f"{name}.depth", stage.depth)
        width, stride = ask(f"{name}.width", stage.width), ask(f"{name}.stride", stage.stride)
        for block in range(1, depth + 1):
            scope = {"block": f"{name}.block{block}.", "stage": f"{name}.", "network": ""}[spec.vary]
            if scope not in types:
                kind = ask(f"{scope}type", tuple(modules))
                types[scope] = kind, _settings(MODULE_TYPES[kind], modules[kind], f"{scope}{kind}.", ask)
            kind, settings = types[scope]
            cls: Any = MODULE_TYPES[kind]
            module = _component(cls, width, stride if block == 1 else 1, **settings)
            inputs, join = _inputs(stage, name, block, nodes, ask)
            nodes.append(Node(f"{name}.block{block}", module, inputs, join))
            stem = stem or (_end(Stem, stem_settings, module) if spec.stem else None)
            if check is not None:
                check(stem, nodes)
    head = _end(Head, _settings(_kind(Head, spec.head), spec.head, "head.", ask), nodes[-1].module)
    ends = [node.name for node, after in pairwise(nodes) if node.stage != after.stage]
    taps = tuple(reversed(ends))[: head.taps]
    genotype = Genotype(stem, tuple(nodes), head, taps)
    decisions = spec.recipe_decisions
    return under(genotype, _recipe(decisions, types, ask)) if decisions else genotype


def replay(known: Mapping[str, Any], rng: np.random.Generator) -> Choose:
    """Return a function that gives a known answer if it is still an option, and draws otherwise."""
    return lambda path, options: known[path] if known.get(path) in options else pick(options, rng)


def pick(options: Sequence[Any], rng: np.random.Generator) -> Any:
    """Draw an option: uniformly, or by the prior of weighted options."""
    if isinstance(options, Weighted):
        return options[min(bisect(options.cumulated, rng.random()), len(options) - 1)]
    return options[int(rng.random() * len(options))]  # not rng.integers, which is slower


def log_share(options: Sequence[Any], option: Any) -> float:
    """Return the log probability, in nats, that `pick` draws an option."""
    if isinstance(options, Weighted):
        return log(options.weights[options.index(option)])
    return -log(len(options))


def domains(spec: SpaceSpec) -> Mapping[str, tuple[Any, ...]]:
    """Return the options of every decision that can come up, by path. They are found by running the program:
    every option of every path is chosen once."""
    options_by_path: dict[str, tuple[Any, ...]] = {}
    waiting: list[dict[str, Any]] = [{}]
    known: dict[str, Any]
    given: dict[str, Any]

    def answer(path: str, options: Sequence[Any]) -> Any:
        if path not in options_by_path:
            options_by_path[path] = options if isinstance(options, tuple) else tuple(options)
            waiting.extend({**given, path: option} for option in options[:-1])
        given[path] = known.get(path, options[-1])
        return given[path]

    while waiting:
        known, given = waiting.pop(), {}
        build(spec, answer)
    return {path: options_by_path[path] for path in sorted(options_by_path, key=natural)}


def every_genotype(spec: SpaceSpec, check: PrefixCheck | None = None) -> Iterator[Genotype]:
    """Yield every genotype, the first options first, whatever the constraints; without those whose first
    blocks fail the `check`."""
    asked: list[tuple[int, int]] = []  # which option of how many, decision by decision

    def answer(_: str, options: Sequence[Any]) -> Any:
        i = next(position)
        if i == len(asked):
            asked.append((0, len(options)))
        return options[asked[i][0]]

    while True:
        position = itertools.count()
        with suppress(HopelessError):
            yield build(spec, answer, check)
        while asked and asked[-1][0] + 1 == asked[-1][1]:
            asked.pop()
        if not asked:
            return
        asked[-1] = (asked[-1][0] + 1, asked[-1][1])


def count(spec: SpaceSpec) -> int:
    """Count the different sequences of answers that the program takes, constraints aside."""
    total = _count_settings(_kind(Stem, spec.stem), spec.stem) if spec.stem else 1
    total *= _count_settings(_kind(Head, spec.head), spec.head)
    if spec.vary == "network":
        modules = spec.stage_modules(0)
        total *= sum(
            _count_settings(MODULE_TYPES[kind], settings) * count_recipes(spec, kind)
            for kind, settings in modules.items()
        )
    else:
        total *= count_recipes(spec)
    for i, stage in enumerate(spec.stages):
        types = _count_types(spec.stage_modules(i))
        shapes = len(stage.width) * len(stage.stride) * (types if spec.vary == "stage" else 1)
        per_block = types if spec.vary == "block" else 1
        total *= shapes * sum(per_block**depth * _count_skips(stage, depth) for depth in stage.depth)
    return total


def _kind(kind: type[Component], data: Mapping[str, Any]) -> type[Component]:
    return kind.registry[data["type"]]


def _settings(cls: type[Component], settings: Mapping[str, Any], prefix: str, ask: Choose) -> dict[str, Any]:
    """Ask for the fields of a component. The path of a dependent field names the field that it depends on,
    those of a structured field begin with its name."""
    chosen: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "type":
            chosen[key] = value
            continue
        if bounds := bounds_of(cls, key, value):
            kind = dict(cls.structures())[key]
            chosen[key] = kind.build(bounds, partial(_ask_inside, ask, f"{prefix}{key}."))
            continue
        by = f"[{value['by']}={chosen[value['by']]}]" if isinstance(value, Mapping) else ""
        chosen[key] = ask(f"{prefix}{key}{by}", options_of(value, chosen))
    return chosen


def _ask_inside(ask: Choose, prefix: str, path: str, options: Sequence[Any]) -> Any:
    return ask(prefix + path, options)


def _recipe(
    decisions: Mapping[str, Any], types: Mapping[str, tuple[str, dict[str, Any]]], ask: Choose
) -> dict[str, Any]:
    """Ask for the fields of the recipe. The path of one that depends on the module type names the type."""
    chosen = {"type": types[""][0]} if "" in types else {}
    fields: dict[str, Any] = {}
    for name, value in decisions.items():
        by = f"[type={chosen['type']}]" if isinstance(value, Mapping) else ""
        fields[name] = ask(f"{RECIPE}{name}{by}", options_of(value, chosen))
    return fields


def _inputs(
    stage: Stage, name: str, block: int, nodes: list[Node], ask: Choose
) -> tuple[tuple[str, ...], str]:
    """Return the inputs of a block, the one before and with skips perhaps an earlier one, and their join."""
    before = nodes[-1].name if nodes else INPUT_NODE
    if not stage.skips or block < FIRST_SKIP:
        return (before,), "add"
    earlier = tuple(f"block{i}" for i in range(1, block - 1))
    skip = ask(f"{name}.block{block}.skip", (NO_SKIP, *earlier))
    if skip == NO_SKIP:
        return (before,), "add"
    return (before, f"{name}.{skip}"), ask(f"{name}.block{block}.join", stage.skips.join)


def _end(kind: type[Component], settings: dict[str, Any], neighbour: Any) -> Any:
    """Return a stem or head. Unless its norm is set, it is that of the module next to it."""
    cls: Any = kind.registry[settings.pop("type")]
    if "norm" in field_names(cls):
        settings.setdefault("norm", getattr(neighbour, "norm", "after_conv"))
    return _component(cls, **settings)


@lru_cache(maxsize=8192, typed=True)
def _component(cls: type[Component], *values: Any, **settings: Any) -> Any:
    """Return a component, made and checked once, because the same few are asked for all the time."""
    return cls(*values, **settings)


def _count_settings(cls: type[Component], settings: Mapping[str, Any]) -> int:
    """Count the settings; the count is shared by all choices that leave the same options to later fields."""
    items = list(settings.items())

    def needed(i: int) -> set[str]:
        return {value["by"] for _, value in items[i:] if isinstance(value, Mapping) and "by" in value}

    @cache
    def along(i: int, chosen: tuple[tuple[str, Any], ...]) -> int:
        if i == len(items):
            return 1
        (key, value), later = items[i], needed(i + 1)
        if bounds := bounds_of(cls, key, value):
            return dict(cls.structures())[key].count(bounds) * along(i + 1, chosen)
        options = options_of(value, dict(chosen))
        still_needed = tuple(pair for pair in chosen if pair[0] in later)
        if key not in later:
            return len(options) * along(i + 1, still_needed)
        return sum(along(i + 1, (*still_needed, (key, option))) for option in options)

    return along(0, ())


def _count_types(modules: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(_count_settings(MODULE_TYPES[name], settings) for name, settings in modules.items())


def count_recipes(spec: SpaceSpec, kind: str = "") -> int:
    """Count the recipes under which a network, all of one module type if `kind` names it, may be trained."""
    return prod(len(options_of(value, {"type": kind})) for value in spec.recipe.values())


def _count_skips(stage: Stage, depth: int) -> int:
    if not stage.skips:
        return 1
    return prod(1 + (block - 2) * len(stage.skips.join) for block in range(3, depth + 1))


def natural(path: str) -> list[tuple[str, int]]:
    """Return a sort key that puts block10 after block9."""
    return [(word, int(number or 0)) for word, number in re.findall(r"(\D+)(\d*)", path)]
