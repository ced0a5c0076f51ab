"""Asynchronous successive halving for one objective or several.

A training pauses at each rung, a number of epochs, until it is promoted to the next. As in ASHA (Li et al.
2020, A system for massively parallel hyperparameter tuning) nobody waits for a rung to be full.

Errors are partly luck, those after few epochs most of all, and large networks learn more slowly. So what
counts is the error that is expected of the network at the end, given the epochs of the trial and of its kin
(`nas.surrogate.rung_model`); a full training that was lucky does not hide others.

The paused trial with the highest expected hypervolume gain per unit of remaining compute is promoted, as soon
as promotions have had less compute than plain halving would have given them by then; otherwise a new trial is
begun. The later a promotion, the more is known. When no new trial is to come and that compute is spent, the
trials that are expected on the front still go on.

New trials are chosen in the same way: of as many proposals as the ratio of the first two rungs, at most four,
the one with the highest expected gain per unit of compute is begun.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.graph.cost import Cost, cost
from nas.pareto import Bools, Floats, expected_improvement, front
from nas.schedulers.rung_store import RungStore
from nas.schedulers.rungs import expected_epochs, rung_results
from nas.space.answers import decisions_of
from nas.space.genotype import expand
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Proposal, Trial
from nas.surrogate import ErrorModel
from nas.surrogate.rung_model import RungModel
from nas.training.task import EpochRange

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

MIN_TRIALS = 10
"""Trials at rungs before any is promoted, while new trials are still to come."""

GROWTH = 1.03
"""Factor by which the rung results grow between two updates of the model, so that large searches spend no
more per trial."""

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

    domains: options of the space by decision. Without a `store` no state of a training is kept, so each
    starts again after a rung. `trials` are all that have come to a rung, each as it stands now.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        history: History,
        *,
        domains: Mapping[str, Sequence[Any]],
        store: RungStore | None = None,
    ) -> None:
        self.rungs, self.history, self.store = tuple(rungs), history, store
        self.trials: dict[int, Trial] = {}
        self._model = RungModel(self.rungs[-1], domains)
        self._costs = [name for name in history.objectives if name != "error"]
        self._compute = np.zeros(2)  # FLOPs x epochs up to the first rung, and beyond it
        self._followed = 0
        self._known, self._next = 0, 1
        self._predicted_by, self._predictions = 0, dict[int, Floats]()
        self._fitted: tuple[int, ErrorModel] | None = None
        self._expected: tuple[tuple[int, int], History] = (0, 0), History(history.objectives)
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
        """Return the paused trial with the highest expected gain per unit of remaining compute. None where
        promotions have had their share of the compute, unless no new trials are to come; then trials that
        are expected on the front go on."""
        self._follow()
        waiting = self.history.paused
        going = [number for number in waiting if number in running]
        affordable = self._affordable(going)
        if len(going) == len(waiting) or not (closing or affordable):
            return None
        trials = self._trials_by_number()
        predictions = self.predict(trials)
        may_go = np.array([trial.number in waiting and trial.number not in going for trial in trials])
        if not affordable:
            leads = front(self._points(trials, predictions))
            may_go &= np.isin(np.arange(len(trials)), leads)
        return trials[self._best_gain(trials, predictions, may_go)] if may_go.any() else None

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
        trials = self._trials_by_number()
        predictions = self._latest_model()[1].predict(candidates)
        asked = np.arange(len(trials) + len(candidates)) >= len(trials)
        both = np.concatenate([self.predict(trials), np.column_stack(predictions)])
        return self._best_gain([*trials, *candidates], both, asked) - len(trials)

    def expected_history(self, history: History) -> History:
        """Return a history in which each trial at a rung is complete with its expected error, and failed ones
        are failed, whatever rung they had come to; the history itself where nothing has come to a rung."""
        results = history.rung_results
        if not results:
            return history
        count, model = self._latest_model()
        failed = _failed(history)
        if self._expected[0] != (count, len(failed)):
            latest = {trial.number: trial for trial in results[:count] if trial.number not in failed}
            errors, _ = model.predict_end(list(latest.values()), list(latest))
            expected = History(history.objectives)
            for trial, error in zip(latest.values(), errors.tolist(), strict=True):
                expected.record(replace(trial, state="complete", error=error))
            for trial in failed.values():
                expected.record(trial)
            self._expected = (count, len(failed)), expected
        return self._expected[1]

    def predict(self, trials: Sequence[Trial]) -> Floats:
        """Return the error that is expected of the network of each trial at the end of training, over many
        trainings, and the standard deviation of what is not known of it, (n, 2)."""
        count, model = self._latest_model()
        if self._predicted_by != count:
            self._predicted_by, self._predictions = count, {}
        new = [trial for trial in trials if trial.number not in self._predictions]
        moments = np.column_stack(model.predict_end(new, [trial.number for trial in new]))
        self._predictions |= zip((trial.number for trial in new), moments, strict=True)
        return np.array([self._predictions[trial.number] for trial in trials])

    def _latest_model(self) -> tuple[int, ErrorModel]:
        """Return the model, and how many of the rung results, from the first, it knows: all up to the last
        step of `GROWTH`. So it follows from their order alone, whenever it was asked."""
        results = self.history.rung_results
        while self._next <= len(results):
            self._known, self._next = self._next, max(self._next + 1, int(GROWTH * self._next))
        if self._fitted is None or self._fitted[0] != self._known:
            self._fitted = self._known, self._model.fit(results[: self._known])
        return self._fitted

    def _numbered(self, trial: Trial) -> Trial:
        return replace(trial, rung_order=(*trial.rung_order, self.history.rung_result_count + 1))

    def _follow(self) -> None:
        """Update compute and trials with the rung results since the last call."""
        for trial in self.history.rung_results[self._followed :]:
            before = self.trials.get(trial.number)
            done, now = before.epochs if before else 0, trial.epochs
            first = max(0, min(now, self.rungs[0]) - done)
            self._compute += trial.flops * np.array([first, now - done - first])
            self.trials[trial.number] = trial
        self._followed = len(self.history.rung_results)

    def _trials_by_number(self) -> list[Trial]:
        failed = _failed(self.history)
        return [self.trials[number] for number in sorted(self.trials.keys() - failed)]  # also when resumed

    def _points(self, networks: Sequence[Trial | UntrainedCandidate], predictions: Floats) -> Floats:
        """Return the objectives with the expected errors, (n, d)."""
        return np.column_stack([predictions[:, 0], [network.values(self._costs) for network in networks]])

    def _best_gain(
        self, networks: Sequence[Trial | UntrainedCandidate], predictions: Floats, asked: Bools
    ) -> int:
        """Return the index of the asked network with the highest expected hypervolume gain of the complete
        networks per unit of compute."""
        epochs = np.array([len(network.curve) for network in networks])
        flops = np.array([max(1, network.flops) for network in networks])
        remaining = np.maximum(1, self.rungs[-1] - epochs)
        points = self._points(networks, predictions)
        gains = expected_improvement(points, predictions[:, 1], epochs == self.rungs[-1], asked)
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


def _failed(history: History) -> dict[int, Trial]:
    """Return the trials that failed, by number, in the order of recording."""
    return {trial.number: trial for trial in history.trials if trial.state == "failed"}
