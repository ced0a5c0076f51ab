"""Asynchronous successive halving for one objective or several.

A training pauses at each rung, a number of epochs, until it is promoted to the next. As in ASHA (Li et al.
2020, A system for massively parallel hyperparameter tuning) nobody waits for a rung to be full. A paused
trial is eligible if one of these holds:

- It is among the best 1 / eta of its band of FLOPs at its rung, where eta is the ratio of the two rungs. The
  bands hold equally many trials: halving by the error alone would discard all small networks. Trials rank by
  how far their error lies above the front of the rung, so the front comes first.
- It is on the front of the rung or no farther from it than the noise of its error, whatever its band has
  promoted.

Errors after few epochs are partly luck. So the errors compared are those expected at the end, given all
that is known of the trial and of trials that share its decisions (`nas.schedulers.learning_curve`). A trial
on the front by its measured error is eligible too, whatever is expected of it.

The eligible trial with the highest expected hypervolume gain per unit of remaining compute is promoted, as
soon as promotions have had less compute than plain halving would have given them by then; otherwise a new
trial is begun. The later a promotion, the more is known. When no new trial is to come, all eligible trials
go on.

New trials are chosen in the same way: of as many proposals as the ratio of the first two rungs, at most four,
the one with the highest expected gain per unit of compute is begun.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.graph.cost import Cost, cost
from nas.pareto import Bools, Floats, expected_improvement
from nas.schedulers.extrapolated_history import ExtrapolatedHistory
from nas.schedulers.learning_curve import LearningCurveModel, LearningCurves
from nas.schedulers.promotion import eligible, expected_epochs, rung_results
from nas.schedulers.rung_store import RungStore
from nas.space.genotype import expand
from nas.space.space import decisions_of
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Proposal, Trial
from nas.training.task import EpochRange

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

MIN_TRIALS = 10
"""Trials at rungs before any is promoted, while new trials are still to come."""

MAX_PROPOSALS = 4
"""Most proposals per new trial: more would rely too much on the model."""


@dataclass(frozen=True)
class UntrainedCandidate:
    """A proposed network, with the values that the model compares."""

    cost: Cost
    decisions: Mapping[str, Any]
    curve: tuple[dict[str, Any], ...] = ()

    @property
    def flops(self) -> int:
        return self.cost.flops

    def values(self, objectives: Sequence[str]) -> tuple[float, ...]:
        """Return the values of objectives that are known before training."""
        return tuple(float(objective(name).read(self) or 0) for name in objectives)


class SuccessiveHalving:
    """The scheduler of a search whose trainings pause at `rungs`, ascending numbers of epochs of which the
    last is the full budget.

    images: how many validation images errors are measured on. Without a `store` no state of a training is
    kept, so each starts again after a rung. `trials` are all that have come to a rung, each as it stands now.
    """

    def __init__(
        self, rungs: Sequence[int], history: History, *, images: int, store: RungStore | None = None
    ) -> None:
        self.rungs, self.history, self.images, self.store = tuple(rungs), history, images, store
        self.trials: dict[int, Trial] = {}
        self._model = LearningCurveModel()
        self._extrapolated = ExtrapolatedHistory(self._model)
        self._costs = [name for name in history.objectives if name != "error"]
        self._compute = np.zeros(2)  # FLOPs x epochs up to the first rung, and beyond it
        self._followed = 0
        self._curves: LearningCurves | None = None
        self._predictions: dict[int, tuple[float, float]] = {}
        self._restore()

    def _restore(self) -> None:
        """Let the trials wait again that an earlier process has recorded at rungs or left in the store."""
        history = self.history
        kept = self.store.read() if self.store else []
        paused = [trial for trial in kept if history.by_number(trial.number) is None]
        for trial in paused:
            history.mark_running(trial.number, trial.digest)
        if not history.rung_results:
            for trial in rung_results((*history.trials, *paused), self.rungs):
                history.pause(trial)
        for trial in paused:
            if trial.number not in history.paused:  # known to the history, or without a place
                history.pause(trial)
        if self.store:
            self.store.keep(history.paused.values())

    def promote(self, running: Container[int], *, closing: bool) -> Trial | None:
        """Return the eligible trial with the highest expected gain per unit of remaining compute. None
        where there is none, and where promotions have had their share of the compute while new trials are
        to come."""
        self._follow()
        waiting = self.history.paused
        going = [number for number in waiting if number in running]
        rung_of = {number: self.rungs.index(waiting[number].epochs) for number in waiting.keys() - going}
        if not rung_of or not (closing or self._affordable(going)):
            return None
        trials = self._trials_by_number()
        points, spreads = self._points(trials, self.predict(trials))
        epochs = np.array([trial.epochs for trial in trials])
        paused_at = np.array([rung_of.get(trial.number, -1) for trial in trials])
        may_go = np.zeros(len(trials), dtype=bool)
        for rung in set(rung_of.values()):
            came = np.flatnonzero(epochs >= self.rungs[rung])
            gone = paused_at[came] != rung
            may_go[came] |= self._eligible([trials[i] for i in came], points[came], rung, gone) & ~gone
        return trials[self._best_gain(trials, points, spreads, may_go)] if may_go.any() else None

    def next_epochs(self, number: int) -> EpochRange:
        trial = self.history.paused.get(number)
        if trial is None:
            return EpochRange(0, self.rungs[0])
        until = self.rungs[self.rungs.index(trial.epochs) + 1]
        return EpochRange(trial.epochs, until, self.store.checkpoint(number) if self.store else None)

    def pause(self, trial: Trial, checkpoint: bytes) -> None:
        trial = self._numbered(trial)
        if self.store:
            self.store.write(trial, checkpoint)
        self.history.pause(trial)

    def finish(self, trial: Trial) -> Trial:
        """Return a trial that was trained to the end with its place in the order of all rung results."""
        return self._numbered(trial) if trial.complete and trial.duplicate_of is None else trial

    def forget(self, trial: Trial) -> None:
        if trial.complete and trial.rung_order:
            self.history.pause(trial)
        if self.store:
            self.store.delete(trial.number)

    def proposal_count(self) -> int:
        """Return 1 while little is known, and where an objective is known only after a training."""
        self._follow()
        comparable = len(self.trials) >= MIN_TRIALS and all(
            objective(name).before_training for name in self._costs
        )
        return min(MAX_PROPOSALS, self.rungs[1] // self.rungs[0]) if comparable else 1

    def choose(self, proposals: Sequence[Proposal], space: SearchSpace) -> Proposal:
        """Return the proposal with the highest expected gain per unit of compute."""
        shape, classes = space.input_shape, space.num_classes
        candidates = [
            UntrainedCandidate(
                cost(expand(proposal.genotype, shape, classes)),
                decisions_of(space, proposal.genotype, strict=not proposal.design),
            )
            for proposal in proposals
        ]
        return proposals[self.best_candidate(candidates)]

    def best_candidate(self, candidates: Sequence[UntrainedCandidate]) -> int:
        """Return the index of the candidate with the highest expected gain per unit of compute."""
        trials, (curves, _) = self._trials_by_number(), self._model.fit_incremental(self.history.rung_results)
        networks: list[Trial | UntrainedCandidate] = [*trials, *candidates]
        points, spreads = self._points(networks, [*self.predict(trials), *curves.predict(candidates)])
        asked = np.arange(len(networks)) >= len(trials)
        return self._best_gain(networks, points, spreads, asked) - len(trials)

    def expected_history(self, history: History) -> History:
        return self._extrapolated.of(history)

    def predict(self, trials: Sequence[Trial]) -> list[tuple[float, float]]:
        """Return the expected error of each trial at the end and the standard deviation of what is not known
        of it yet."""
        curves, _ = self._model.fit_incremental(self.history.rung_results)
        if curves is not self._curves:
            self._curves, self._predictions = curves, {}
        new = [trial for trial in trials if trial.number not in self._predictions]
        self._predictions |= zip((trial.number for trial in new), curves.predict(new), strict=True)
        return [self._predictions[trial.number] for trial in trials]

    def _numbered(self, trial: Trial) -> Trial:
        return replace(trial, rung_order=(*trial.rung_order, self.history.rung_result_count + 1))

    def _follow(self) -> None:
        """Update the model with the rung results since the last call."""
        for trial in self.history.rung_results[self._followed :]:
            before = self.trials.get(trial.number)
            done, now = before.epochs if before else 0, trial.epochs
            first = max(0, min(now, self.rungs[0]) - done)
            self._compute += trial.flops * np.array([first, now - done - first])
            self.trials[trial.number] = trial
            self._predictions.pop(trial.number, None)
        self._followed = len(self.history.rung_results)

    def _trials_by_number(self) -> list[Trial]:
        return [self.trials[number] for number in sorted(self.trials)]  # in the same order when resumed

    def _points(
        self, networks: Sequence[Trial | UntrainedCandidate], predictions: Sequence[tuple[float, float]]
    ) -> tuple[Floats, Floats]:
        """Return the objectives (n, d) with the expected errors, and the standard deviations of these
        (n,)."""
        errors, spreads = np.array(predictions).T
        return np.column_stack([errors, [network.values(self._costs) for network in networks]]), spreads

    def _best_gain(
        self, networks: Sequence[Trial | UntrainedCandidate], points: Floats, spreads: Floats, asked: Bools
    ) -> int:
        """Return the index of the asked network with the highest expected hypervolume gain of the complete
        networks per unit of compute."""
        epochs = np.array([len(network.curve) for network in networks])
        flops = np.array([max(1, network.flops) for network in networks])
        remaining = np.maximum(1, self.rungs[-1] - epochs)
        gains = expected_improvement(points, spreads, epochs == self.rungs[-1], asked)
        return int(np.where(asked, gains / (flops * remaining), -1.0).argmax())

    def _affordable(self, going: Iterable[int]) -> bool:
        """Return whether promotions have had less compute than if each rung promoted its share and no
        more."""
        rungs = self.rungs
        first, beyond = self._compute.tolist()
        for trial in (self.trials[number] for number in going):
            until = rungs[rungs.index(trial.epochs) + 1]
            beyond += trial.flops * (until - trial.epochs)
        return len(self.trials) >= MIN_TRIALS and beyond < first * (expected_epochs(rungs) / rungs[0] - 1)

    def _eligible(self, came: Sequence[Trial], points: Floats, rung: int, gone: Bools) -> Bools:
        now, longer = self.rungs[rung : rung + 2]
        measured = np.array([trial.curve[now - 1]["val_error"] for trial in came])
        flops = np.array([trial.flops for trial in came], dtype=np.float64)
        return eligible(points, measured, flops, longer / now, gone, self.images)
