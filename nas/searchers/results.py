"""The networks that a search has trained, with their objectives, and the processes that predict others'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nas.pareto import Floats
from nas.searchers.candidates import CostedCandidate
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Trial
from nas.surrogate.gaussian_process import GaussianProcess
from nas.surrogate.process_cache import ProcessCache, nearest_to_front
from nas.surrogate.warps import WARPS

MAX_TRIALS = 300
"""Trials that predictions are conditioned on, at most: half of them the nearest to the front, half of all the
others."""

FAILURES = ("diverged", "oom", "timeout", "too_large")
"""Reasons to fail that lie in the network: it counts as bad as the worst that was trained."""

INFLATION = 1.5
"""Factor of the standard deviation of predictions, which are too sure of networks unlike all trained ones."""

ERRORS = ("error", "balanced_error")
"""Objectives from 0 to 1, whose logarithm tells good ones apart."""

Outcomes = Callable[[Sequence[CostedCandidate], Floats], Floats]
"""Maps networks (n) to the values of an objective at standard normal deviates (k), (n, k)."""


class Results:
    """Results of a history, as a searcher reads them. The first objective is uncertain before a training."""

    def __init__(
        self, history: History, objectives: Sequence[str], domains: Mapping[str, Sequence[Any]]
    ) -> None:
        self.history, self.objectives = history, tuple(objectives)
        self.networks: Sequence[Trial] = ()
        self.points = np.zeros((0, len(objectives)))
        self._repeats = 0
        self._cache = ProcessCache(domains)

    def update(self) -> None:
        """Read the trials that were recorded since the last call."""
        self.networks = self.history.networks
        repeats = len(self.history.complete) - len(self.networks)
        known = len(self.points) if repeats == self._repeats else 0
        new = [self.history.means(trial, self.objectives) for trial in self.networks[known:]]
        self.points = np.vstack([self.points[:known], np.array(new).reshape(-1, len(self.objectives))])
        self._repeats = repeats

    def costs(self, items: Sequence[CostedCandidate]) -> Floats:
        """Return all objectives but the first, exact or as a process predicts them, (n, d - 1)."""
        columns = [
            _exact(name, items) if objective(name).before_training else self._predicted(place, items)
            for place, name in enumerate(self.objectives[1:], start=1)
        ]
        return np.array(columns, dtype=np.float64).reshape(len(columns), len(items)).T

    def outcomes(self, which: int, pending: Sequence[CostedCandidate]) -> Outcomes:
        """Return the distribution of the first objective, modelled on one of `WARPS`; networks in training
        count as trained, with the value predicted for them."""
        name = self.objectives[0]
        if objective(name).before_training:
            return lambda items, deviates: np.repeat(_exact(name, items)[:, None], len(deviates), axis=1)
        there, back = _positive(self.points[:, 0], name)
        parameters = self._cache.parameters(
            which,
            self.networks,
            self.points,
            lambda values, sizes: WARPS[which](_positive(values, name)[0](values), sizes).values,
        )
        used = nearest_to_front(self.points, MAX_TRIALS)
        failed = [trial for trial in self.history.trials[-MAX_TRIALS:] if trial.reason in FAILURES]
        rows = self._cache.rows([*(self.networks[i] for i in used), *failed])
        values = np.append(self.points[used, 0], np.full(len(failed), self.points[:, 0].max()))
        warped = WARPS[which](there(values), rows[:, -1])
        process = GaussianProcess(self._cache.encoder, rows, warped.values, parameters)
        if pending:
            more = self._cache.rows(pending)
            believed = np.append(warped.values, process.predict(more)[0])
            process = GaussianProcess(self._cache.encoder, np.vstack([rows, more]), believed, parameters)

        def outcomes(items: Sequence[CostedCandidate], deviates: Floats) -> Floats:
            asked = self._cache.rows(items)
            mean, deviation = process.predict(asked)
            drawn = mean[:, None] + INFLATION * deviation[:, None] * deviates
            return back(warped.errors(drawn, asked[:, -1]))

        return outcomes

    def _predicted(self, place: int, items: Sequence[CostedCandidate]) -> Floats:
        """Return the expected values of a measured objective."""
        name = self.objectives[place]
        points = np.roll(self.points, -place, axis=1)
        logarithmic = objective(name).logarithmic and points[:, 0].min() > 0

        def warp(values: Floats, sizes: Floats) -> Floats:
            return np.log(values) if logarithmic else values

        parameters = self._cache.parameters((name, logarithmic), self.networks, points, warp)
        used = nearest_to_front(points, MAX_TRIALS)
        rows = self._cache.rows([self.networks[i] for i in used])
        process = GaussianProcess(self._cache.encoder, rows, warp(points[used, 0], rows[:, -1]), parameters)
        mean, _ = process.predict(self._cache.rows(items))
        return np.exp(mean) if logarithmic else mean


def _exact(name: str, items: Sequence[CostedCandidate]) -> Floats:
    read = objective(name).read
    return np.array([read(item) for item in items], dtype=np.float64)


def _positive(values: Floats, name: str) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """Return functions to a scale from 0 to 1 on which logarithms may be taken, and back. An objective of the
    user's own may be negative."""
    if name in ERRORS:
        return (lambda values: values), (lambda values: values)
    low, span = float(values.min()), float(np.ptp(values)) or 1.0
    return (lambda values: 0.05 + 0.9 * (values - low) / span), (
        lambda values: low + span * (values - 0.05) / 0.9
    )
