"""The decisions of networks as factors: what is decided, at which place, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.stats.resampling import Ints

Mask = NDArray[np.bool_]

MOST_LEVELS = 5
"""Most levels of a numeric factor; with more options, neighbours share a level."""

PLACE = re.compile(r"(?:stage\d+\.)?(?:block\d+\.)?")
RECIPE = "recipe"
APART = ("stem", "head", RECIPE)
"""Parts of a network, and the recipe of its training, whose fields are factors of their own."""


@dataclass(frozen=True)
class Decision:
    """The answers of the networks: `level` (n,) counts the `options` seen from 0, -1 where the
    decision did not come up."""

    level: Ints
    options: tuple[Any, ...]

    def rows(self, at: Ints) -> Decision:
        return Decision(self.level[at], self.options)


@dataclass(frozen=True)
class Setting:
    """A factor at one place, "" for the network, else a prefix of paths such as "stage1.block2.";
    `level` (n,) from 0, -1 where the network has none there."""

    place: str
    level: Ints

    def rows(self, at: Ints) -> Setting:
        return Setting(self.place, self.level[at])


def encode(decisions: Sequence[Mapping[str, Any]]) -> dict[str, Decision]:
    """Return the decisions of which at least two options were seen, by path."""
    taken: dict[str, tuple[list[int], list[Any]]] = {}
    for row, chosen in enumerate(decisions):
        for path, value in chosen.items():
            if path not in taken:
                taken[path] = [], []
            rows, values = taken[path]
            rows.append(row)
            values.append(value)
    decided = {}
    for path, (rows, values) in taken.items():
        keys = list(zip(map(type, values), values, strict=True))  # True is not 1
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        if len(number) > 1:
            level = np.full(len(decisions), -1, np.intp)
            level[rows] = [number[key] for key in keys]
            decided[path] = Decision(level, tuple(value for _, value in number))
    return decided


def factor_names(decisions: Mapping[str, Decision]) -> dict[str, str]:
    """Return the factor of each path.

    A field of the recipe is one factor, whichever module type its options depend on. If every network takes
    every decision, each decision is a factor. Otherwise decisions of one name share a factor: the norm of all
    module types, the depth of all stages."""
    if all((decision.level >= 0).all() for decision in decisions.values()):
        return {path: _field(path) if _of_recipe(path) else path for path in decisions}
    return {path: _field(path) for path in decisions}


def settings(decisions: Mapping[str, Decision]) -> dict[str, tuple[Setting, ...]]:
    """Return the settings of each factor, one per place; levels mean the same at all places."""
    names = factor_names(decisions)
    levels = {name: _levels([p for p in names if names[p] == name], decisions) for name in names.values()}
    placed: dict[str, dict[str, Ints]] = {}
    for path, name in names.items():
        place = PLACE.match(path)[0] if name != path else ""  # type: ignore[index]
        at = decisions[path].level
        level = np.where(at >= 0, levels[name][path][at], -1)
        places = placed.setdefault(name, {})
        places[place] = np.maximum(places.get(place, level), level)
    return {
        name: tuple(Setting(place, level) for place, level in places.items())
        for name, places in placed.items()
    }


def _of_recipe(path: str) -> bool:
    return path.partition(".")[0] == RECIPE


def _field(path: str) -> str:
    """Return the field: `norm` for `stage1.block2.residual.norm` and `residual.norm`; `stem.kernel` stays."""
    rest = path[PLACE.match(path).end() :].partition("[")[0]  # type: ignore[union-attr]
    return rest if rest.partition(".")[0] in APART else rest.rpartition(".")[2]


def _levels(paths: Sequence[str], decisions: Mapping[str, Decision]) -> dict[str, Ints]:
    """Return the level of each option, by path of the factor. Numbers that differ between places (widths)
    are ranked among the options of their place; those of a recipe mean the same for all module types."""
    options = {path: decisions[path].options for path in paths}
    numeric = all(isinstance(o, (int, float)) for known in options.values() for o in known)
    if not numeric:
        order = {option: i for i, option in enumerate(dict.fromkeys(o for p in paths for o in options[p]))}
        return {path: np.array([order[o] for o in options[path]], np.intp) for path in paths}
    same = len({frozenset(known) for known in options.values()}) == 1 or _of_recipe(paths[0])
    levels = {}
    for path in paths:
        among = sorted(set().union(*options.values()) if same else options[path])
        ranks = np.searchsorted(among, options[path])
        levels[path] = ranks * MOST_LEVELS // len(among) if len(among) > MOST_LEVELS else ranks
    return levels
