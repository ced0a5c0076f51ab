"""A full training in the trackers of searches: its settings, its curve and its figures."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from nas.controller.tracking import TRACKERS
from nas.errors import NasError, did_you_mean, readable
from nas.plugins import need

Log = Callable[[Mapping[str, float], int], None]
"""Writes figures of an epoch."""
PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb", "trackio": "trackio"}
PROJECT = "nas"
"""Name of the experiment or project, unless an environment variable of the tool names another."""


class TrainingLog:
    """Several trackers of one training, by name.

    A tracker that fails is dropped with a warning, and the training goes on.

    Raises:
        NasError: A name is unknown, or its package is missing.
    """

    def __init__(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in TRACKERS:
                raise NasError(f"unknown tracker {name!r}", where="track", hint=did_you_mean(name, TRACKERS))
            need(name, PACKAGES[name])
        self.names, self.logs = names, dict[str, Log]()
        self.stack = ExitStack()

    def __enter__(self) -> TrainingLog:
        self.stack.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            self.stack.__exit__(*raised)
        except Exception as error:
            if error is raised[1]:
                raise
            _warn("tracker", error)

    def start(self, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        """Begin a run of each tracker.

        Args:
            name: Name of the training.
            folder: Place of the folders `tensorboard` and `wandb`.
            settings: What is trained and how.
        """
        for tracker in self.names:
            try:
                self.logs[tracker] = self.stack.enter_context(_LOGS[tracker](name, folder, settings))
            except Exception as error:
                _warn(tracker, error)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log a row of the curve."""
        self._write({name: value for name, value in row.items() if name != "epoch"}, row["epoch"])

    def figures(self, report: Mapping[str, Any]) -> None:
        """Log the figures of the test images, after the last epoch."""
        tested = {k: v for k, v in report.items() if k.startswith("test_") and isinstance(v, float)}
        if tested:
            self._write(tested, len(report["curve"]))

    def _write(self, values: Mapping[str, float], step: int) -> None:
        for tracker, log in list(self.logs.items()):
            try:
                log(values, step)
            except Exception as error:
                del self.logs[tracker]
                _warn(tracker, error)


def _warn(tracker: str, error: Exception) -> None:
    reason = readable(f"{type(error).__name__}: {error}".split("\n")[0])
    warnings.warn(f"{tracker} failed and is dropped: {reason}", stacklevel=3)


@contextmanager
def _tensorboard(name: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Log]:
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard" / name)) as writer:
        writer.add_text("settings", "\n\n".join(f"{key}: {value}" for key, value in settings.items()))

        def log(values: Mapping[str, float], step: int) -> None:
            for key, value in values.items():
                writer.add_scalar(key, value, step)

        yield log


@contextmanager
def _mlflow(name: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Log]:
    from mlflow.entities import Metric, Param

    from nas.integrations.mlflow import MLflow

    client = MLflow().client
    title = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
    experiment = client.get_experiment_by_name(title)
    key = experiment.experiment_id if experiment else client.create_experiment(title)
    run = client.create_run(key, run_name=name, tags={"nas.folder": str(folder)}).info.run_id
    client.log_batch(run, params=[Param(name, str(value)) for name, value in settings.items()])

    def log(values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        client.log_batch(run, metrics=[Metric(k, float(v), now, step) for k, v in values.items()])

    ended = "KILLED"
    try:
        yield log
        ended = "FINISHED"
    except Exception:
        ended = "FAILED"
        raise
    finally:
        client.set_terminated(run, ended)


@contextmanager
def _wandb(name: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Log]:
    import wandb

    from nas.integrations.wandb import CONNECT

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=name,
        job_type="training",
        dir=str(folder),
        config=dict(settings),
        settings=wandb.Settings(silent=True, init_timeout=CONNECT),
    )
    with run:  # ends it, as failed after an exception
        yield lambda values, step: run.log(dict(values), step=step)


@contextmanager
def _trackio(name: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Log]:
    import trackio

    with redirect_stdout(StringIO()):  # trackio prints how to open its page
        run = trackio.init(
            os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=name,
            config=dict(settings),
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
    try:
        yield lambda values, step: run.log(dict(values), step=step)
    finally:
        with redirect_stdout(StringIO()):
            trackio.finish()


_LOGS: dict[str, Callable[[str, Path, Mapping[str, Any]], AbstractContextManager[Log]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
    "trackio": _trackio,
}
