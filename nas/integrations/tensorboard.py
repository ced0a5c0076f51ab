"""TensorBoard: curves and decisions of each trial, in tensorboard/ of the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.controller.tracking import End, figures
from nas.plugins import need

if TYPE_CHECKING:
    from nas.study.run import Run
    from nas.study.trial import Trial


class TensorBoard:
    """Tracker for `tensorboard --logdir RUN/tensorboard`: curves, decisions and results per trial."""

    def __init__(self) -> None:
        need("tensorboard", "tensorboardX")
        self.folder = Path()
        self.writers: dict[int, Any] = {}

    def start(self, run: Run) -> None:
        self.folder = run.folder / "tensorboard"

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name != "epoch":
                self._writer(number).add_scalar(name, value, row["epoch"])

    def trial(self, trial: Trial) -> None:
        from tensorboardX.summary import hparams

        writer = self._writer(trial.number)
        writer.add_text("network", str(trial.genotype))
        if trial.complete:
            # As SummaryWriter.add_hparams does, which would open a second file.
            for summary in hparams(dict(trial.decisions), figures(trial)):
                writer.file_writer.add_summary(summary)
            for name, value in figures(trial).items():
                writer.add_scalar(name, value)
        else:
            writer.add_text(
                trial.state, f"{trial.reason}\n\n{trial.message}".strip() or "by successive halving"
            )
        self.writers.pop(trial.number).close()

    def end(self, how: End) -> None:
        for writer in self.writers.values():
            writer.close()

    def _writer(self, number: int) -> Any:
        from tensorboardX import SummaryWriter

        if number not in self.writers:
            self.writers[number] = SummaryWriter(str(self.folder / f"trial-{number:04}"))
        return self.writers[number]
