"""The trials of a run that wait at a rung, kept in its folder, so that a search goes on with them
whatever ended it.

rungs/
    <number>.json                    what the record of the trial would be if it were stopped there
    <number>-<epochs>.checkpoint     the state of its training, written first

A file is replaced when the trial has come to the next rung, and goes away when the trial is recorded.
Without its checkpoint a trial is trained from the start again, to the same figures.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from pathlib import Path

from nas.errors import NasError, StorageError
from nas.files import read_checked, write_atomic, write_checked
from nas.schedulers.successive_halving import Halving, Standings, arrived
from nas.space.space import SearchSpace, decisions_of
from nas.study.history import History
from nas.study.trial import Trial
from nas.study.trial_json import from_attributes, to_attributes
from nas.training.task import Part


class Rungs:
    """Which trials of a history wait, and which of them goes on. Those that an earlier process left in
    `folder` wait again; StorageError names a file that it has not written."""

    def __init__(self, halving: Halving, folder: Path, history: History, space: SearchSpace) -> None:
        self.halving, self.folder, self.history = halving, folder, history
        self.standings = Standings(halving.rungs, history)
        folder.mkdir(exist_ok=True)
        resting = [_read(path, space, halving) for path in sorted(folder.glob("*.json"))]
        resting = [trial for trial in resting if history.by_number(trial.number) is None]
        for trial in resting:
            history.start(trial.number, trial.digest)
        if not history.arrived:  # else it has followed them itself
            for trial in arrived((*history.trials, *resting), halving.rungs):
                history.wait(trial)
        for trial in resting:
            if trial.number not in history.waiting:  # an older program did not say when it came
                history.wait(trial)
        known = {path for trial in history.waiting.values() for path in self._files(trial)}
        for path in set(filter(Path.is_file, folder.iterdir())) - known:
            path.unlink()  # left by a process that was killed

    def promoted(self, running: Container[int], *, closing: bool) -> Trial | None:
        """The trial to go on with; `closing` where no further candidate is to come."""
        trials = self.history.waiting
        going = [number for number in trials if number in running]
        resting = trials.keys() - going
        waiting = {number: self.halving.rungs.index(trials[number].epochs) for number in resting}
        chosen = self.standings.promoted(waiting, going, images=self.halving.images, closing=closing)
        return None if chosen is None else trials[chosen]

    def part(self, number: int) -> Part:
        """What is next to be trained of a trial."""
        trial = self.history.waiting.get(number)
        if trial is None:
            return Part(0, self.halving.rungs[0])
        until = self.halving.rungs[self.halving.rungs.index(trial.epochs) + 1]
        checkpoint = self._files(trial)[1]
        return Part(trial.epochs, until, checkpoint.read_bytes() if checkpoint.is_file() else None)

    def wait(self, trial: Trial, checkpoint: bytes) -> None:
        """Let a trial wait where it has come to; returns when that is on disk."""
        before = self.history.waiting.get(trial.number)
        trial = self.placed(trial)
        record, state = self._files(trial)
        write_atomic(state, checkpoint)
        write_checked(record, to_attributes(trial))
        if before is not None:
            self._files(before)[1].unlink(missing_ok=True)
        self.history.wait(trial)

    def placed(self, trial: Trial) -> Trial:
        """With its place among all arrivals, as it has come to a rung; the last one is the end."""
        return replace(trial, arrivals=(*trial.arrivals, self.history.arrivals + 1))

    def recorded(self, trial: Trial, before: Trial | None) -> None:
        """A trial has ended: its files are of no use any more."""
        if trial.complete and trial.arrivals:
            self.history.wait(trial)
        for path in self._files(before) if before else ():
            path.unlink(missing_ok=True)

    def _files(self, trial: Trial) -> tuple[Path, Path]:
        return self.folder / f"{trial.number}.json", self.folder / f"{trial.number}-{trial.epochs}.checkpoint"


def _read(path: Path, space: SearchSpace, halving: Halving) -> Trial:
    attributes = read_checked(path)
    try:
        trial = from_attributes(attributes)
        rests = trial.state == "stopped" and trial.epochs in halving.rungs[:-1]
        if path.stem != str(trial.number) or not rests or len(trial.curve) != trial.epochs:
            raise ValueError(f"is of trial {trial.number}, {trial.state} after {trial.epochs} epochs")
        decisions = decisions_of(space, trial.genotype, strict=not trial.proposal.design)
        return replace(trial, decisions=decisions)
    except (LookupError, TypeError, ValueError, NasError) as error:
        hint = "delete the file to train this trial from the start"
        raise StorageError(f"cannot be read: {error}", where=str(path), hint=hint) from error
