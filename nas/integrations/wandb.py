"""Weights & Biases: one run for the search and one per trial, in a group named after the run folder.

The project is "nas" unless WANDB_PROJECT names another. With WANDB_MODE=offline everything stays in the
run folder until `wandb sync`.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.controller.tracking import End, figures
from nas.files import write_atomic
from nas.integrations.outcome import settings, summary, write_files
from nas.plugins import need

if TYPE_CHECKING:
    from nas.study.run import Run
    from nas.study.trial import Trial

CONNECT = 20.0
"""Seconds in which a server must answer, in place of W&B's 90."""

STOPPED = 255
"""Exit code by which W&B tells a run that was stopped from one that failed."""
EXIT_CODE = {"finished": 0, "interrupted": STOPPED, "failed": 1}


class WeightsAndBiases:
    """Tracker for W&B: the configuration of a trial's run holds the decisions, its summary the results. The
    run of the search holds summary figures and, once the search has finished, front, report and the source of
    the best network as an artifact."""

    def __init__(self) -> None:
        need("wandb", "wandb")
        self.shared: dict[str, Any] = {}
        self.runs: dict[int, Any] = {}
        self.search: Any = None
        self.id = ""
        self.run: Run

    def start(self, run: Run) -> None:
        """Begin a run of the search, or continue that of a resumed search."""
        self.run = run
        self.shared = {
            "project": os.environ.get("WANDB_PROJECT", "nas"),
            "group": run.name,
            "dir": str(run.folder),
            "config": settings(run),
            "reinit": "create_new",  # trials run side by side
        }
        self.id = _search_id(run.folder)
        self.search = self._init(run.name, "search", self.id)

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        self._run(number).log(dict(row), step=row["epoch"])

    def trial(self, trial: Trial) -> None:
        run = self._run(trial.number)
        run.config.update({**trial.decisions, "digest": trial.digest, "proposer": trial.proposal.proposer})
        run.summary.update({**figures(trial), "network": str(trial.genotype), "state": trial.state})
        self.runs.pop(trial.number).finish(exit_code=1 if trial.state == "failed" else 0)

    def end(self, how: End) -> None:
        for run in self.runs.values():
            run.finish(exit_code=STOPPED)
        try:
            self.search.summary.update(summary(self.run))
            if how == "finished":
                self._log_files()
        finally:
            self.search.finish(exit_code=EXIT_CODE[how])

    def _log_files(self) -> None:
        import wandb

        artifact = wandb.Artifact(self.run.name, type="search")
        with tempfile.TemporaryDirectory() as folder:
            for file in write_files(self.run, Path(folder)):
                artifact.add_file(str(file))
        self.search.log_artifact(artifact)

    def _run(self, number: int) -> Any:
        if number not in self.runs:
            self.runs[number] = self._init(f"trial-{number}", "trial", f"{self.id}-{number}")
        return self.runs[number]

    def _init(self, name: str, kind: str, identifier: str) -> Any:
        """Begin a run, or continue the one of this id."""
        import wandb

        own = wandb.Settings(silent=True, init_timeout=CONNECT)  # `init` changes it
        return wandb.init(
            name=name, job_type=kind, id=identifier, resume="allow", settings=own, **self.shared
        )


def _search_id(folder: Path) -> str:
    """Return the id of the search's run, which a resumed search finds in the run folder."""
    file = folder / "wandb" / "search-id"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, secrets.token_hex(8))
    return file.read_text()
