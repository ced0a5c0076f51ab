"""The folder of a run and the study in it: `open_run` opens them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError, NotFoundError
from nas.pareto import knee
from nas.space.space import SearchSpace, parse_space
from nas.study import run_folder
from nas.study.objectives import error_first
from nas.study.outcomes import none_complete
from nas.study.run_config import RunConfig
from nas.study.run_folder import LATEST, RunFolder
from nas.study.storage_url import own_storage
from nas.study.study import Study
from nas.study.trial import Trial
from nas.training.profile import Times, read_profile

if TYPE_CHECKING:
    import pandas as pd

RESULTS = Path("results")


@dataclass(frozen=True)
class Run:
    """A run folder and the study in it."""

    files: RunFolder
    config: RunConfig = field(repr=False)
    study: Study = field(repr=False)

    @property
    def folder(self) -> Path:
        return self.files.path

    @property
    def name(self) -> str:
        return self.files.name

    @cached_property
    def space(self) -> SearchSpace:
        return parse_space(run_folder.read_space(self.files, self.config), str(self.files.space))

    @property
    def reseeded(self) -> Sequence[Trial]:
        """Trainings of trials again with further seeds (`nas pareto --reseed`); `design` names the trial."""
        if not self.files.reseeded.exists():
            return ()
        with Study.open(self.files.reseeded) as study:
            return study.trials

    @property
    def profile(self) -> list[list[Times]]:
        """What each process and worker did and when, by session, as far as `search` was asked to keep it."""
        return read_profile(self.files.profile)

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial, in the order in which they finished."""
        return self.study.frame()

    def front(self, objectives: Sequence[str] | None = None) -> list[Trial]:
        """The non-dominated networks, from the lowest error to the highest, each as its first
        complete trial; by default of the run's own objectives. A network that was trained with several
        seeds counts by the means over them (`History.means`)."""
        members = self.study.front(objectives)
        return sorted(members, key=lambda trial: self.study.means(trial, ("error", "flops")))

    def trial(self, number: int) -> Trial:
        """A trial by its number; NotFoundError if it is not recorded."""
        found = self.study.by_number(number)
        if found is None:
            numbers = [trial.number for trial in self.study.trials]
            hint = f"recorded are {min(numbers)} to {max(numbers)}" if numbers else "none is recorded yet"
            raise NotFoundError(f"no trial {number}", where=str(self.folder), hint=hint)
        return found

    def best(self) -> Trial:
        """The network with the lowest error, the cheaper of equals."""
        return self._some_front()[0]

    def knee(self) -> Trial:
        """The network at the knee of the front."""
        front = self._some_front()
        names = error_first(self.study.objectives)
        return front[knee([self.study.means(trial, names) for trial in front])]

    def weights(self, trial: Trial) -> bytes | None:
        """The safetensors bytes of a trial, or None where they were not kept."""
        number = trial.number if trial.duplicate_of is None else trial.duplicate_of
        path = self.files.weights / f"{number}.safetensors"
        return path.read_bytes() if path.is_file() else None

    def none_complete(self) -> NotFoundError:
        """The error to raise where a complete trial is needed and there is none."""
        outcomes = ((trial.state, trial.reason) for trial in self.study.trials)
        return none_complete(outcomes, where=str(self.folder), name=self.name)

    def _some_front(self) -> list[Trial]:
        front = self.front()
        if not front:
            raise self.none_complete()
        return front


def find(run: str | Path, results_dir: str | Path = RESULTS) -> RunFolder:
    """The folder of a run, given by path, by its name under `results_dir`, or as `latest`."""
    if str(run) != LATEST:
        return run_folder.find_run(results_dir, run)
    known = run_folder.list_runs(results_dir)
    if not known:
        raise NotFoundError("no runs", where=str(results_dir), hint="nas search starts the first one")
    return known[-1]


def open_run(run: str | Path, results_dir: str | Path = RESULTS, *, storage: str | None = None) -> Run:
    """Open a run to read it, also while a search is writing it.

    Args:
        run: Name of a run in `results_dir`, path of a run folder, or `"latest"`.
        results_dir: Folder that holds the runs.
        storage: URL of the PostgreSQL database that holds the trials of a run with several drivers; by
            default that of the environment variable NAS_STORAGE. A server that only the run folder names
            is not contacted.

    Returns:
        The run: its folder, settings, search space and study. Its study holds the database open until
        `run.study.close()`, or the end of a `with run.study:` block.

    Raises:
        NotFoundError: There is no such run; the message names the closest one.
        NasError: The run names a server, and `storage` or NAS_STORAGE do not name the same one.
        StorageError: A file of the run is damaged or was changed by hand.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> len(run.trials), run.best().complete
        (6, True)
    """
    files = find(run, results_dir)
    config = run_folder.read_config(files)
    return Run(files, config, open_study(files, config, storage))


def open_study(
    files: RunFolder, config: RunConfig, storage: str | None = None, kind: type[Study] = Study
) -> Study:
    """The study of a run: in its folder, or in the database that its configuration and the user name
    (`nas.study.storage_url.own_storage`). `kind` is what a driver opens to write."""
    if config.storage is not None:
        own = own_storage(config.storage, storage, str(files.path))
        return kind.open(own, name=config.study)
    if storage is not None:
        raise NasError("the study of this run is a file in its folder", where="storage")
    return Study.open(files.database)
