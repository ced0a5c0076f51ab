"""Random search: the baseline, and the only searcher whose every trial is uniform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nas.searchers.base import uniform_proposal
from nas.study.history import History
from nas.study.trial import Proposal

if TYPE_CHECKING:
    from nas.space.space import SearchSpace


class Random:
    """Uniform over the decisions, without repetition."""

    name = "random"

    def ask(self, space: SearchSpace, history: History, rng: np.random.Generator) -> Proposal | None:
        return uniform_proposal(space, history, rng)
