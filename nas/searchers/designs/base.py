"""Designs: searchers that plan a sample to compare module types, without looking at results.

A network of a design has one module type in all its blocks.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from nas.errors import NasError
from nas.modules import MODULE_TYPES
from nas.modules.structure import Weighted
from nas.schedulers import Scheduler
from nas.searchers.base import Searcher
from nas.space.spec import options_of
from nas.study.history import History
from nas.study.trial import Proposal

if TYPE_CHECKING:
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

TRIES = 300
"""Consecutive rejected draws after which a design treats the space as exhausted."""


class Design(Searcher):
    """A searcher whose trial `number` is a function of space and seed.

    Equal networks may be planned with different training seeds, so no result is ever reused.
    """

    plans_every_trial = True

    def ask(
        self, space: SearchSpace, history: History, *, seed: int, number: int, scheduler: Scheduler
    ) -> list[Proposal]:
        proposal = self.proposal(space, seed, number)
        return [] if proposal is None else [proposal]

    @abstractmethod
    def proposal(self, space: SearchSpace, seed: int, number: int) -> Proposal | None:
        """Return the network of trial `number`, None if the space is exhausted.

        Its `design` names the design, the module type and, where the design sets it, the training seed.
        """


def module_types(space: SearchSpace) -> tuple[str, ...]:
    """Return the module types that every stage may use; NasError if there are fewer than two, or if they have
    recipes of their own, which no comparison could tell from the types."""
    if own := space.spec.recipe_by_type:
        hint = "give all module types the same options; each may then be judged under the best of them"
        raise NasError(f"{own[0]} depends on the module type", where=f"{space.name}: recipe", hint=hint)
    stages = [space.spec.stage_modules(i) for i in range(len(space.spec.stages))]
    types = tuple(name for name in stages[0] if all(name in stage for stage in stages))
    if len(types) < 2:
        hint = f"every stage may use: {', '.join(types) or 'none'}"
        raise NasError("a design compares two or more module types", where=space.name, hint=hint)
    return types


def of_type(space: SearchSpace, kind: str, choose: Callable[[str, Sequence[Any]], Any]) -> Genotype:
    """Return a network whose blocks are all of one type; `choose` answers all other decisions."""
    return space.build(
        lambda path, options: kind if path.rpartition(".")[2] == "type" else choose(path, options)
    )


class Context:
    """All decisions of a network but its module type, drawn at random.

    Types with a field of the same name (the place of batch norm, the shortcut) share one draw from the
    options that they have in common. Fields that one type alone has are drawn for it.

    known: a network of one type whose decisions the context takes, with its type.
    """

    def __init__(
        self,
        space: SearchSpace,
        types: Sequence[str],
        *entropy: int,
        known: tuple[Genotype, str] | None = None,
    ) -> None:
        self._space, self._types, self._entropy = space, tuple(types), entropy
        decisions = space.of_type(known[1]).decisions(known[0]) if known else {}
        self._known = {_split(path, known[1]): value for path, value in decisions.items() if known}

    def network(self, kind: str) -> Genotype:
        """Return the network of a module type in this context."""
        return of_type(self._space, kind, lambda path, options: self._answer(kind, path, options))

    def _answer(self, kind: str, path: str, options: Sequence[Any]) -> Any:
        """Return the option at a random position in [0, 1) that depends on context and path alone; by the
        prior of weighted options."""
        scope, field = _split(path, kind)
        if (value := self._known.get((scope, field))) in options:
            return value
        position = np.random.default_rng([*self._entropy, crc32(f"{scope}{field}".encode())]).random()
        shared = f"{kind}.{field}" in path
        candidates = (self._common(path, field, options) if shared else []) or list(options)
        if isinstance(options, Weighted) and candidates == list(options):
            return options[min(bisect(options.cumulated, position), len(options) - 1)]
        return candidates[int(position * len(candidates))]

    def _common(self, path: str, field: str, options: Sequence[Any]) -> list[Any]:
        """Return the options that all types with a field have, in the order of the first of these types."""
        stage = re.match(r"stage(\d+)\.", path)
        modules = self._space.spec.stage_modules(int(stage[1]) - 1 if stage else 0)
        of_types = [_options(name, modules[name], field) for name in self._types]
        known = [own for own in of_types if own is not None] or [options]
        return [option for option in known[0] if all(option in own for own in (*known, options))]


def _split(path: str, kind: str) -> tuple[str, str]:
    """Return scope and field of a path: `stage1.block2.residual.norm` is `norm` in `stage1.block2.`."""
    name, bracket, condition = path.partition("[")
    scope, _, field = name.rpartition(".")
    if scope.rpartition(".")[2] == kind:
        scope = scope.removesuffix(kind).removesuffix(".")
    return f"{scope}." if scope else "", field + bracket + condition


def _options(name: str, settings: Mapping[str, Any], field: str) -> Sequence[Any] | None:
    """Return the options of a type for a field; None if it has no such field or it depends on others."""
    declared = {item.name: item.default for item in fields(MODULE_TYPES[name])}
    if field not in declared or isinstance(settings.get(field), Mapping):
        return None
    if field not in settings and declared[field] is MISSING:
        return None
    return options_of(settings.get(field, declared[field]), {})
