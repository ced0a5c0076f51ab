"""Archive evolution: mutants of non-dominated networks, never one twice.

The archive is the non-dominated set of all complete trials (PAES, Knowles and Corne 2000),
filled up from the layers behind it (Deb et al. 2002) while it is small, so nothing good is
lost to ageing or to a population size. With one objective it is a local search around the
best few networks, which is hard to beat in such spaces (White et al. 2021).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.errors import NasError
from nas.history import History
from nas.pareto import crowding, front
from nas.searchers.base import TRIES, uniform_proposal
from nas.trial import Proposal, Trial

if TYPE_CHECKING:
    from nas.genotype import Genotype
    from nas.space import SearchSpace

INITIAL = 10
"""Trials drawn uniformly before evolution starts."""

ELITE = 5
"""Least number of parents: layers are taken from the front on until there are as many."""

CROWDED = 0.2
"""Least crowding distance of a parent, in parts of the mean: twins are still explored."""

CROSSOVER = 0.1
"""Probability of crossing two parents instead of mutating one."""


class Evolution:
    """The default searcher, for one objective or several.

    A parent is drawn from the elite, rather where the front is thin (its crowding distance)
    and rather where little has been tried (1 / (1 + its children so far)).
    """

    name = "evolution"

    def __init__(self, objectives: Sequence[str]) -> None:
        self._objectives = tuple(objectives)

    def ask(self, space: SearchSpace, history: History, rng: np.random.Generator) -> Proposal | None:
        elite = self._elite(history)
        if not elite or len(history.trials) + len(history.pending) < INITIAL:
            return uniform_proposal(space, history, rng)
        weights = self._weights(elite, history)
        for _ in range(TRIES):
            parent, other = (elite[at] for at in rng.choice(len(elite), size=2, p=weights))
            child = _child(space, parent.genotype, other.genotype, rng)
            if child is not None and not history.seen(child.digest):
                return Proposal(child, self.name, parent=parent.number)
        return uniform_proposal(space, history, rng)

    def _elite(self, history: History) -> list[Trial]:
        elite: list[Trial] = []
        for layer in chain(history.layers(self._objectives), self._resting(history)):
            elite += layer
            if len(elite) >= ELITE:
                break
        return elite

    def _resting(self, history: History) -> Iterator[list[Trial]]:
        """The fronts of the trials that wait at a rung, those with the most epochs first. While few are
        complete they stand in, each among its equals: errors after unequal epochs are not compared."""
        at: dict[int, list[Trial]] = defaultdict(list)
        for _, trial in sorted(history.waiting.items()):
            at[trial.epochs].append(trial)
        for epochs in sorted(at, reverse=True):
            yield [at[epochs][i] for i in front([trial.values(self._objectives) for trial in at[epochs]])]

    def _weights(self, elite: Sequence[Trial], history: History) -> NDArray[np.float64]:
        weights = np.array([1 / (1 + history.children(trial.number)) for trial in elite])
        if len(self._objectives) > 1 and len(elite) > 2:
            distance = crowding([trial.values(self._objectives) for trial in elite])
            weights *= distance + CROWDED * distance.mean()
        total = weights.sum()
        return weights / total if total > 0 else np.full(len(elite), 1 / len(elite))


def _child(space: SearchSpace, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype | None:
    """None where the parent has no neighbour within the constraints."""
    try:
        return space.crossover(a, b, rng) if rng.random() < CROSSOVER else space.mutate(a, rng)
    except NasError:
        return None
