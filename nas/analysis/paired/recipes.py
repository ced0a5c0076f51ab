"""Module types under several recipes: whether an effect is that of a type, or of a learning rate and
a weight decay that suit one type more than the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Recipe = tuple[float, float]
"""Learning rate and weight decay."""

GRID = 4
"""Cells of the smallest grid: two learning rates, each with the same two weight decays."""


@dataclass(frozen=True)
class Tuned:
    """Types at equal FLOPs over the `contexts` in which every type was trained on a grid of recipes:
    the recipe of lowest mean error of each, `best`, the mean errors with it, `errors`, and those with
    the recipe of the study, `untuned`. A recipe with which a training failed is not the best."""

    contexts: int = 0
    recipes: tuple[Recipe, ...] = ()
    best: Mapping[str, Recipe] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    untuned: Mapping[str, float] = field(default_factory=dict)

    def effect(self, a: str, b: str) -> float:
        """Error of b less that of a, each with the recipe that suits it; NaN where unknown."""
        return self.errors.get(b, nan) - self.errors.get(a, nan)


UNTUNED = Tuned()


def tune(trials: pd.DataFrame, recipes: Mapping[Recipe, pd.DataFrame], usual: Recipe) -> Tuned:
    """What trainings of the networks of paired blocks, `trials`, with other recipes say; `recipes` hold
    those of the study too, under its recipe, `usual`."""
    if not is_grid(recipes):
        return UNTUNED
    errors = {recipe: _errors(frame) for recipe, frame in recipes.items()}
    found = _networks(trials)
    kinds = sorted(set().union(*found.values()))
    contexts, common = [], set(errors)
    for networks in (each for each in found.values() if len(each) == len(kinds)):
        tried = {recipe for recipe, known in errors.items() if known.keys() >= set(networks.values())}
        if is_grid(tried):
            contexts.append(networks)
            common &= tried
    if not contexts:
        return UNTUNED
    shared = tuple(sorted(common))
    mean = {
        (kind, recipe): sum(errors[recipe][networks[kind]] for networks in contexts) / len(contexts)
        for kind in kinds
        for recipe in shared
    }
    best = {}
    for kind in kinds:
        trained = [recipe for recipe in shared if isfinite(mean[kind, recipe])]
        if trained:
            best[kind] = min(trained, key=lambda recipe: (mean[kind, recipe], recipe != usual))
    return Tuned(
        len(contexts),
        shared,
        best,
        {kind: mean[kind, recipe] for kind, recipe in best.items()},
        {kind: mean.get((kind, usual), nan) for kind in best},
    )


def is_grid(recipes: Iterable[Recipe]) -> bool:
    """Whether two learning rates at least were tried, each with the same two weight decays at least."""
    decays: dict[float, set[float]] = defaultdict(set)
    for rate, decay in recipes:
        decays[rate].add(decay)
    return any(len(a & b) > 1 for a, b in combinations(decays.values(), 2))


def _networks(trials: pd.DataFrame) -> dict[Any, dict[str, str]]:
    """The digest of each type's network at equal FLOPs, by context."""
    found: dict[Any, dict[str, str]] = defaultdict(dict)
    for digest, run, design in zip(trials["digest"], trials["run"], trials["design"], strict=True):
        if "equal_flops" in design.get("arms", ()):
            found[run, design["context"]][design["type"]] = digest
    return found


def _errors(trials: pd.DataFrame) -> dict[str, float]:
    """Mean error of each network over its trainings; NaN where one failed."""
    errors = trials["error"].where(trials["state"] == "complete").astype(float)
    groups = errors.groupby(trials["digest"])
    return dict(groups.mean().where(groups.count() == groups.size()))
