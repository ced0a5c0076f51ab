"""Random search: the baseline, and the only searcher whose every trial is uniform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nas.schedulers import Scheduler
from nas.searchers.base import RandomizedSearcher, uniform_proposal
from nas.study.history import History
from nas.study.trial import Proposal

if TYPE_CHECKING:
    from nas.space.space import SearchSpace


class Random(RandomizedSearcher):
    """Draws each decision uniformly over its options, without repetition."""

    name = "random"

    def draw(
        self, space: SearchSpace, history: History, scheduler: Scheduler, rng: np.random.Generator
    ) -> Proposal | None:
        return uniform_proposal(space, history, rng)
