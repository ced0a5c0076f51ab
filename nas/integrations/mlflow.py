"""MLflow: one run for the search, and one below it for each trial.

They go to the tracking server that MLFLOW_TRACKING_URI names, by default a file in the current folder.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.controller.tracking import figures
from nas.plugins import need

if TYPE_CHECKING:
    from nas.study.run import Run
    from nas.study.trial import Trial

MAX_PARAMS = 100
"""Most parameters that MLflow takes in one call."""


class MLflow:
    """Tracker for MLflow: the experiment is named after the space, its run after the run folder."""

    def __init__(self) -> None:
        need("mlflow", "mlflow")
        from mlflow import MlflowClient

        self.client = MlflowClient()
        self.experiment = self.search = ""
        self.runs: dict[int, str] = {}  # of running trials

    def start(self, run: Run) -> None:
        """Begin a run, or continue that of a resumed search."""
        space, folder = run.config.space, str(run.folder.resolve())
        found = self.client.get_experiment_by_name(space)
        self.experiment = found.experiment_id if found else self.client.create_experiment(space)
        query = f"tags.`nas.run` = '{folder}'"
        before = self.client.search_runs([self.experiment], query, max_results=1)
        if before:
            self.search = before[0].info.run_id
            self.client.update_run(self.search, status="RUNNING")
            return
        self.search = self._create(run.name, {"nas.run": folder})
        settings = run.config.to_dict()
        kept = {name: settings[name] for name in ("data", "searcher", "seed", "trials")}
        self._log(self.search, kept | {f"recipe.{k}": v for k, v in settings["recipe"].items()})

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        values = {name: value for name, value in row.items() if name != "epoch"}
        self._measure(self._run(number), values, step=row["epoch"])

    def trial(self, trial: Trial) -> None:
        run = self._run(trial.number)
        self._log(run, {**trial.decisions, "proposer": trial.proposal.proposer})
        self._measure(run, figures(trial))
        for name, value in (("network", str(trial.genotype)), ("digest", trial.digest)):
            self.client.set_tag(run, name, value)
        if not trial.complete:
            self.client.set_tag(run, "failed", trial.reason)
        self.client.set_terminated(run, "FINISHED" if trial.complete else "FAILED")
        del self.runs[trial.number]

    def end(self) -> None:
        for run in self.runs.values():
            self.client.set_terminated(run, "KILLED")
        self.client.set_terminated(self.search, "FINISHED")

    def _run(self, number: int) -> str:
        if number not in self.runs:
            self.runs[number] = self._create(f"trial-{number}", {"mlflow.parentRunId": self.search})
        return self.runs[number]

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
