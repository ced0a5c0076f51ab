"""Searchers: what to evaluate next, given what is known."""

from __future__ import annotations

from collections.abc import Sequence

from nas.errors import NasError, did_you_mean
from nas.searchers.base import Searcher, propose
from nas.searchers.designs.balanced import Balanced
from nas.searchers.designs.base import Design
from nas.searchers.designs.paired import Paired
from nas.searchers.evolution import Evolution
from nas.searchers.optuna_sampler import SAMPLERS, OptunaSearcher
from nas.searchers.random import Random
from nas.study.objectives import check_objectives

__all__ = ["REPEATS", "Design", "Searcher", "design_names", "make_searcher", "propose", "searcher_names"]

PREFIX = "optuna:"
REPEATS = 2


def searcher_names() -> list[str]:
    return ["evolution", "random", *(f"{PREFIX}{name}" for name in SAMPLERS)]


def design_names() -> list[str]:
    """Searchers that plan a sample to compare module types, and optimise nothing."""
    return ["balanced", "paired"]


def make_searcher(name: str, objectives: Sequence[str], repeats: int = REPEATS) -> Searcher | Design:
    """A searcher by name; NasError with the known names if there is none. `repeats` are the
    training seeds of each network of a paired design."""
    objectives = check_objectives(objectives)
    if name == "random":
        return Random()
    if name == "evolution":
        return Evolution(objectives)
    if name == "balanced":
        return Balanced()
    if name == "paired":
        return Paired(repeats)
    if name.startswith(PREFIX):
        return OptunaSearcher(name.removeprefix(PREFIX), objectives)
    known = [*searcher_names(), *design_names()]
    raise NasError(f"unknown searcher {name!r}", where="searcher", hint=did_you_mean(name, known))
