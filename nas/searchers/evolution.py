"""Archive evolution: neighbours of non-dominated networks, without repetition.

The archive is the non-dominated set of all complete trials (PAES, Knowles and Corne 2000), filled up from
the layers behind it (Deb et al. 2002) while it is small. So nothing good is lost to ageing or to a
population size. With one objective this is a local search around the best networks, which is hard to beat
in such spaces (White et al. 2021).

Neighbours differ from a parent in one decision. Those tried before are skipped, so a parent whose
neighbourhood is exhausted gives way to the next. With several objectives, neighbours are ranked before any
is built, by an additive model of the objectives (`nas.searchers.additive_model`). With one objective, where
such a model misjudges the few best networks, they are taken in random order.

Where trials pause at rungs, networks are compared by the errors expected at the end (`nas.schedulers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import NasError
from nas.pareto import Floats, crowding
from nas.schedulers import Scheduler
from nas.searchers.additive_model import AdditiveModel, Move
from nas.searchers.base import RandomizedSearcher, SearcherSettings, uniform_proposal
from nas.space.decisions import replay
from nas.study.history import History
from nas.study.trial import Proposal, Trial

if TYPE_CHECKING:
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

INITIAL = 10
"""Trials drawn uniformly before evolution starts."""

ELITE = 5
"""Minimum number of parents: layers are added, from the front on, until there are as many."""

MIN_CROWDING = 0.2
"""Added to the crowding distance of a parent, relative to the mean, so that twins are explored too."""

CROSSOVER = 0.1
"""Probability of crossing two parents instead of changing one decision of one parent."""

MAX_DRAWS = 20
"""Moves with a random part that led to nothing new before a uniform draw is taken instead."""


class Evolution(RandomizedSearcher):
    """Searcher for one objective or several, with the quickest proposals.

    Parents are drawn from the elite with a weight that grows where the front is thin (the crowding distance)
    and falls with the number of children, as 1 / (1 + children).
    """

    name = "evolution"

    def __init__(self, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self._model = AdditiveModel(self.objectives)
        self._results: History | None = None
        self._spent: dict[int, set[Move]] = {}

    def draw(
        self, space: SearchSpace, history: History, scheduler: Scheduler, rng: np.random.Generator
    ) -> Proposal | None:
        results = scheduler.expected_history(history)
        elite, front_size = self._elite(results)
        if not elite or len(history.trials) + len(history.pending) < INITIAL:
            return uniform_proposal(space, history, rng)
        if results is not self._results:
            self._results, self._spent = results, {}
        self._model.fit_incremental(results)
        weights = self._weights(elite, results)
        # A random order in which each parent comes first with its weight (Efraimidis and Spirakis 2006).
        parents = [elite[i] for i in np.argsort(rng.exponential(size=len(elite)) / weights)]
        child, parent = None, parents[0]
        if rng.random() < CROSSOVER and len(parents) > 1:
            child = _crossover(space, history, parent, parents[1], rng)
        if child is None:
            front = self._model.values(elite[:front_size])
            child, parent = self._neighbour(space, history, parents, front, rng)
        if child is None:
            return uniform_proposal(space, history, rng)
        return Proposal(child, self.name, parent=parent.number)

    def _elite(self, results: History) -> tuple[list[Trial], int]:
        """Return the parents, and how many of them, from the first, are the front."""
        elite: list[Trial] = []
        front_size = 0
        for layer in results.layers(self.objectives):
            elite += layer
            front_size = front_size or len(layer)
            if len(elite) >= ELITE:
                break
        return elite, front_size

    def _weights(self, elite: Sequence[Trial], results: History) -> NDArray[np.float64]:
        weights = np.array([1 / (1 + results.children(trial.number)) for trial in elite])
        if len(self.objectives) > 1 and len(elite) > 2:
            distance = crowding([trial.values(self.objectives) for trial in elite])
            if distance.any():
                weights *= distance + MIN_CROWDING * distance.mean()
        return weights

    def _neighbour(
        self,
        space: SearchSpace,
        history: History,
        parents: Sequence[Trial],
        front: Floats,
        rng: np.random.Generator,
    ) -> tuple[Genotype | None, Trial]:
        """Return the most promising new neighbour of the first parent that has one, and this parent."""
        draws = 0
        for parent in parents:
            try:
                decisions = space.decisions(parent.genotype)
            except NasError:  # a warm start from outside the space
                continue
            spent = self._spent.setdefault(parent.number, set())
            for move in self._ranked(space, parent, decisions, front, rng):
                if move in spent:
                    continue
                child, randomized = _moved(space, decisions, move, rng)
                valid = not space.violations(child)
                if valid and not history.seen(child.digest):
                    return child, parent
                draws += randomized
                if draws >= MAX_DRAWS:
                    return None, parent
                if not randomized and not (valid and history.by_digest(child.digest) is None):
                    spent.add(move)  # for good; a network that is only in flight may be given up
        return None, parents[0]

    def _ranked(
        self,
        space: SearchSpace,
        parent: Trial,
        decisions: dict[str, Any],
        front: Floats,
        rng: np.random.Generator,
    ) -> list[Move]:
        """Return the moves from a parent, the best first.

        With several objectives they rank by how far each is expected to get beyond the front: how much
        worse it could be in every objective, relative to the range of the front, and still not be dominated
        (the additive epsilon indicator, Zitzler et al. 2003)."""
        domains = space.domains()
        moves = [(path, o) for path, option in decisions.items() for o in domains[path] if o != option]
        if not moves:
            return []
        if len(self.objectives) == 1:  # in random order, without favouring paths that have many options
            others = np.array([len(domains[path]) - 1 for path, _ in moves])
            return [moves[i] for i in np.argsort(-(rng.random(len(moves)) ** others))]
        sampled = self._model.sample(self._model.values([parent])[0], decisions, moves, rng)
        span = np.ptp(front, axis=0)
        ahead = (front[None] - sampled[:, None]) / np.where(span > 0, span, 1.0)
        return [moves[i] for i in np.argsort(-ahead.max(axis=2).min(axis=1), kind="stable")]


def _moved(
    space: SearchSpace, decisions: dict[str, Any], move: Move, rng: np.random.Generator
) -> tuple[Genotype, bool]:
    """Return the network with one decision changed, and whether other decisions had to be drawn for it."""
    path, option = move
    changed, drawn = {**decisions, path: option}, False
    answer = replay(changed, rng)

    def choose(asked: str, options: Sequence[Any]) -> Any:
        nonlocal drawn
        drawn = drawn or changed.get(asked) not in options
        return answer(asked, options)

    return space.build(choose), drawn


def _crossover(
    space: SearchSpace, history: History, a: Trial, b: Trial, rng: np.random.Generator
) -> Genotype | None:
    """Return a child of two parents, None if it is not new or a parent lies outside the space."""
    try:
        child = space.crossover(a.genotype, b.genotype, rng)
    except NasError:
        return None
    return None if history.seen(child.digest) else child
