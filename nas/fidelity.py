"""Which trainings go on: asynchronous successive halving for two objectives and more.

A training stops at each rung, a number of epochs, and rests there until it is promoted to the next.
Of what has come to a rung the best 1 / eta go on, where eta is the ratio of the two rungs, as soon as
there are as many (ASHA: Li et al. 2020, A system for massively parallel hyperparameter tuning), and
never more of them, though the first may turn out not to have been the best. Two things differ from
halving by error alone, under which large networks would kill small ones:

- The best are counted within bands of FLOPs, which hold equally many trials.
- Best is what stands least above the front of the rung, by its error. So the front comes first.

An error after few epochs is luck in part. What is compared is the error that is to be expected at the
end, after all that is known of the trial and of those that share its decisions (`nas.forecast`).

What is on the front of its rung goes on at once, whatever its share: so the small networks, which cost
next to nothing, are known to the end early. What is within the noise of the front is never left behind, and
what is on the front of its rung by what was measured there is not either, whatever is expected of it: these
go on once no further candidate is to come, if they have not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from nas.errors import NasError
from nas.forecast import GROWTH, Forecast, forecast
from nas.pareto import Bools, Floats, front
from nas.trial import Trial

BANDS = 5
"""Bands of FLOPs; fewer while a rung holds too few trials to promote one of each."""


@dataclass(frozen=True)
class Halving:
    """rungs: epochs, ascending, the last of them the full budget; images: those of validation, from
    which the noise of an error follows."""

    rungs: tuple[int, ...]
    images: int


def expected_epochs(rungs: Sequence[int]) -> float:
    """Of a candidate, in the mean, where each rung promotes its share and no more."""
    epochs = np.array(rungs)
    return float((np.diff(epochs, prepend=0) * epochs[0] / epochs).sum())


def check_rungs(rungs: Sequence[int]) -> tuple[int, ...]:
    """NasError unless they are two or more numbers of epochs, ascending."""
    found = tuple(rungs)
    if len(found) < 2 or found[0] < 1 or any(b <= a for a, b in pairwise(found)):
        given = ",".join(map(str, found)) or "nothing"
        message = f"must be two or more ascending numbers of epochs, not {given}"
        raise NasError(message, where="fidelity", hint="the last is the full budget, as in 1,3,9")
    return found


def excess(points: Floats) -> Floats:
    """How far each error, column 0 of (n, d), lies above the lowest among the points that are no
    dearer in any other objective: 0 on the front, and what a point would have to gain to be on it."""
    best = points[front(points)]
    no_dearer = (best[None, :, 1:] <= points[:, None, 1:]).all(axis=2)
    return np.asarray(points[:, 0] - np.where(no_dearer, best[None, :, 0], np.inf).min(axis=1))


def best_share(points: Floats, flops: Floats, eta: float, gone: Bools) -> Bools:
    """Whether each point is among the best 1 / eta of its band of FLOPs, by excess and then by error,
    in a band that has places left: those that went on before (`gone`) have taken theirs, also where
    better ones have come since. Where the error, column 0, is the only objective, all is one band."""
    n = len(points)
    bands = max(1, min(BANDS, int(n / eta))) if points.shape[1] > 1 else 1
    band = np.argsort(np.argsort(flops, kind="stable"), kind="stable") * bands // n
    order = np.lexsort((points[:, 0], excess(points), band))
    sizes = np.bincount(band)
    places = np.floor(sizes / eta)
    rank = np.empty(n)
    rank[order] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    left = np.bincount(band, weights=gone) < places
    return np.asarray(~gone & left[band] & (rank < places[band]))


def near_front(points: Floats, images: int) -> Bools:
    """Whether each point is on the front, or within the standard error of its own error, measured on
    so many images."""
    error = points[:, 0]
    return np.asarray(excess(points) <= np.sqrt(error * (1 - error) / images))


def arrived(trials: Iterable[Trial], rungs: Sequence[int]) -> list[Trial]:
    """How each trial stood when it came to a rung, in the order in which they came."""
    came = [
        (place, replace(trial.after(epochs), arrivals=trial.arrivals[: at + 1]))
        for trial in trials
        for at, (place, epochs) in enumerate(zip(trial.arrivals, rungs, strict=False))
        if epochs <= len(trial.curve)
    ]
    return [trial for _, trial in sorted(came, key=lambda each: each[0])]


class Standings:
    """How every trial stands that has come to a rung and has not failed."""

    def __init__(self, halving: Halving, objectives: Sequence[str]) -> None:
        self.halving = halving
        self.others = [name for name in objectives if name != "error"]
        self.trials: dict[int, Trial] = {}
        self._forecast: Forecast | None = None
        self._errors: dict[int, float] = {}
        self._added = self._fitted = 0

    def add(self, trial: Trial) -> None:
        """Note how a trial stands, in place of how it stood; a second time changes nothing."""
        known = self.trials.get(trial.number)
        if trial.state == "failed" or trial.duplicate_of is not None or not trial.curve:
            return
        if known is None or len(known.curve) < len(trial.curve):
            self.trials[trial.number] = trial
            self._errors.pop(trial.number, None)
            self._added += 1

    def promoted(self, waiting: Mapping[int, int], *, closing: bool) -> int | None:
        """The trial that goes on next, of those that wait at a rung (counted from 0): at the highest
        rung first, then the one nearest to the front. `closing` where no further candidate is to come.
        """
        if not waiting:
            return None
        rungs, errors = self.halving.rungs, self.errors()
        for rung in reversed(range(len(rungs) - 1)):
            if rung not in waiting.values():
                continue
            # In an order that a resumed search has too.
            came = [self.trials[n] for n in sorted(self.trials) if len(self.trials[n].curve) >= rungs[rung]]
            points = np.array([(errors[each.number], *each.values(self.others)) for each in came])
            flops = np.array([each.flops for each in came], dtype=float)
            gone = np.array([waiting.get(each.number) != rung for each in came])
            goes = best_share(points, flops, rungs[rung + 1] / rungs[rung], gone)
            above, error = excess(points), points[:, 0]
            if closing:
                measured = [each.curve[rungs[rung] - 1]["val_error"] for each in came]
                leads = excess(np.column_stack([measured, points[:, 1:]])) <= 0
                goes |= near_front(points, self.halving.images) | leads
            elif len(points) >= BANDS:  # of fewer nearly all are on it
                goes |= above <= 0
            chosen = np.flatnonzero(goes & ~gone)
            if len(chosen):
                return came[min(chosen, key=lambda row: (above[row], error[row]))].number
        return None

    def errors(self) -> Mapping[int, float]:
        """Of each trial, by its number: the error that is to be expected at the end."""
        if self._forecast is None or self._added >= GROWTH * self._fitted:
            self._forecast, self._fitted = forecast(self.trials.values(), self.halving.rungs), self._added
            self._errors = {}
        new = [trial for number, trial in self.trials.items() if number not in self._errors]
        self._errors |= {
            each.number: float(e) for each, e in zip(new, self._forecast.errors(new), strict=True)
        }
        return self._errors
