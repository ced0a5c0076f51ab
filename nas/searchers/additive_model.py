"""An additive model of the objectives, updated trial by trial.

The logarithm of an objective is modelled as a sum of effects, one per option of each decision that built
the network. The residual of a new trial is shared among the effects it holds, the least known taking most:
a Kalman filter (1960) whose covariance is kept to its diagonal. So an update takes as many steps as the
network has decisions, whatever the size of the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Trial

Move = tuple[str, Any]
"""A decision, by its path, and another option for it."""

PRIOR = 10.0
"""Variance of an effect before any trial, relative to that of the noise."""

CURIOSITY = 0.5
"""Spread of Thompson samples, relative to the standard deviation of the prediction."""

WINDOW = 50
"""Trials over which the noise is averaged."""

MIN_VALUE = 1e-5
"""Objectives are raised to this before their logarithm is taken: an error of 0 is not infinitely good."""


class AdditiveModel:
    """Follows a history; equal histories give equal models."""

    def __init__(self, objectives: Sequence[str]) -> None:
        self._objectives = tuple(objectives)
        # An objective of the user's own may be negative, so its logarithm is not taken.
        self._logged = np.array([objective(name).logarithmic or name == "error" for name in objectives])
        self._reset(None)

    def _reset(self, history: History | None) -> None:
        self._history, self._trials = history, 0
        self._index: dict[Move, int] = {}
        self._effects = np.zeros((256, len(self._objectives)))
        self._variance = np.full(256, PRIOR)
        self._base = np.zeros(len(self._objectives))
        self._noise = np.zeros(len(self._objectives))
        self._values: dict[int, Floats] = {}

    def fit_incremental(self, history: History) -> None:
        """Learn from the trials completed since the last call."""
        if history is not self._history:
            self._reset(history)
        for trial in history.complete[self._trials :]:
            self._learn(trial)

    def values(self, trials: Sequence[Trial]) -> Floats:
        """Return the objectives of trials on the scale of the model, (n, d)."""
        cached = self._values
        return np.array([cached[t.number] if t.number in cached else self._scaled(t) for t in trials])

    def sample(
        self, values: Floats, decisions: Mapping[str, Any], moves: Sequence[Move], rng: np.random.Generator
    ) -> Floats:
        """Return Thompson samples (1933) of the objectives after each move from a network, (len(moves), d).

        values: the objectives of the network, on the scale of the model; decisions: those that built it.
        Options that are little known vary more, so they are tried too."""
        new = self._indices(moves)
        old = self._indices([(path, decisions[path]) for path, _ in moves])
        deviation = np.sqrt((1 + self._variance[new] + self._variance[old])[:, None] * self._noise)
        drawn = CURIOSITY * deviation * rng.normal(size=deviation.shape)
        return np.asarray(values + self._effects[new] - self._effects[old] + drawn, dtype=np.float64)

    def _indices(self, moves: Sequence[Move]) -> NDArray[np.intp]:
        index = self._index
        indices = np.array([index.setdefault(move, len(index)) for move in moves], dtype=np.intp)
        while len(index) > len(self._variance):
            self._effects = np.concatenate([self._effects, np.zeros_like(self._effects)])
            self._variance = np.concatenate([self._variance, np.full_like(self._variance, PRIOR)])
        return indices

    def _learn(self, trial: Trial) -> None:
        values = self._values[trial.number] = self._scaled(trial)
        if not self._trials:
            self._base = values
        self._trials += 1
        indices = self._indices(list(trial.decisions.items()))
        residual = values - self._base - self._effects[indices].sum(axis=0)
        variance = self._variance[indices]
        total = 1 + variance.sum()
        self._effects[indices] += np.outer(variance / total, residual)
        self._variance[indices] -= variance * variance / total
        self._noise = self._noise + (residual**2 / total - self._noise) / min(self._trials, WINDOW)

    def _scaled(self, trial: Trial) -> Floats:
        raw = np.array(trial.values(self._objectives))
        return np.where(self._logged, np.log(np.maximum(raw, MIN_VALUE)), raw)
