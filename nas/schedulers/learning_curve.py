"""Predicts the final errors of trainings from their errors at rungs.

The error of a network at a rung is modelled as a sum: the level of the rung, a slope times log FLOPs, an
effect of each of its decisions, an effect of its own, and noise that shrinks with the epochs. Effects are
drawn towards 0 (a linear mixed model: Laird and Ware 1982, Random-effects models for longitudinal data). So
a network that was lucky at a rung is pulled back towards networks that share its decisions, one rung
informs the others, and that large networks learn more slowly is no disadvantage to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats
from nas.study.trial import Trial

PRIOR = 1.0
"""Variance of an effect before any trial, relative to that of the noise at the last rung."""

FREE = 1e-6
"""Precision of coefficients that are not shrunk: just enough to determine them without data."""

GROWTH = 1.05
"""Factor by which the rung results grow between two fits, so that large searches spend no more per trial."""

Indices = NDArray[np.intp]


class Network(Protocol):
    """Network to predict: a trial, or a candidate whose curve is still empty."""

    @property
    def decisions(self) -> Mapping[str, Any]: ...

    @property
    def flops(self) -> int: ...

    @property
    def curve(self) -> Sequence[Mapping[str, Any]]: ...


@dataclass(frozen=True)
class LearningCurves:
    """The model, fitted to trials.

    coefficients: of the options in `index`, then the levels and the slopes of `rungs`, each rung's beside
    those of the rungs before it. size_scale: mean and standard deviation of log FLOPs. variance: of the
    noise at the last rung."""

    rungs: tuple[int, ...]
    index: Mapping[tuple[str, Any], int]
    coefficients: Floats
    size_scale: tuple[float, float]
    variance: float

    def predict(self, networks: Sequence[Network]) -> list[tuple[float, float]]:
        """Return `errors` and `spreads` of each network."""
        return list(zip(self.errors(networks).tolist(), self.spreads(networks).tolist(), strict=True))

    def errors(self, networks: Sequence[Network]) -> Floats:
        """Return the errors expected at the last rung, in [0, 1], (n,). Networks may be at any rung or at
        none."""
        last = np.full(len(networks), len(self.rungs) - 1)
        expected = _design_matrix(self, networks, np.arange(len(networks)), last) @ self.coefficients
        rows, rung, errors = _observations(networks, self.rungs)
        residuals = errors - _design_matrix(self, networks, rows, rung) @ self.coefficients
        weights = residuals / noise_variance(self.rungs)[rung]
        own = np.bincount(rows, weights=weights, minlength=len(networks))
        return np.clip(expected + own / self._precision(rows, rung, len(networks)), 0.0, 1.0)

    def spreads(self, networks: Sequence[Network]) -> Floats:
        """Return the standard deviations of what is each network's own and not known yet, without the noise
        of measuring it, (n,)."""
        rows, rung, _ = _observations(networks, self.rungs)
        return np.sqrt(self.variance / self._precision(rows, rung, len(networks)))

    def _precision(self, rows: Indices, rung: Indices, count: int) -> Floats:
        """Return the precision of each network's own effect in units of 1 / variance, (count,)."""
        measured = np.bincount(rows, weights=1 / noise_variance(self.rungs)[rung], minlength=count)
        return np.asarray(1 / PRIOR + measured, dtype=np.float64)


