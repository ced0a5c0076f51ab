"""The networks among which a searcher with a model chooses: neighbours of its parents, and random ones.

To build a network and count its cost takes most of the time of a proposal, so each is built once. Which
networks are candidates follows from seed, number and parents alone, whatever was kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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

NEIGHBOURS = 200
"""Neighbours of all parents together, at most, but at least `LEAST` of each."""

LEAST = 8

RANDOM, KEPT = 5, 40
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
            for item in self._neighbours[key].first(budget, seen):
                found.setdefault(item.digest, item)
        for step in range(max(0, number - KEPT + 1), number + 1):
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
        for step in [step for step in self._random if step < number - 2 * KEPT]:
            del self._random[step]
        if len(self._neighbours) > 4 * len(parents) + 100:
            keys = {(parent.number, parent.digest) for parent in parents}
            self._neighbours = {key: value for key, value in self._neighbours.items() if key in keys}


class _Neighbours:
    """The networks one decision away from a trial's, in an order of their own, built when they are asked
    for."""

    def __init__(self, space: SearchSpace, parent: Trial, seed: int) -> None:
        self._built: list[CostedCandidate] = []
        self._moves = self._build(space, parent, np.random.default_rng([seed, parent.number, NEIGHBOURS]))

    def first(self, count: int, seen: Callable[[str], bool]) -> list[CostedCandidate]:
        """Return the first new ones, `count` at most."""
        new: list[CostedCandidate] = []
        for item in self._all():
            if len(new) == count:
                break
            if not seen(item.digest):
                new.append(item)
        return new

    def _all(self) -> Iterator[CostedCandidate]:
        yield from self._built
        for item in self._moves:
            self._built.append(item)
            yield item

    @staticmethod
    def _build(space: SearchSpace, parent: Trial, rng: np.random.Generator) -> Iterator[CostedCandidate]:
        try:
            decisions = space.decisions(parent.genotype)
        except NasError:  # a warm start from outside the space
            return
        domains = space.domains()
        moves = [(path, o) for path, option in decisions.items() for o in domains[path] if o != option]
        for i in rng.permutation(len(moves)):
            path, option = moves[i]
            genotype = space.build(replay({**decisions, path: option}, rng))
            if not space.violations(genotype):
                yield costed(space, genotype, parent.number)
