"""One answer to the question which error to expect of a network at the end of training, and how surely.

A Gaussian process (`nas.surrogate.gaussian_process`) over decisions and log FLOPs is fitted to the errors of
trainings on each of several scales (`nas.surrogate.warps`), and the predictions are averaged: no single scale
is the best on every table of trained networks. A network that was trained is predicted as well. Its own error
and those of its kin are weighed by the noise of a training, so lucky trainings are pulled back.

A few trainings do not tell the parameters of a process, its noise above all. Predictions are then averaged
over draws of the parameters, or they would be too sure (`benchmarks/second_trainings.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nas.pareto import Floats
from nas.surrogate.encoder import Encoder
from nas.surrogate.gaussian_process import GaussianProcess, draw_parameters, fit_parameters
from nas.surrogate.stages import Trainings
from nas.surrogate.warps import WARPS, Warped

MIN_TRIALS = 5
"""Smallest number of trainings that a model is fitted to."""

FEW = 100
"""Trainings up to which the parameters of the processes are too uncertain for one value of each."""

MAX_FITTED = 300
"""Trainings that the parameters of the processes are fitted to, at most, spread evenly over all."""

MAX_TRIALS = 2_000
"""Trainings that predictions are conditioned on, at most, the latest ones."""

NODES = np.linspace(-3.5, 3.5, 29)
WEIGHTS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()
"""Standard normal deviates and their weights, for expectations."""


class Network(Protocol):
    """Network to predict, such as a trial."""

    @property
    def decisions(self) -> Mapping[str, Any]: ...

    @property
    def flops(self) -> int: ...


class Training(Network, Protocol):
    """A finished training, such as a complete trial."""

    @property
    def error(self) -> float | None: ...


@dataclass(frozen=True)
class ErrorModel:
    """Predicts final errors; made by `fit`."""

    encoder: Encoder
    processes: Sequence[tuple[Warped, GaussianProcess]]

    def predict(self, networks: Sequence[Network]) -> tuple[Floats, Floats]:
        """Return the expected final error of each network and the standard deviation of what is not known of
        it, (n,) each.

        Neither holds the noise of a training: they say what the mean over many trainings would be. Decisions
        that the model has not met count as unlike all others."""
        return self._moments(networks)

    def predict_training(self, networks: Sequence[Network]) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the error of one further training of each network, (n,)
        each: as `predict`, the noise included."""
        return self._moments(networks, noisy=True)

    def predict_end(
        self, networks: Sequence[Network], trainings: Sequence[int], *, noisy: bool = False
    ) -> tuple[Floats, Floats]:
        """Return the same as `predict`, given what the model knows of the trainings with these numbers (n).
        noisy: include the noise of one further training."""
        return self._moments(networks, np.array(trainings, dtype=np.intp), noisy=noisy)

    def _moments(
        self, networks: Sequence[Network], trainings: Trainings | None = None, *, noisy: bool = False
    ) -> tuple[Floats, Floats]:
        rows = self.encoder.encode([item.decisions for item in networks], [item.flops for item in networks])
        first, second = np.zeros(len(rows)), np.zeros(len(rows))
        for warped, process in self.processes:
            mean, spread = process.predict(rows, trainings)
            if noisy:
                spread = np.hypot(spread, process.noise)
            errors = np.clip(warped.errors(mean[:, None] + spread[:, None] * NODES, rows[:, -1]), 0.0, 1.0)
            first += errors @ WEIGHTS / len(self.processes)
            second += errors**2 @ WEIGHTS / len(self.processes)
        return first, np.sqrt(np.maximum(0.0, second - first**2))


def fit(
    trials: Iterable[Training],
    domains: Mapping[str, Sequence[Any]] | None = None,
    images: int | None = None,
) -> ErrorModel | None:
    """Fit the model to trainings that ended; None for fewer than `MIN_TRIALS` of them.

    trials: complete trials, in any order; a network may occur several times. domains: the options of the
    space by decision (`SearchSpace.domains`), by default those that the trials took. images: on which each
    error was counted; it is then known to vary at least as a share of so many does (binomially), which few
    trainings do not tell. None where errors are no shares of images.
    """
    used = [trial for trial in trials if trial.error is not None][-MAX_TRIALS:]
    if len(used) < MIN_TRIALS:
        return None
    encoder = Encoder.of(domains or _options(used))
    rows = encoder.encode([trial.decisions for trial in used], [trial.flops for trial in used])
    errors = np.array([trial.error for trial in used], dtype=np.float64)
    some = np.arange(min(len(used), MAX_FITTED)) * len(used) // min(len(used), MAX_FITTED)
    processes = []
    for warp in WARPS:
        warped = warp(errors, rows[:, -1])
        luck = warped.stretch * _counting_variance(errors, images)
        best = fit_parameters(encoder, rows[some], warped.values[some], luck=luck[some])
        draws = draw_parameters(best, encoder, rows, warped.values, luck) if len(used) <= FEW else [best]
        for parameters in draws:
            processes.append((warped, GaussianProcess(encoder, rows, warped.values, parameters, luck=luck)))
    return ErrorModel(encoder, processes)


def _counting_variance(errors: Floats, images: int | None) -> Floats:
    """Return the variance of the logarithm of each error that counting it on so many images leaves, (n,)."""
    if images is None:
        return np.zeros(len(errors))
    rates = np.clip(errors, 0.5 / images, 1 - 0.5 / images)
    return (1 - rates) / (rates * images)


def _options(trials: Sequence[Network]) -> dict[str, list[Any]]:
    """Return the options that trials took, by decision."""
    options: dict[str, dict[Any, None]] = {}
    for trial in trials:
        for path, option in trial.decisions.items():
            options.setdefault(path, {})[option] = None
    return {path: list(taken) for path, taken in options.items()}
