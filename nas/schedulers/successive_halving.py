"""Which trainings go on: asynchronous successive halving for two objectives and more.

A training stops at each rung, a number of epochs, and rests there until it is promoted to the next.
As in ASHA (Li et al. 2020, A system for massively parallel hyperparameter tuning) there is no waiting for a
rung to be full. What may go on, at any time:

- The best 1 / eta of what has come to a rung, where eta is the ratio of the two rungs, counted within
  bands of FLOPs that hold equally many trials. Halving by error alone would kill the small networks. Best is
  what stands least above the front of the rung, by its error. So the front comes first.
- What is on the front of the rung or no farther from it than the noise of its error, whatever its band has
  sent on.

An error after few epochs is luck in part. What is compared is the error that is to be expected at the
end, after all that is known of the trial and of those that share its decisions (`nas.surrogate`). What is on
the front by what was measured there may go on too, whatever is expected of it.

Of these goes on what is expected to let the hypervolume of the complete networks grow most for the compute
that it still takes. And it goes when promotions have had less compute than halving would have given them by
then; else a further candidate is begun. The later a promotion, the more it is known to be worth. When there
is no further candidate, all go on that may.

What has not begun costs nothing yet, and is compared in the same way: of as many proposals as the ratio of
the first two rungs, four at most, one is begun, that from which most is hoped for its compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from nas.errors import NasError
from nas.graph.cost import Cost
from nas.pareto import Bools, Floats, expected_improvement, front
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Trial
from nas.surrogate.learning_curve import Forecast

BANDS = 5
"""Bands of FLOPs; fewer while a rung holds too few trials to promote one of each."""

FEW = 10
"""Trials, of fewer of which none goes on while further candidates are to come: nothing is known yet."""

MOST_DRAWN = 4
"""Proposals of which one is begun, at most: the more there are, the more a search leans on its forecast."""


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


@dataclass(frozen=True)
class Drawn:
    """A network before it is trained, as far as it can be compared with trials."""

    cost: Cost
    decisions: Mapping[str, Any]
    curve: tuple[dict[str, Any], ...] = ()

    @property
    def flops(self) -> int:
        return self.cost.flops

    def values(self, objectives: Sequence[str]) -> tuple[float, ...]:
        """The values of objectives that are known before training."""
        return tuple(float(objective(name).read(self) or 0) for name in objectives)


class Standings:
    """How every trial of a history stands that has come to a rung."""

    def __init__(self, rungs: Sequence[int], history: History) -> None:
        self.rungs, self.history = tuple(rungs), history
        self.others = [name for name in history.objectives if name != "error"]
        self.trials: dict[int, Trial] = {}
        self._compute = np.zeros(2)  # FLOPs x epochs up to the first rung, and beyond it
        self._known = 0
        self._forecast: Forecast | None = None
        self._expected: dict[int, tuple[float, float]] = {}

    def follow(self) -> None:
        """Note what has come to a rung since, each in place of how it stood before."""
        for trial in self.history.arrived[self._known :]:
            before = self.trials.get(trial.number)
            done, now = before.epochs if before else 0, trial.epochs
            first = max(0, min(now, self.rungs[0]) - done)
            self._compute += trial.flops * np.array([first, now - done - first])
            self.trials[trial.number] = trial
            self._expected.pop(trial.number, None)
        self._known = len(self.history.arrived)

    def promoted(
        self, waiting: Mapping[int, int], going: Iterable[int] = (), *, images: int, closing: bool
    ) -> int | None:
        """The trial that goes on next, of those that wait at a rung (counted from 0), while those that are
        `going` on have yet to come to the next. `images` are those of validation. `closing` where no further
        candidate is to come."""
        self.follow()
        if not waiting or not (closing or self._affordable(going)):
            return None
        known = self._known_trials()
        points, spreads = self._points(known, self.expected(known))
        epochs = np.array([each.epochs for each in known])
        waits = np.array([waiting.get(each.number, -1) for each in known])
        goes = np.zeros(len(known), dtype=bool)
        for rung in set(waiting.values()):
            came = np.flatnonzero(epochs >= self.rungs[rung])
            at_rung = waits[came] == rung
            eligible = self._eligible([known[at] for at in came], points[came], rung, ~at_rung, images)
            goes[came] |= at_rung & eligible
        return known[self._most_hoped(known, points, spreads, goes)].number if goes.any() else None

    def draws(self) -> int:
        """Of how many proposals one is begun. Of one where little is known yet, and where an objective is
        only known of what is trained."""
        self.follow()
        told = len(self.trials) >= FEW and all(objective(name).before_training for name in self.others)
        return min(MOST_DRAWN, self.rungs[1] // self.rungs[0]) if told else 1

    def preferred(self, drawn: Sequence[Drawn]) -> int:
        """Which of some networks is begun."""
        known, (latest, _) = self._known_trials(), self.history.forecast()
        told = zip(latest.errors(drawn).tolist(), latest.spreads(drawn).tolist(), strict=True)
        networks: list[Trial | Drawn] = [*known, *drawn]
        points, spreads = self._points(networks, [*self.expected(known), *told])
        asked = np.arange(len(networks)) >= len(known)
        return self._most_hoped(networks, points, spreads, asked) - len(known)

    def _known_trials(self) -> list[Trial]:
        return [self.trials[number] for number in sorted(self.trials)]  # an order that a resumed one has too

    def _points(
        self, networks: Sequence[Trial | Drawn], expected: Sequence[tuple[float, float]]
    ) -> tuple[Floats, Floats]:
        """The objectives of each, with the error that is expected of it, and how far off that may be."""
        errors, spreads = np.array(expected).T
        return np.column_stack([errors, [each.values(self.others) for each in networks]]), spreads

    def _most_hoped(
        self, networks: Sequence[Trial | Drawn], points: Floats, spreads: Floats, asked: Bools
    ) -> int:
        """Which of those that are asked for can be expected to let the hypervolume of the complete ones grow
        most for the compute that it still takes."""
        epochs = np.array([len(each.curve) for each in networks])
        flops = np.array([max(1, each.flops) for each in networks])
        left = np.maximum(1, self.rungs[-1] - epochs)
        gains = expected_improvement(points, spreads, epochs == self.rungs[-1], asked)
        return int(np.where(asked, gains / (flops * left), -1.0).argmax())

    def _affordable(self, going: Iterable[int]) -> bool:
        """Whether promotions have had less compute than where each rung promotes its share and no more."""
        rungs = self.rungs
        begun = [self.trials[number] for number in going]
        parts = [(each.flops, each.epochs, rungs[rungs.index(each.epochs) + 1]) for each in begun]
        first, beyond = self._compute.tolist()
        beyond += sum(flops * (until - done) for flops, done, until in parts)
        return len(self.trials) >= FEW and beyond < first * (expected_epochs(rungs) / rungs[0] - 1)

    def _eligible(self, came: Sequence[Trial], points: Floats, rung: int, gone: Bools, images: int) -> Bools:
        """Which of those that came to a rung may go on."""
        now, longer = self.rungs[rung : rung + 2]
        flops = np.array([each.flops for each in came], dtype=np.float64)
        measured = [each.curve[now - 1]["val_error"] for each in came]
        leads = excess(np.column_stack([measured, points[:, 1:]])) <= 0
        near = near_front(points, images)
        return np.asarray(best_share(points, flops, longer / now, gone) | near | leads)

    def expected(self, trials: Sequence[Trial]) -> list[tuple[float, float]]:
        """Of each: its expected error at the end, and how far off that may be (a standard deviation)."""
        latest, _ = self.history.forecast()
        if latest is not self._forecast:
            self._forecast, self._expected = latest, {}
        new = [trial for trial in trials if trial.number not in self._expected]
        told = zip(latest.errors(new).tolist(), latest.spreads(new).tolist(), strict=True)
        self._expected |= zip((trial.number for trial in new), told, strict=True)
        return [self._expected[trial.number] for trial in trials]
