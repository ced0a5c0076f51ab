"""MLflow: one run for the search, and one below it for each trial.

They go to the tracking server that MLFLOW_TRACKING_URI names, by default a file in the current folder, and to
the experiment that MLFLOW_EXPERIMENT_NAME names, by default that of the space.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.controller.tracking import End, figures
from nas.integrations.outcome import settings, summary, write_files
from nas.plugins import need

if TYPE_CHECKING:
    from nas.study.run import Run
    from nas.study.trial import Trial

MAX_PARAMS = 100
"""Most parameters that MLflow takes in one call."""

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""Environment of MLflow's client, unless the user set it. By default it tries a dead server for four minutes,
in which the search would stand still."""

STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflow:
    """Tracker for MLflow: the run of the search is named after the run folder, and holds settings, summary
    figures and, once the search has finished, front, report and the source of the best network."""

    def __init__(self) -> None:
        need("mlflow", "mlflow")
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self.client = MlflowClient()
        self.experiment = self.search = ""
        self.runs: dict[int, str] = {}  # of running trials
        self.interrupted: dict[str, str] = {}  # runs of trials that an earlier driver left, by name
        self.run: Run

    def start(self, run: Run) -> None:
        """Begin a run, or continue that of a resumed search."""
        self.run = run
        name, folder = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.config.space, str(run.folder.resolve())
        experiment = self.client.get_experiment_by_name(name)
        self.experiment = experiment.experiment_id if experiment else self.client.create_experiment(name)
        query = "tags.`nas.run` = '{}'".format(folder.replace("'", "\\'"))
        before = self.client.search_runs([self.experiment], query, max_results=1)
        if before:
            self.search = before[0].info.run_id
            self.client.update_run(self.search, status="RUNNING")
            self.interrupted = self._left()
            return
        self.search = self._create(run.name, {"nas.run": folder})
        kept = settings(run)
        recipe = {f"recipe.{name}": value for name, value in kept.pop("recipe").items()}
        self._log(self.search, kept | recipe)

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        values = {name: value for name, value in row.items() if name != "epoch"}
        self._measure(self._run(number), values, step=row["epoch"])

    def trial(self, trial: Trial) -> None:
        run = self._run(trial.number)
        self._log(run, {**trial.decisions, "seed": trial.seed, "proposer": trial.proposal.proposer})
        self._measure(run, figures(trial))
        tags = {"network": str(trial.genotype), "digest": trial.digest, "state": trial.state}
        for name, value in (tags | ({"failed": trial.reason} if trial.reason else {})).items():
            self.client.set_tag(run, name, value)
        self.client.set_terminated(run, "FAILED" if trial.state == "failed" else "FINISHED")
        del self.runs[trial.number]

    def end(self, how: End) -> None:
        for run in self.runs.values():
            self.client.set_terminated(run, "KILLED")
        try:
            self._measure(self.search, summary(self.run))
            if how == "finished":
                with tempfile.TemporaryDirectory() as folder:
                    for file in write_files(self.run, Path(folder)):
                        self.client.log_artifact(self.search, str(file))
        finally:
            self.client.set_terminated(self.search, STATUS[how])

    def _run(self, number: int) -> str:
        name = f"trial-{number}"
        if number not in self.runs and name in self.interrupted:
            self.runs[number] = self.interrupted.pop(name)
            self.client.update_run(self.runs[number], status="RUNNING")
        elif number not in self.runs:
            self.runs[number] = self._create(name, {"mlflow.parentRunId": self.search})
        return self.runs[number]

    def _left(self) -> dict[str, str]:
        """Return the runs of trials that were interrupted, or whose driver was killed."""
        trials = f"tags.mlflow.parentRunId = '{self.search}'"
        return {
            run.info.run_name: run.info.run_id
            for status in ("KILLED", "RUNNING")
            for run in self.client.search_runs(
                [self.experiment], f"{trials} and attributes.status = '{status}'"
            )
        }

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        return str(self.client.create_run(self.experiment, run_name=name, tags=dict(tags)).info.run_id)

    def _log(self, run: str, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        # MLflow takes no brackets in names, such as those of decisions that depend on others.
        params = [Param(re.sub(r"[^\w./ -]", "_", name), str(value)) for name, value in values.items()]
        for i in range(0, len(params), MAX_PARAMS):
            self.client.log_batch(run, params=params[i : i + MAX_PARAMS])

    def _measure(self, run: str, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(run, metrics=[Metric(k, float(v), now, step) for k, v in values.items()])
