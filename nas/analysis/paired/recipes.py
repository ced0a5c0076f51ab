"""Module types under several recipes: whether an effect is that of a type, or of a learning rate and
a weight decay that suit one type more than the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.analysis.paired.blocks import mean_of
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.paired_means import paired_means
from nas.stats.resampling import Floats

if TYPE_CHECKING:
    import pandas as pd

Recipe = tuple[float, float]
"""Learning rate and weight decay."""

SIDE = 3
"""Learning rates, and weight decays, of the smallest grid: an optimum at the edge of a grid says that the
best recipe may lie beyond it, and a smaller grid is all edge."""


MAX_LOST = 0.1
"""Share of the contexts in which a type may fail with a recipe that is still called the best for it."""


@dataclass(frozen=True)
class Tuned:
    """Two types, each with the recipe of a grid that suits it best, over the `contexts` in which both were
    trained with all `recipes` of the grid. `errors` are mean errors with the `best` recipes, `untuned` those
    with the recipe of the study, `effect` is the change of error from a to b with the best ones, `change`
    how far that is from the effect with the recipe of the study, and `at_edge` names the types whose best
    recipe lies at the edge of the grid. A recipe with which a type failed in
    more than a tenth of the contexts is not the best."""

    contexts: int = 0
    recipes: tuple[Recipe, ...] = ()
    best: Mapping[str, Recipe] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    untuned: Mapping[str, float] = field(default_factory=dict)
    effect: Estimate = UNKNOWN
    change: Estimate = UNKNOWN
    at_edge: tuple[str, ...] = ()


UNTUNED = Tuned()


def tune(
    errors: Mapping[Recipe, Mapping[str, float]],
    usual: Recipe,
    networks: NDArray[np.str_],
    pair: tuple[str, str],
    rng: np.random.Generator,
) -> Tuned:
    """Compare two types, each with the recipe that suits it best.

    Args:
        errors: Error of each network by its digest, for each recipe; NaN where a training failed.
        usual: Recipe of the study, which wins where two are equally good.
        networks: Digests of the networks of both types in each context, (contexts, 2).
        pair: Names of the two types.
    """
    grid = _grid(recipe for recipe, known in errors.items() if not known.keys().isdisjoint(networks.flat))
    if not grid:
        return UNTUNED
    tried = np.array([all(d in errors[recipe] for recipe in grid for d in row) for row in networks], bool)
    if not tried.any():
        return UNTUNED
    table = np.array([[[errors[r][d] for d in row] for row in networks[tried]] for r in grid])
    lost = np.isnan(table).mean(axis=1)
    means = np.where(lost <= MAX_LOST, mean_of(table, 1), np.nan)
    best: dict[str, int] = {}
    for k, name in enumerate(pair):
        trained = [at for at in range(len(grid)) if isfinite(means[at, k])]
        if trained:
            best[name] = min(trained, key=lambda at: (means[at, k], grid[at] != usual))
    effect, change = _effects(table, [best.get(name) for name in pair], grid, usual, rng)
    return Tuned(
        contexts=int(tried.sum()),
        recipes=grid,
        best={name: grid[at] for name, at in best.items()},
        errors={name: float(means[at, pair.index(name)]) for name, at in best.items()},
        untuned={
            name: float(means[grid.index(usual), pair.index(name)]) if usual in grid else nan for name in best
        },
        effect=effect,
        change=change,
        at_edge=tuple(name for name, at in best.items() if _at_edge(grid[at], grid)),
    )


def _effects(
    table: Floats, best: list[int | None], grid: tuple[Recipe, ...], usual: Recipe, rng: np.random.Generator
) -> tuple[Estimate, Estimate]:
    """The effect with the best recipes, and how far it is from that with the usual one."""
    a, b = best
    if a is None or b is None:
        return UNKNOWN, UNKNOWN
    tuned = table[b, :, 1] - table[a, :, 0]
    plain = table[grid.index(usual)] if usual in grid else np.full(table.shape[1:], np.nan)
    found = paired_means(np.stack([tuned, tuned - (plain[:, 1] - plain[:, 0])], axis=1), 0.0, rng)
    return found.estimate(0), found.estimate(1)


def _grid(recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """The learning rates and weight decays that were crossed completely; () where either are fewer than
    `SIDE`."""
    known = set(recipes)
    sides = [{recipe[at] for recipe in known} for at in (0, 1)]
    while missing := [cell for cell in product(sides[0], sides[1]) if cell not in known]:
        gaps = [(sum(cell[at] == v for cell in missing), at, v) for at in (0, 1) for v in sides[at]]
        _, at, value = max(gaps)
        sides[at].discard(value)
    return tuple(sorted(product(sides[0], sides[1]))) if min(map(len, sides)) >= SIDE else ()


def _at_edge(recipe: Recipe, grid: tuple[Recipe, ...]) -> bool:
    return any(recipe[at] in (min(c[at] for c in grid), max(c[at] for c in grid)) for at in (0, 1))


def network_errors(trials: pd.DataFrame) -> dict[str, float]:
    """Mean error of each network over its trainings, by digest; NaN where one failed."""
    errors = trials["error"].where(trials["state"] == "complete").astype(float)
    groups = errors.groupby(trials["network_digest" if "network_digest" in trials else "digest"])
    return dict(groups.mean().where(groups.count() == groups.size()))
