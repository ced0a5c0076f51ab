"""The networks among which a searcher with a model chooses: neighbours of its parents, and random ones.

To build a network and count its cost takes most of the time of a proposal, so each is built once. Which
networks are candidates follows from seed, number and parents alone, whatever was kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import NasError
from nas.graph.cost import Cost
from nas.space.decisions import replay
from nas.study.trial import Trial

if TYPE_CHECKING:
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

NEIGHBOURS = 240
"""Neighbours of all parents together, at most, but at least `LEAST` of each."""

LEAST = 8

TURN = 8
"""Neighbours of all parents together that others take the place of in the next proposal."""

RANDOM, KEPT = 6, 40
"""Random networks that each trial adds, and for how many trials they stay."""


@dataclass(frozen=True)
class CostedCandidate:
    """A network to choose. parent: number of the trial it is a neighbour of, if any. cost: counted before
    training."""

    genotype: Genotype
    digest: str
    decisions: Mapping[str, Any]
    cost: Cost
    parent: int | None = None

    @property
    def flops(self) -> int:
        return self.cost.flops


def costed(space: SearchSpace, genotype: Genotype, parent: int | None = None) -> CostedCandidate:
    """Return a network of the space as a candidate."""
    cost = space.cost(genotype)
    return CostedCandidate(genotype, genotype.digest, space.decisions(genotype), cost, parent)


class Candidates:
    """The candidates of a search with one seed in one space."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed
        self._random: dict[int, list[CostedCandidate]] = {}
        self._neighbours: dict[tuple[int, str], _Neighbours] = {}

    def of(self, number: int, parents: Sequence[Trial], seen: Callable[[str], bool]) -> list[CostedCandidate]:
        """Return the new candidates of trial `number`, neighbours of the parents first."""
        budget = max(LEAST, NEIGHBOURS // max(1, len(parents)))
        found: dict[str, CostedCandidate] = {}
        for parent in parents:
            key = parent.number, parent.digest
            if key not in self._neighbours:
                self._neighbours[key] = _Neighbours(self.space, parent, self.seed)
            start = max(0, number - parent.number) * TURN // len(parents)
            for item in self._neighbours[key].new(start, budget, seen):
                found.setdefault(item.digest, item)
        for step in range(number, number + KEPT):
            for item in self._drawn(step):
                if not seen(item.digest):
                    found.setdefault(item.digest, item)
        self._forget(number, parents)
        return list(found.values())

    def _drawn(self, step: int) -> list[CostedCandidate]:
        if step not in self._random:
            rng = np.random.default_rng([self.seed, step, RANDOM])
            self._random[step] = [costed(self.space, self.space.sample(rng)) for _ in range(RANDOM)]
        return self._random[step]

    def _forget(self, number: int, parents: Sequence[Trial]) -> None:
        """Keep memory bounded: drop what no later proposal is likely to ask for."""
        for step in [step for step in self._random if step < number - KEPT]:
            del self._random[step]
        if len(self._neighbours) > 4 * len(parents) + 100:
            keys = {(parent.number, parent.digest) for parent in parents}
            self._neighbours = {key: value for key, value in self._neighbours.items() if key in keys}


class _Neighbours:
    """The networks one decision away from a trial's, in an order of their own, each built when it is asked
    for."""

    def __init__(self, space: SearchSpace, parent: Trial, seed: int) -> None:
        self._space, self._parent = space, parent.number
        self._seed = seed, parent.number, NEIGHBOURS
        self._built: dict[int, CostedCandidate | None] = {}
        try:
            self._decisions = dict(space.decisions(parent.genotype))
        except NasError:  # a warm start from outside the space
            self._decisions = {}
        domains = space.domains()
        moves = [(path, o) for path, taken in self._decisions.items() for o in domains[path] if o != taken]
        self._moves = [moves[i] for i in np.random.default_rng(self._seed).permutation(len(moves))]

    def new(self, start: int, count: int, seen: Callable[[str], bool]) -> list[CostedCandidate]:
        """Return `count` new ones at most, from a place on that is counted round and round."""
        found: list[CostedCandidate] = []
        for place in range(start, start + len(self._moves)):
            if len(found) == count:
                break
            item = self._at(place % len(self._moves))
            if item is not None and not seen(item.digest):
                found.append(item)
        return found

    def _at(self, place: int) -> CostedCandidate | None:
        """Return a neighbour, None where the constraints forbid it."""
        if place not in self._built:
            path, option = self._moves[place]
            rng = np.random.default_rng([*self._seed, place])
            genotype = self._space.build(replay({**self._decisions, path: option}, rng))
            fits = not self._space.violations(genotype)
            self._built[place] = costed(self._space, genotype, self._parent) if fits else None
        return self._built[place]
