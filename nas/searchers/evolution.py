"""Archive evolution: neighbours of non-dominated networks, never one twice.

The archive is the non-dominated set of all complete trials (PAES, Knowles and Corne 2000),
filled up from the layers behind it (Deb et al. 2002) while it is small, so nothing good is
lost to ageing or to a population size. With one objective it is a local search around the
best few networks, which is hard to beat in such spaces (White et al. 2021).

The neighbours of a parent, one decision away, that were tried already are passed over, so a parent
whose neighbourhood is exhausted gives way to the next. With several objectives they are ranked
before any is built, by what the trials so far say of each option (`nas.surrogate.additive_model`); with
one, where an additive model misjudges the few best networks, they are taken in random order.

Where trials stop at rungs, networks are compared after equally many epochs (`nas.schedulers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import NasError
from nas.pareto import crowding
from nas.schedulers import Scheduler
from nas.searchers.base import RandomizedSearcher, SearcherSettings, uniform_proposal
from nas.space.decisions import replay
from nas.study.history import History
from nas.study.trial import Proposal, Trial
from nas.surrogate.additive_model import Effects, Floats, Move

if TYPE_CHECKING:
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

INITIAL = 10
"""Trials drawn uniformly before evolution starts."""

ELITE = 5
"""Least number of parents: layers are taken from the front on until there are as many."""

CROWDED = 0.2
"""Least crowding distance of a parent, in parts of the mean: twins are still explored."""

CROSSOVER = 0.1
"""Probability of crossing two parents instead of moving from one."""

DRAWS = 20
"""Moves that leave something to chance and led to nothing new, before a uniform draw is taken instead."""


class Evolution(RandomizedSearcher):
    """The default searcher, for one objective or several.

    A parent is drawn from the elite, rather where the front is thin (its crowding distance)
    and rather where little has been tried (1 / (1 + its children so far)). What is kept between
    calls follows from the history and only saves time.
    """

    name = "evolution"

    def __init__(self, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self._effects = Effects(self.objectives)
        self._known: History | None = None
        self._spent: dict[int, set[Move]] = {}

    def draw(
        self, space: SearchSpace, history: History, scheduler: Scheduler, rng: np.random.Generator
    ) -> Proposal | None:
        known = scheduler.expected_history(history)
        elite, ahead = self._elite(known)
        if not elite or len(history.trials) + len(history.pending) < INITIAL:
            return uniform_proposal(space, history, rng)
        if known is not self._known:
            self._known, self._spent = known, {}
        self._effects.follow(known)
        weights = self._weights(elite, known)
        # A random order in which each stands first with its weight (Efraimidis and Spirakis 2006).
        parents = [elite[at] for at in np.argsort(rng.exponential(size=len(elite)) / weights)]
        child, parent = None, parents[0]
        if rng.random() < CROSSOVER and len(parents) > 1:
            child = _crossed(space, history, parent, parents[1], rng)
        if child is None:
            child, parent = self._neighbour(space, history, parents, self._effects.values(elite[:ahead]), rng)
        if child is None:
            return uniform_proposal(space, history, rng)
        return Proposal(child, self.name, parent=parent.number)

    def _elite(self, history: History) -> tuple[list[Trial], int]:
        """The parents, and how many of them, the first, are the front."""
        elite: list[Trial] = []
        ahead = 0
        for layer in history.layers(self.objectives):
            elite += layer
            ahead = ahead or len(layer)
            if len(elite) >= ELITE:
                break
        return elite, ahead

    def _weights(self, elite: Sequence[Trial], history: History) -> NDArray[np.float64]:
        weights = np.array([1 / (1 + history.children(trial.number)) for trial in elite])
        if len(self.objectives) > 1 and len(elite) > 2:
            distance = crowding([trial.values(self.objectives) for trial in elite])
            if distance.any():
                weights *= distance + CROWDED * distance.mean()
        return weights

    def _neighbour(
        self,
        space: SearchSpace,
        history: History,
        parents: Sequence[Trial],
        best: Floats,
        rng: np.random.Generator,
    ) -> tuple[Genotype | None, Trial]:
        """The most promising new neighbour of the first parent that has one."""
        draws = 0
        for parent in parents:
            try:
                decisions = space.decisions(parent.genotype)
            except NasError:  # a network that the search was started with, from outside the space
                continue
            spent = self._spent.setdefault(parent.number, set())
            for move in self._ranked(space, parent, decisions, best, rng):
                if move in spent:
                    continue
                child, drawn = _moved(space, decisions, move, rng)
                valid = not space.violations(child)
                if valid and not history.seen(child.digest):
                    return child, parent
                draws += drawn
                if draws >= DRAWS:
                    return None, parent
                if not drawn and not (valid and history.by_digest(child.digest) is None):
                    spent.add(move)  # for good; what is only in flight may be given up
        return None, parents[0]

    def _ranked(
        self,
        space: SearchSpace,
        parent: Trial,
        decisions: dict[str, Any],
        best: Floats,
        rng: np.random.Generator,
    ) -> list[Move]:
        """The moves from a parent. With several objectives by how far each is believed to get beyond the
        front: by how much it could be worse in every objective, in parts of the front's range, and
        still not be dominated (the additive epsilon indicator, Zitzler et al. 2003)."""
        domains = space.domains()
        moves = [(path, o) for path, held in decisions.items() for o in domains[path] if o != held]
        if not moves:
            return []
        if len(self.objectives) == 1:  # in random order, paths with many options not preferred
            others = np.array([len(domains[path]) - 1 for path, _ in moves])
            return [moves[at] for at in np.argsort(-(rng.random(len(moves)) ** others))]
        hoped = self._effects.outlook(self._effects.values([parent])[0], decisions, moves, rng)
        span = np.ptp(best, axis=0)
        ahead = (best[None] - hoped[:, None]) / np.where(span > 0, span, 1.0)
        return [moves[at] for at in np.argsort(-ahead.max(axis=2).min(axis=1), kind="stable")]


def _moved(
    space: SearchSpace, decisions: dict[str, Any], move: Move, rng: np.random.Generator
) -> tuple[Genotype, bool]:
    """The network with one decision changed, and whether another then had to be drawn."""
    path, option = move
    known, drawn = {**decisions, path: option}, False
    answer = replay(known, rng)

    def choose(asked: str, options: Sequence[Any]) -> Any:
        nonlocal drawn
        drawn = drawn or known.get(asked) not in options
        return answer(asked, options)

    return space.build(choose), drawn


def _crossed(
    space: SearchSpace, history: History, a: Trial, b: Trial, rng: np.random.Generator
) -> Genotype | None:
    """A new child of two parents. None where it is not new, or they lie outside of the space."""
    try:
        child = space.crossover(a.genotype, b.genotype, rng)
    except NasError:
        return None
    return None if history.seen(child.digest) else child
