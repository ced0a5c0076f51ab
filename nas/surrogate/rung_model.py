"""The model of the error in a search whose trainings pause at rungs: epochs are an input of the process.

Every error at a rung is an observation. What is known of a network's first epochs and of its kin says what
error to expect of it at the end, and how surely (freeze-thaw; Swersky et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nas.pareto import Floats
from nas.surrogate.encoder import Encoder
from nas.surrogate.error_model import ErrorModel, Network
from nas.surrogate.gaussian_process import GaussianProcess, fit_parameters
from nas.surrogate.process_cache import nearest_to_front
from nas.surrogate.stages import Stages
from nas.surrogate.warps import log_warp

MAX_FITTED = 80
"""Trainings that parameters are fitted to, at most."""

MAX_TRAININGS = 300
"""Trainings that predictions are conditioned on, at most: half of them the nearest to the front of errors at
the first rung and FLOPs, half of all the others."""

GROWTH = 1.5
"""Factor by which the results grow between two fits of the parameters."""


class RungResult(Network, Protocol):
    """A training as it stood at a rung, the last of its curve."""

    @property
    def number(self) -> int: ...

    @property
    def epochs(self) -> int: ...

    @property
    def curve(self) -> Sequence[Mapping[str, Any]]: ...


class RungModel:
    """Fits the model to the rung results of one search, which are only appended.

    epochs: those of the last rung. domains: options of the space by decision. What it keeps follows from the
    order of the results alone, so a resumed search gets the same."""

    def __init__(self, epochs: int, domains: Mapping[str, Sequence[Any]]) -> None:
        self._epochs, self._encoder = epochs, Encoder.of(domains)
        self._step, self._parameters = -1, np.zeros(0)

    def fit(self, results: Sequence[RungResult]) -> ErrorModel:
        """Return the model conditioned on the results, of which there is one or more."""
        step = int(np.log(len(results)) / np.log(GROWTH) + 1e-9)
        if step != self._step:
            first = results[: int(np.ceil(GROWTH**step))]
            self._parameters = fit_parameters(self._encoder, *self._observations(first, MAX_FITTED))
            self._step = step
        rows, values, stages = self._observations(results, MAX_TRAININGS)
        process = GaussianProcess(self._encoder, rows, values, self._parameters, stages)
        warped = log_warp(np.exp(values), rows[:, -1])
        return ErrorModel(self._encoder, [(warped, process)])

    def _observations(self, results: Sequence[RungResult], most: int) -> tuple[Floats, Floats, Stages]:
        """Return rows, logarithms of errors and stages of the results of some trainings."""
        first: dict[int, RungResult] = {}
        for result in results:
            first.setdefault(result.number, result)
        points = np.array([(_error(result), result.flops) for result in first.values()], dtype=np.float64)
        numbers = np.array(list(first))[nearest_to_front(points, most)]
        used = set(numbers.tolist())
        known = list({(r.number, r.epochs): r for r in results if r.number in used}.values())
        rows = self._encoder.encode([r.decisions for r in known], [r.flops for r in known])
        logs = log_warp(np.array([_error(r) for r in known]), rows[:, -1]).values
        shares = np.array([r.epochs for r in known]) / self._epochs
        return rows, logs, Stages(np.log(shares), np.array([r.number for r in known], dtype=np.intp))


def _error(result: RungResult) -> float:
    return float(result.curve[-1]["val_error"])
