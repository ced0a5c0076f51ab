"""Weights & Biases: one run per trial, in a group named after the run folder.

The project is "nas" unless WANDB_PROJECT names another. With WANDB_MODE=offline everything stays in the
run folder until `wandb sync`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.controller.tracking import figures
from nas.plugins import need

if TYPE_CHECKING:
    from nas.study.run import Run
    from nas.study.trial import Trial


class WeightsAndBiases:
    """Tracker for W&B: the configuration of a run holds the decisions, its summary the results."""

    def __init__(self) -> None:
        need("wandb", "wandb")
        self.shared: dict[str, Any] = {}
        self.runs: dict[int, Any] = {}

    def start(self, run: Run) -> None:
        import wandb

        settings = run.config.to_dict()
        kept = {name: settings[name] for name in ("space", "data", "searcher", "seed", "recipe")}
        self.shared = {
            "project": os.environ.get("WANDB_PROJECT", "nas"),
            "group": run.name,
            "dir": str(run.folder),
            "config": kept,
            "reinit": "create_new",  # trials run side by side
            "settings": wandb.Settings(silent=True),
        }

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        self._run(number).log(dict(row), step=row["epoch"])

    def trial(self, trial: Trial) -> None:
        run = self._run(trial.number)
        run.config.update({**trial.decisions, "digest": trial.digest, "proposer": trial.proposal.proposer})
        run.summary.update({**figures(trial), "network": str(trial.genotype), "state": trial.state})
        self.runs.pop(trial.number).finish(exit_code=0 if trial.complete else 1)

    def end(self) -> None:
        for run in self.runs.values():
            run.finish(exit_code=255)

    def _run(self, number: int) -> Any:
        import wandb

        if number not in self.runs:
            self.runs[number] = wandb.init(name=f"trial-{number}", **self.shared)
        return self.runs[number]
