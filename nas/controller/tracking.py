"""Trackers report a search to the tools in which people follow their trainings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from nas.controller.signals import Interrupted
from nas.errors import NasError, did_you_mean, readable

if TYPE_CHECKING:
    from nas.controller.callbacks import Callbacks
    from nas.controller.progress import Event, Progress
    from nas.study.run import Run
    from nas.study.trial import Trial

TRACKERS = {
    "tensorboard": "nas.integrations.tensorboard:TensorBoard",
    "mlflow": "nas.integrations.mlflow:MLflow",
    "wandb": "nas.integrations.wandb:WeightsAndBiases",
    "trackio": "nas.integrations.trackio:Trackio",
}
"""Module and class of each tracker by name, imported when it is used."""

End = Literal["finished", "interrupted", "failed"]
"""How a search ended: all was recorded, a signal stopped it, or an error did."""


class Tracker(Protocol):
    """Receiver of the events of a search, in the process that leads it."""

    def start(self, run: Run) -> None:
        """Begin or continue a search; the run has its name, folder and settings."""

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        """Report an epoch of trial `number`; the row has epoch (from 1), val_error and other figures."""

    def trial(self, trial: Trial) -> None:
        """Report a recorded trial: complete, failed, or stopped by successive halving."""

    def end(self, how: End) -> None:
        """End the search."""


class Tracking:
    """Several trackers, each by its name or as an object.

    NasError for a name that is unknown or whose package is missing. A tracker that fails, such as one whose
    server does not answer, is dropped with a warning, and the search goes on.
    """

    def __init__(self, trackers: Sequence[str | Tracker]) -> None:
        self.trackers = [_make(tracker) if isinstance(tracker, str) else tracker for tracker in trackers]

    @contextmanager
    def following(self, run: Run) -> Iterator[None]:
        """Report the start of a search, and how the block ends."""
        self._call("start", run)
        how: End = "failed"
        try:
            yield
            how = "finished"
        except (Interrupted, KeyboardInterrupt):
            how = "interrupted"
            raise
        finally:
            self._call("end", how)

    def joined(self, callbacks: Callbacks) -> Callbacks:
        """Return callbacks that report to the trackers first."""

        def trial(finished: Trial, progress: Progress) -> None:
            self._call("trial", finished)
            callbacks.on_trial(finished, progress)

        def event(happened: Event) -> None:
            if happened.kind == "epoch":
                self._call("epoch", happened.number, happened.row)
            callbacks.on_event(happened)

        return replace(callbacks, on_trial=trial, on_event=event)

    def _call(self, method: str, *arguments: Any) -> None:
        for tracker in list(self.trackers):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                self.trackers.remove(tracker)
                reason = readable(f"{type(error).__name__}: {error}".split("\n")[0])
                warnings.warn(f"{type(tracker).__name__} failed and is dropped: {reason}", stacklevel=2)


def _make(name: str) -> Tracker:
    if name not in TRACKERS:
        raise NasError(f"unknown tracker {name!r}", where="track", hint=did_you_mean(name, TRACKERS))
    module, _, kind = TRACKERS[name].partition(":")
    tracker: Tracker = getattr(import_module(module), kind)()
    return tracker


def figures(trial: Trial) -> dict[str, float]:
    """Return the figures of a trial that trackers log: error, FLOPs, parameters, and seconds of training."""
    error = {} if trial.error is None else {"error": trial.error}
    return {**error, "flops": trial.flops, "params": trial.params, "duration": trial.duration}
