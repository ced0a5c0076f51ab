"""What the errors of trainings that stopped at rungs would be at the end.

The error of a network after the epochs of a rung is taken for a sum: the level of the rung, a slope times
the logarithm of its FLOPs, an effect for each of its decisions, one of its own, and noise, of which there is
the more the fewer the epochs. Effects are drawn towards nothing (a linear mixed model: Laird and Ware 1982,
Random-effects models for longitudinal data). So a network that was lucky at a rung is brought back towards
those that share its decisions, what is learnt at one rung counts at the others, and that large networks learn
more slowly is no disadvantage of theirs.
"""

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
"""Variance of an effect before any trial, in parts of that of the noise at the last rung."""
FREE = 1e-6
"""Precision of what is drawn nowhere, so that it has a value also without trials that tell."""

GROWTH = 1.05
"""By how many times what has come to rungs grows until the model is fitted anew: so a trial takes as long in
a large search as in a small one."""


class Compared(Protocol):
    """What a forecast looks at: a trial, or what may become one and has no curve yet."""

    @property
    def decisions(self) -> Mapping[str, Any]: ...

    @property
    def flops(self) -> int: ...

    @property
    def curve(self) -> Sequence[Mapping[str, Any]]: ...


@dataclass(frozen=True)
class Forecast:
    """A model fitted to trials. coefficients: of the options in `index`, of the levels and of the slopes of
    `rungs`, each rung's beside what those before it have; sizes: mean and spread of the log FLOPs;
    variance: of the noise at the last rung."""

    rungs: tuple[int, ...]
    index: Mapping[tuple[str, Any], int]
    coefficients: Floats
    sizes: tuple[float, float]
    variance: float

    def errors(self, trials: Sequence[Compared]) -> Floats:
        """At the last rung (n,), of trials that may have come to any, or to none. Within [0, 1]."""
        last = np.full(len(trials), len(self.rungs) - 1)
        expected = _rows(self, trials, np.arange(len(trials)), last) @ self.coefficients
        at, rung, errors = _observed(trials, self.rungs)
        missed = errors - _rows(self, trials, at, rung) @ self.coefficients
        weights = missed / noise(self.rungs)[rung]
        own = np.bincount(at, weights=weights, minlength=len(trials)) / self._told(at, rung, len(trials))
        return np.clip(expected + own, 0.0, 1.0)

    def spreads(self, trials: Sequence[Compared]) -> Floats:
        """The standard deviation (n,) of what is a network's own and not known yet: how far from `errors` it
        may come to be, but for the noise of measuring it."""
        at, rung, _ = _observed(trials, self.rungs)
        return np.sqrt(self.variance / self._told(at, rung, len(trials)))

    def _told(self, at: NDArray[np.intp], rung: NDArray[np.intp], count: int) -> Floats:
        """The precision with which each network's own is known (count,), in parts of 1 / variance."""
        measured = np.bincount(at, weights=1 / noise(self.rungs)[rung], minlength=count)
        return np.asarray(1 / PRIOR + measured, dtype=np.float64)


def forecast(trials: Iterable[Trial], rungs: Iterable[int]) -> Forecast:
    """Fit the model to trials as they stand, each by its curve; the same in whatever order they come.
    ValueError where none has come to a rung."""
    known = sorted(trials, key=lambda trial: trial.number)
    stops = tuple(sorted(rungs))
    options = dict.fromkeys(chain.from_iterable(trial.decisions.items() for trial in known))
    sizes = np.log([max(1, trial.flops) for trial in known])
    spread = float(sizes.std()) or 1.0
    empty = np.zeros(len(options) + 2 * len(stops))
    index = {option: place for place, option in enumerate(options)}
    model = Forecast(stops, index, empty, (float(sizes.mean()), spread), 0.0)
    at, rung, errors = _observed(known, stops)
    rows, errors = _independent(_rows(model, known, at, rung), errors, at, noise(stops)[rung])
    precision = np.full(len(empty), 1 / PRIOR)
    precision[len(options) : len(options) + len(stops) + 1] = FREE  # the levels, and the first slope
    told = rows.T @ rows
    covariance = np.linalg.inv(told + np.diag(precision))
    fitted = covariance @ (rows.T @ errors)
    left = errors - rows @ fitted
    freedom = max(1.0, len(errors) - float(np.trace(covariance @ told)))
    return replace(model, coefficients=fitted, variance=float(left @ left) / freedom)


class Forecasts:
    """The forecast for a search as it goes on, fitted anew as its arrivals at rungs grow."""

    def __init__(self) -> None:
        self._fitted, self._next = 0, 1
        self._last: Forecast | None = None

    def after(self, arrived: Sequence[Trial]) -> tuple[Forecast, int]:
        """The last one, and how many of the arrivals it is fitted to, the first ones. It follows from their
        order alone, so that a resumed search has the one that a search in a single go would have.
        ValueError where there are none."""
        while self._next <= len(arrived):
            self._fitted, self._next = self._next, max(self._next + 1, int(GROWTH * self._next))
            self._last = None
        if self._last is None:
            known = arrived[: self._fitted]
            latest = {trial.number: trial for trial in known}
            self._last = forecast(latest.values(), {trial.epochs for trial in known})
        return self._last, self._fitted


def noise(rungs: Sequence[int]) -> Floats:
    """Its variance at each rung, in parts of that at the last: it falls as the epochs grow."""
    return rungs[-1] / np.array(rungs, dtype=np.float64)


def _independent(
    rows: Floats, errors: Floats, at: NDArray[np.intp], variances: Floats
) -> tuple[Floats, Floats]:
    """Rows and errors, trial after trial, so turned that the errors have independent noise of variance 1.
    What is a network's own is common to its errors: of their mean a part is taken away (Fuller and Battese
    1974, Estimation of linear models with crossed-error structure)."""
    scale = 1 / np.sqrt(variances)
    both = np.column_stack([rows, errors]) * scale[:, None]
    starts = np.flatnonzero(np.diff(at, prepend=-1))
    count = np.diff(starts, append=len(at))
    told = np.add.reduceat(scale**2, starts)
    part = np.repeat((1 - 1 / np.sqrt(1 + PRIOR * told)) / told, count) * scale
    both -= part[:, None] * np.repeat(np.add.reduceat(scale[:, None] * both, starts), count, axis=0)
    return both[:, :-1], both[:, -1]


def _observed(
    trials: Sequence[Compared], rungs: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Each error at a rung: of which trial, at which rung, how much; trial after trial."""
    found = [
        (at, rung, trial.curve[epochs - 1]["val_error"])
        for at, trial in enumerate(trials)
        for rung, epochs in enumerate(rungs)
        if epochs <= len(trial.curve)
    ]
    at, rung, errors = zip(*found, strict=True) if found else ((), (), ())
    return np.array(at, dtype=np.intp), np.array(rung, dtype=np.intp), np.array(errors, dtype=np.float64)


def _rows(
    model: Forecast, trials: Sequence[Compared], at: NDArray[np.intp], rung: NDArray[np.intp]
) -> Floats:
    """What the coefficients are multiplied with: a row for each of some trials at some rungs."""
    index, rungs = model.index, len(model.rungs)
    options = np.zeros((len(trials), len(index)))
    for row, trial in zip(options, trials, strict=True):
        row[[index[option] for option in trial.decisions.items() if option in index]] = 1
    mean, spread = model.sizes
    size = (np.log([max(1, trial.flops) for trial in trials]) - mean) / spread
    reached = (rung[:, None] >= np.arange(rungs)).astype(np.float64)
    return np.hstack([options[at], reached, reached * size[at, None]])
