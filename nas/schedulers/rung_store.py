"""The paused trials of a run, kept in its folder so that a resumed search continues them.

rungs/
    <number>.json                    the record that the trial would get if it were stopped at its rung
    <number>-<epochs>.checkpoint     the state of its training, written first

Both are replaced when the trial comes to its next rung, and deleted when it is recorded. A trial without
its checkpoint is trained from the start again, with the same results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from nas.errors import NasError, StorageError
from nas.files import read_bytes, read_checked, write_atomic, write_checked, write_errors
from nas.space.answers import decisions_of
from nas.space.space import SearchSpace
from nas.study.trial import Trial
from nas.study.trial_json import from_attributes, to_attributes
from nas.training.checkpoint import MAX_CHECKPOINT


class RungStore:
    """Files of paused trials in a folder, which is made if it does not exist."""

    def __init__(self, folder: Path, rungs: Sequence[int], space: SearchSpace) -> None:
        self._folder, self._rungs, self._space = folder, tuple(rungs), space
        self._files: dict[int, tuple[Path, Path]] = {}
        with write_errors(folder):
            folder.mkdir(exist_ok=True)

    def read(self) -> list[Trial]:
        """Return the paused trials; StorageError names a file that this class has not written."""
        return [self._read(path) for path in sorted(self._folder.glob("*.json"))]

    def keep(self, trials: Iterable[Trial]) -> None:
        """Delete the files of all but some trials, such as those that a killed process left behind."""
        self._files = {trial.number: self._paths(trial) for trial in trials}
        kept = {path for paths in self._files.values() for path in paths}
        for path in set(filter(Path.is_file, self._folder.iterdir())) - kept:
            _delete(path)

    def write(self, trial: Trial, checkpoint: bytes) -> None:
        """Keep a trial, replacing its earlier state; both files are on disk when this returns."""
        record, state = self._paths(trial)
        write_atomic(state, checkpoint)
        write_checked(record, to_attributes(trial))
        earlier = self._files.get(trial.number)
        if earlier and earlier[1] != state:  # a trial that lost its state comes to the same rung again
            _delete(earlier[1])
        self._files[trial.number] = record, state

    def checkpoint(self, number: int) -> bytes | None:
        """Return the state of a trial's training, None if it is lost. StorageError if it is larger than
        `MAX_CHECKPOINT`."""
        path = self._files[number][1]
        return read_bytes(path, MAX_CHECKPOINT, links=False) if path.is_file() else None

    def delete(self, number: int) -> None:
        """Delete the files of a trial, if there are any."""
        for path in self._files.pop(number, ()):
            _delete(path)

    def _paths(self, trial: Trial) -> tuple[Path, Path]:
        return (
            self._folder / f"{trial.number}.json",
            self._folder / f"{trial.number}-{trial.epochs}.checkpoint",
        )

    def _read(self, path: Path) -> Trial:
        attributes = read_checked(path)
        try:
            trial = from_attributes(attributes)
            paused = trial.state == "stopped" and trial.epochs in self._rungs[:-1]
            if path.stem != str(trial.number) or not paused or len(trial.curve) != trial.epochs:
                raise ValueError(f"is of trial {trial.number}, {trial.state} after {trial.epochs} epochs")
            decisions = decisions_of(self._space, trial.genotype, strict=not trial.proposal.design)
            return replace(trial, decisions=decisions)
        except (LookupError, TypeError, ValueError, RecursionError, NasError) as error:
            hint = "delete the file to train this trial from the start"
            raise StorageError(f"cannot be read: {error}", where=str(path), hint=hint) from error


def _delete(path: Path) -> None:
    with write_errors(path):
        path.unlink(missing_ok=True)
