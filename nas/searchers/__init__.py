"""Searchers decide which network to evaluate next, given the history of a search.

To add one, write a subclass of `Searcher` in a file of this package and name it in `SEARCHERS`. A plug-in
calls `register_searcher` in place of the second step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from nas.errors import NasError, did_you_mean
from nas.searchers.base import (
    REPEATS,
    RandomizedSearcher,
    Searcher,
    SearcherSettings,
    propose,
    uniform_proposal,
)
from nas.searchers.designs.balanced import Balanced
from nas.searchers.designs.base import Design
from nas.searchers.designs.paired import Paired
from nas.searchers.evolution import Evolution
from nas.searchers.hypervolume import Hypervolume
from nas.searchers.optuna_sampler import SAMPLERS, UNSUPPORTED, OptunaSearcher
from nas.searchers.random import Random
from nas.study.objectives import check_objectives

__all__ = [
    "REPEATS",
    "SEARCHERS",
    "Design",
    "RandomizedSearcher",
    "Searcher",
    "SearcherSettings",
    "design_names",
    "make_searcher",
    "propose",
    "register_searcher",
    "searcher_names",
    "uniform_proposal",
]

Factory = Callable[[SearcherSettings], Searcher]

SEARCHERS: dict[str, Factory] = {
    "evolution": Evolution,
    "hypervolume": Hypervolume,
    "random": Random,
    **{f"optuna:{sampler}": partial(OptunaSearcher, sampler) for sampler in SAMPLERS},
    "balanced": Balanced,
    "paired": Paired,
}
"""Every searcher by the name that users give it, with the class or function that makes it."""


def register_searcher(name: str, factory: Factory) -> None:
    """Add a searcher of a plug-in. NasError if the name is taken."""
    if name in SEARCHERS:
        raise NasError(f"a searcher {name!r} exists already", where="searcher", hint="choose another name")
    SEARCHERS[name] = factory


def searcher_names() -> list[str]:
    """Return the names of the searchers that look for the best networks."""
    return [name for name in SEARCHERS if name not in design_names()]


def design_names() -> list[str]:
    """Return the names of the searchers that plan a sample to compare module types, and optimise nothing."""
    settings = SearcherSettings(("error",))
    return [name for name, factory in SEARCHERS.items() if factory(settings).plans_every_trial]


def make_searcher(name: str, objectives: Sequence[str], repeats: int = REPEATS) -> Searcher:
    """Return a new searcher; NasError with the known names if there is none of this name.

    objectives: what to minimise. repeats: training seeds of each network of a paired design.
    """
    settings = SearcherSettings(check_objectives(objectives), repeats)
    if name in SEARCHERS:
        return SEARCHERS[name](settings)
    if name in UNSUPPORTED:
        raise NasError(f"{name} cannot search architectures", where="searcher", hint=UNSUPPORTED[name])
    raise NasError(f"unknown searcher {name!r}", where="searcher", hint=did_you_mean(name, SEARCHERS))
