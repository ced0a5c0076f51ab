"""The protocol of schedulers, and the one that trains every network to the end."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Protocol

from nas.study.history import History
from nas.study.trial import Proposal, Trial
from nas.training.task import EpochRange

if TYPE_CHECKING:
    from nas.space.space import SearchSpace


class Scheduler(Protocol):
    """Decides how far each network of a search is trained.

    The search asks `promote` whenever a worker is free, before it begins a new trial. It trains each trial
    for the epochs that `next_epochs` names, and hands the outcome to `pause` or, at the end, to `finish`
    and `forget`. A scheduler reads and updates the history that it was made for."""

    def promote(self, running: Container[int], *, closing: bool) -> Trial | None:
        """Return the paused trial to train on now, or None for a new one.

        running: numbers of the trials in training; closing: whether no new trial is to come.
        """

    def next_epochs(self, number: int) -> EpochRange | None:
        """Return the epochs to train next of a trial, None for all of its training."""

    def pause(self, trial: Trial, checkpoint: bytes) -> None:
        """Keep a trial that stopped before its last epoch, with the state of its training."""

    def finish(self, trial: Trial) -> Trial:
        """Return a trial as it is to be recorded, now that its training has ended."""

    def forget(self, trial: Trial) -> None:
        """Drop what was kept of a trial that is now recorded."""

    def proposal_count(self) -> int:
        """Return how many proposals `choose` wants for the next trial."""

    def choose(self, proposals: Sequence[Proposal], space: SearchSpace) -> Proposal:
        """Return the proposal to train, of two or more different networks."""

    def expected_history(self, history: History) -> History:
        """Return the history with the results that paused trials are expected to reach."""


class TrainFully:
    """Trains every network to its last epoch."""

    def promote(self, running: Container[int], *, closing: bool) -> Trial | None:
        return None

    def next_epochs(self, number: int) -> EpochRange | None:
        return None

    def pause(self, trial: Trial, checkpoint: bytes) -> None:
        raise AssertionError(f"trial {trial.number} stopped, though it was to be trained to the end")

    def finish(self, trial: Trial) -> Trial:
        return trial

    def forget(self, trial: Trial) -> None:
        pass

    def proposal_count(self) -> int:
        return 1

    def choose(self, proposals: Sequence[Proposal], space: SearchSpace) -> Proposal:
        return proposals[0]

    def expected_history(self, history: History) -> History:
        return history
