"""Trackers: what happens in a search, told to the tools in which people follow their trainings."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from nas.errors import NasError, did_you_mean

if TYPE_CHECKING:
    from nas.controller.callbacks import Callbacks
    from nas.controller.progress import Event, Progress
    from nas.study.run import Run
    from nas.study.trial import Trial

TRACKERS = {
    "tensorboard": "nas.integrations.tensorboard:TensorBoard",
    "mlflow": "nas.integrations.mlflow:MLflow",
    "wandb": "nas.integrations.wandb:WeightsAndBiases",
}
"""Module and class of each tracker by name, loaded when it is asked for."""


class Tracker(Protocol):
    """Is told, in the process that leads the search, what happens in it."""

    def start(self, run: Run) -> None:
        """The search begins, or goes on; the run has its name, folder and configuration."""

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        """Trial `number` has finished an epoch; the row has epoch (from 1), val_error and the like."""

    def trial(self, trial: Trial) -> None:
        """A trial is recorded, complete or failed."""

    def end(self) -> None:
        """The search ends, however it does."""


class Tracking:
    """Several trackers as one, each by its name or ready made.

    NasError for a name that is unknown or whose package is missing. A tracker that fails to
    start ends the search; one that fails later is left out from then on, with a warning.
    """

    def __init__(self, trackers: Sequence[str | Tracker]) -> None:
        self.trackers = [_make(each) if isinstance(each, str) else each for each in trackers]

    def start(self, run: Run) -> None:
        for tracker in self.trackers:
            tracker.start(run)

    def end(self) -> None:
        self._tell("end")

    def joined(self, callbacks: Callbacks) -> Callbacks:
        """Return callbacks that report to the trackers first."""

        def trial(finished: Trial, progress: Progress) -> None:
            self._tell("trial", finished)
            callbacks.on_trial(finished, progress)

        def event(happened: Event) -> None:
            if happened.kind == "epoch":
                self._tell("epoch", happened.number, happened.row)
            callbacks.on_event(happened)

        return replace(callbacks, on_trial=trial, on_event=event)

    def _tell(self, what: str, *arguments: Any) -> None:
        for tracker in list(self.trackers):
            try:
                getattr(tracker, what)(*arguments)
            except Exception as error:
                self.trackers.remove(tracker)
                message = f"{type(tracker).__name__} failed and is left out: {type(error).__name__}: {error}"
                warnings.warn(message, stacklevel=2)


def _make(name: str) -> Tracker:
    if name not in TRACKERS:
        raise NasError(f"unknown tracker {name!r}", where="track", hint=did_you_mean(name, TRACKERS))
    module, _, kind = TRACKERS[name].partition(":")
    tracker: Tracker = getattr(import_module(module), kind)()
    return tracker


def figures(trial: Trial) -> dict[str, float]:
    """What a complete trial is judged by."""
    error = {} if trial.error is None else {"error": trial.error}
    return {**error, "flops": trial.flops, "params": trial.params, "duration": trial.duration}
