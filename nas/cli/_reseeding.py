"""Train networks again with further seeds, as --reseed of several commands does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nas.cli._progress import SearchProgress
from nas.formatting import count

if TYPE_CHECKING:
    from nas.controller.progress import Progress
    from nas.study.trial import Proposal, Trial


def reseed_shown(run: str, seeds: int, **settings: Any) -> None:
    """Call `nas.controller.reseed.reseed` with progress on stderr."""
    from nas.controller.reseed import reseed

    progress = ReseedProgress()
    with progress:
        reseed(
            run,
            seeds,
            **settings,
            on_start=progress.begin,
            on_trial=progress.trial,
            on_event=progress.event,
            on_stop=progress.stop,
        ).study.close()


class ReseedProgress(SearchProgress):
    """Callbacks for `nas.controller.reseed.reseed`."""

    done = 0

    def begin(self, missing: Sequence[Proposal], epochs: int, slots: int) -> None:
        self.total, self.epochs = len(missing), epochs
        networks = len({proposal.genotype.digest for proposal in missing})
        shown = f"{count(self.total, 'training')} of {count(networks, 'network')}"
        self.print(f"{shown}, {count(epochs, 'epoch')} each, {slots} at a time")

    def trial(self, trial: Trial, progress: Progress) -> None:
        self.done += 1
        super().trial(trial, replace(progress, done=self.done, total=self.total))

    def shown(self, number: int, proposal: Proposal) -> str:
        return f"#{proposal.design['trial']}"
