"""How much each decision is worth: an additive model of the objectives, brought up to date trial by trial.

The logarithm of an objective is taken for a sum of effects, one for each option of each decision
that built the network. A new trial shares what the sum missed among the effects it holds, those
known least taking most: a Kalman filter (1960) whose covariance is kept to its diagonal, so a
trial costs as many steps as it has decisions, whatever the size of the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Trial

Floats = NDArray[np.float64]
Move = tuple[str, Any]
"""A decision, by its path, and another option for it."""

PRIOR = 10.0
"""Variance of an effect before any trial, in parts of that of the noise."""

CURIOSITY = 0.5
"""How far draws of what is believed spread, in parts of its standard deviation."""

WINDOW = 50
"""Trials over which the noise is averaged."""

LEAST = 1e-5
"""Objectives are not below this as far as logarithms go: an error of 0 is not infinitely good."""


class Effects:
    """Follows a history; equal histories give equal effects."""

    def __init__(self, objectives: Sequence[str]) -> None:
        self._objectives = tuple(objectives)
        # An objective of the user's own may be negative, so it is taken as it is.
        self._logged = np.array([objective(name).logarithmic or name == "error" for name in objectives])
        self._forget(None)

    def _forget(self, history: History | None) -> None:
        self._history, self._known = history, 0
        self._index: dict[Move, int] = {}
        self._effects = np.zeros((256, len(self._objectives)))
        self._variance = np.full(256, PRIOR)
        self._base = np.zeros(len(self._objectives))
        self._noise = np.zeros(len(self._objectives))
        self._values: dict[int, Floats] = {}

    def follow(self, history: History) -> None:
        """Learn from the trials completed since the last call."""
        if history is not self._history:
            self._forget(history)
        for trial in history.complete[self._known :]:
            self._learn(trial)

    def values(self, trials: Sequence[Trial]) -> Floats:
        """The objectives of trials (n, d), on the scale of the model."""
        known = self._values
        return np.array([known[t.number] if t.number in known else self._scaled(t) for t in trials])

    def outlook(
        self, values: Floats, decisions: Mapping[str, Any], moves: Sequence[Move], rng: np.random.Generator
    ) -> Floats:
        """The objectives (len(moves), d) of a network of these values and decisions after each of some
        moves, as a draw of what is believed (Thompson 1933): what is known little is tried too."""
        new = self._places(moves)
        old = self._places([(path, decisions[path]) for path, _ in moves])
        deviation = np.sqrt((1 + self._variance[new] + self._variance[old])[:, None] * self._noise)
        drawn = CURIOSITY * deviation * rng.normal(size=deviation.shape)
        return np.asarray(values + self._effects[new] - self._effects[old] + drawn, dtype=np.float64)

    def _places(self, moves: Sequence[Move]) -> NDArray[np.intp]:
        index = self._index
        places = np.array([index.setdefault(move, len(index)) for move in moves], dtype=np.intp)
        while len(index) > len(self._variance):
            self._effects = np.concatenate([self._effects, np.zeros_like(self._effects)])
            self._variance = np.concatenate([self._variance, np.full_like(self._variance, PRIOR)])
        return places

    def _learn(self, trial: Trial) -> None:
        values = self._values[trial.number] = self._scaled(trial)
        if not self._known:
            self._base = values
        self._known += 1
        at = self._places(list(trial.decisions.items()))
        missed = values - self._base - self._effects[at].sum(axis=0)
        variance = self._variance[at]
        total = 1 + variance.sum()
        self._effects[at] += np.outer(variance / total, missed)
        self._variance[at] -= variance * variance / total
        self._noise = self._noise + (missed**2 / total - self._noise) / min(self._known, WINDOW)

    def _scaled(self, trial: Trial) -> Floats:
        raw = np.array(trial.values(self._objectives))
        return np.where(self._logged, np.log(np.maximum(raw, LEAST)), raw)