def fit_learning_curves(trials: Iterable[Trial], rungs: Iterable[int]) -> LearningCurves:
    """Fit the model to trials by their curves; their order does not matter.

    ValueError if no trial has come to a rung.
    """
    by_number = sorted(trials, key=lambda trial: trial.number)
    stops = tuple(sorted(rungs))
    options = dict.fromkeys(chain.from_iterable(trial.decisions.items() for trial in by_number))
    sizes = np.log([max(1, trial.flops) for trial in by_number])
    size_scale = float(sizes.mean()), float(sizes.std()) or 1.0
    empty = np.zeros(len(options) + 2 * len(stops))
    index = {option: i for i, option in enumerate(options)}
    model = LearningCurves(stops, index, empty, size_scale, 0.0)
    rows, rung, errors = _observations(by_number, stops)
    design = _design_matrix(model, by_number, rows, rung)
    design, errors = _whiten(design, errors, rows, noise_variance(stops)[rung])
    precision = np.full(len(empty), 1 / PRIOR)
    precision[len(options) : len(options) + len(stops) + 1] = FREE  # the levels and the first slope
    gram = design.T @ design
    covariance = np.linalg.inv(gram + np.diag(precision))
    coefficients = covariance @ (design.T @ errors)
    residuals = errors - design @ coefficients
    freedom = max(1.0, len(errors) - float(np.trace(covariance @ gram)))
    return replace(model, coefficients=coefficients, variance=float(residuals @ residuals) / freedom)


class LearningCurveModel:
    """The model of a search in progress, refitted as its rung results grow by `GROWTH`."""

    def __init__(self) -> None:
        self._fitted, self._next = 0, 1
        self._curves: LearningCurves | None = None

    def fit_incremental(self, results: Sequence[Trial]) -> tuple[LearningCurves, int]:
        """Return the latest fit and how many of the rung results, from the first, it was fitted to.

        It follows from the order of the results alone, so a resumed search gets the same fit. ValueError if
        there are none.
        """
        while self._next <= len(results):
            self._fitted, self._next = self._next, max(self._next + 1, int(GROWTH * self._next))
            self._curves = None
        if self._curves is None:
            used = results[: self._fitted]
            latest = {trial.number: trial for trial in used}
            self._curves = fit_learning_curves(latest.values(), {trial.epochs for trial in used})
        return self._curves, self._fitted


def noise_variance(rungs: Sequence[int]) -> Floats:
    """Return the variance of the noise at each rung relative to the last: it falls with the epochs."""
    return rungs[-1] / np.array(rungs, dtype=np.float64)


def _whiten(design: Floats, errors: Floats, rows: Indices, variances: Floats) -> tuple[Floats, Floats]:
    """Return design matrix and errors transformed so that the noise is independent, of variance 1.

    The errors of a network share its own effect, so a part of their mean is subtracted (Fuller and Battese
    1974, Estimation of linear models with crossed-error structure)."""
    scale = 1 / np.sqrt(variances)
    both = np.column_stack([design, errors]) * scale[:, None]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    count = np.diff(starts, append=len(rows))
    precision = np.add.reduceat(scale**2, starts)
    part = np.repeat((1 - 1 / np.sqrt(1 + PRIOR * precision)) / precision, count) * scale
    both -= part[:, None] * np.repeat(np.add.reduceat(scale[:, None] * both, starts), count, axis=0)
    return both[:, :-1], both[:, -1]


def _observations(networks: Sequence[Network], rungs: Sequence[int]) -> tuple[Indices, Indices, Floats]:
    """Return the index of the network, the index of the rung, and the error of each error at a rung, network
    by network."""
    observations = [
        (i, rung, network.curve[epochs - 1]["val_error"])
        for i, network in enumerate(networks)
        for rung, epochs in enumerate(rungs)
        if epochs <= len(network.curve)
    ]
    rows, rung, errors = zip(*observations, strict=True) if observations else ((), (), ())
    return np.array(rows, dtype=np.intp), np.array(rung, dtype=np.intp), np.array(errors, dtype=np.float64)


def _design_matrix(
    model: LearningCurves, networks: Sequence[Network], rows: Indices, rung: Indices
) -> Floats:
    """Return the design matrix of the coefficients, with one row per network (`rows`) at a rung."""
    index, rungs = model.index, len(model.rungs)
    options = np.zeros((len(networks), len(index)))
    for row, network in zip(options, networks, strict=True):
        row[[index[option] for option in network.decisions.items() if option in index]] = 1
    mean, spread = model.size_scale
    size = (np.log([max(1, network.flops) for network in networks]) - mean) / spread
    reached = (rung[:, None] >= np.arange(rungs)).astype(np.float64)
    return np.hstack([options[rows], reached, reached * size[rows, None]])
