"""trackio: one run per trial, in a group named after the run folder, with its curve once it is recorded.

The project is "nas" unless TRACKIO_PROJECT names another. Runs stay on this machine, for `trackio show`,
unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL names a place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

from nas.controller.tracking import End, figures
from nas.integrations.outcome import settings, summary
from nas.plugins import need

if TYPE_CHECKING:
    from nas.study.run import Run
    from nas.study.trial import Trial


class Trackio:
    """Tracker for trackio, which has one open run at a time; so a trial is logged once it has ended."""

    def __init__(self) -> None:
        need("trackio", "trackio")
        self.run: Run

    def start(self, run: Run) -> None:
        self.run = run

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        pass

    def trial(self, trial: Trial) -> None:
        kept = {
            "network": str(trial.genotype),
            "digest": trial.digest,
            "state": trial.state,
            "reason": trial.reason,
        }
        rows = [*trial.curve, {**figures(trial), "epoch": len(trial.curve) + 1}]
        self._log(f"trial-{trial.number}", {**trial.decisions, **kept}, rows)

    def end(self, how: End) -> None:
        self._log("search", {**settings(self.run), "ended": how}, [summary(self.run)])

    def _log(self, name: str, config: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
        import trackio

        with redirect_stdout(StringIO()):  # trackio prints how to open its page
            logged = trackio.init(
                os.environ.get("TRACKIO_PROJECT", "nas"),
                name=f"{self.run.name}-{name}",
                group=self.run.name,
                config=dict(config),
                resume="allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
            for row in rows:
                logged.log(
                    {key: value for key, value in row.items() if key != "epoch"}, step=row.get("epoch")
                )
            trackio.finish()
