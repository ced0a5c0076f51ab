"""Searchers decide which network to evaluate next, given the history of a search.

To add one, write a subclass of `Searcher` in a file of this package and name it in `SEARCHERS` (a
design: in `DESIGNS`). A plug-in
calls `register_searcher` in place of the second step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from nas.errors import NasError, did_you_mean

if TYPE_CHECKING:
    from nas.searchers.base import Searcher, SearcherSettings

Factory = Callable[["SearcherSettings"], "Searcher"]


def _from(module: str, kind: str, *fixed: str) -> Factory:
    """Return a factory that loads its class when it is called: help texts only need the names."""

    def make(settings: SearcherSettings) -> Searcher:
        searcher: Searcher = getattr(import_module(f"nas.searchers.{module}"), kind)(*fixed, settings)
        return searcher

    return make


SAMPLERS = {
    "gp": "GPSampler",
    "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler",
    "random": "RandomSampler",
    "tpe": "TPESampler",
}
"""Classes of `optuna.samplers` by the name that users give them after `optuna:`."""

SEARCHERS: dict[str, Factory] = {
    "hypervolume": _from("hypervolume", "Hypervolume"),
    "evolution": _from("evolution", "Evolution"),
    "random": _from("random", "Random"),
    **{
        f"optuna:{name}": _from("optuna_sampler", "OptunaSearcher", name, SAMPLERS[name]) for name in SAMPLERS
    },
}
"""The searchers that look for the best networks, by the name that users give them, with what makes each."""

DESIGNS: dict[str, Factory] = {
    "balanced": _from("designs.balanced", "Balanced"),
    "paired": _from("designs.paired", "Paired"),
}
"""The searchers that plan a sample to compare module types, and optimise nothing."""

UNSUPPORTED = dict.fromkeys(
    ("optuna:cmaes", "optuna:qmc"),
    f"it samples numbers, and every decision here is a category; try {', '.join(SAMPLERS)}",
)
"""Why some searchers do not exist, by the name that users may try."""


def register_searcher(name: str, factory: Factory) -> None:
    """Add a searcher of a plug-in. NasError if the name is taken."""
    if name in SEARCHERS or name in DESIGNS:
        raise NasError(f"a searcher {name!r} exists already", where="searcher", hint="choose another name")
    SEARCHERS[name] = factory


def searcher_names() -> list[str]:
    """Return the names of the searchers that look for the best networks."""
    return list(SEARCHERS)


def design_names() -> list[str]:
    """Return the names of the searchers that plan a sample to compare module types."""
    return list(DESIGNS)


def make_searcher(name: str, objectives: Sequence[str], repeats: int | None = None) -> Searcher:
    """Return a new searcher; NasError with the known names if there is none of this name.

    objectives: what to minimise. repeats: training seeds of each network of a paired design.
    """
    from nas.searchers.base import REPEATS, SearcherSettings
    from nas.study.objectives import check_objectives

    settings = SearcherSettings(check_objectives(objectives), repeats or REPEATS)
    factories = SEARCHERS | DESIGNS
    if name in factories:
        return factories[name](settings)
    if name in UNSUPPORTED:
        raise NasError(f"{name} cannot search architectures", where="searcher", hint=UNSUPPORTED[name])
    raise NasError(f"unknown searcher {name!r}", where="searcher", hint=did_you_mean(name, factories))
