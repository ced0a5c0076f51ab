"""A run: its folder, its settings and its study. `open_run` opens one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, NotFoundError
from nas.files import read_bytes
from nas.graph.cost import cost
from nas.pareto import knee
from nas.space.genotype import expand
from nas.space.load import parse_space
from nas.space.space import SearchSpace
from nas.study import run_folder
from nas.study.expected import Expected, expected
from nas.study.objectives import error_first
from nas.study.outcomes import none_complete
from nas.study.run_config import RunConfig
from nas.study.run_folder import RESULTS, RunFolder
from nas.study.storage_url import own_storage
from nas.study.study import Study
from nas.study.trial import Trial
from nas.training.profile import Times, read_profile

if TYPE_CHECKING:
    import optuna
    import pandas as pd


WEIGHT_BYTES, MORE_BYTES = 16, 1 << 24
"""Most bytes of a weights file, per parameter (with the statistics of its norm), and for the names."""


@dataclass(frozen=True)
class Run:
    """A finished or unfinished search: its folder, its settings and its trials.

    files: the files of the run folder. config: its settings. study: its trials.
    """

    files: RunFolder
    config: RunConfig = field(repr=False)
    study: Study = field(repr=False)
    _expected: dict[Any, Expected | None] = field(default_factory=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        recorded = f"{len(self.study.trials)} of {self.config.trials} trials"
        about = f"{self.config.space} on {self.config.data} by {self.config.searcher}"
        return f"<Run {self.name}: {about}, {recorded}, in {self.folder}>"

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
    def fixed_recipe(self) -> dict[str, Any]:
        """The fields of the recipe that the space sets for all trainings."""
        spec = self.space.spec
        fixed = spec.recipe.keys() - spec.recipe_decisions.keys()
        return {name: getattr(self.config.recipe, name) for name in sorted(fixed)}

    @property
    def reseeded(self) -> Sequence[Trial]:
        """Trainings of trials with further seeds (`nas.reseed`); `proposal.design["trial"]` names the
        trial."""
        if not self.files.reseeded.exists():
            return ()
        with Study.open(self.files.reseeded) as study:
            return study.trials

    @property
    def profile(self) -> list[list[Times]]:
        """Times of each process and worker, one list per session; [] without `profile=True`."""
        return read_profile(self.files.profile)

    @property
    def trials(self) -> pd.DataFrame:
        """Table with one row per trial, in the order in which they finished."""
        return self.study.frame()

    def to_optuna(self) -> optuna.Study:
        """The run as a complete `optuna.Study` in memory, for Optuna's tools (`nas.study.optuna_study`)."""
        from nas.study.optuna_study import to_optuna

        return to_optuna(self.study, self.name)

    def front(self, objectives: Sequence[str] | None = None) -> list[Trial]:
        """Return the networks that no other beats in every objective, lowest error first, each as its first
        complete trial.

        The error that counts is the expected one (`expected`), or where there is none the measured one.
        objectives: those of the search by default.
        """
        known = self.expected(objectives)
        if known is None:
            return self.measured_front(objectives)
        members = [trial for trial in self.study.networks if trial.digest in known.front]
        return sorted(members, key=lambda trial: (known.of(trial.digest).value, trial.flops))

    def pareto_front(self, objectives: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the front as a table (see `nas.study.front.pareto_front`)."""
        from nas.study.front import pareto_front

        return pareto_front(self, objectives)

    def measured_front(self, objectives: Sequence[str] | None = None) -> list[Trial]:
        """Return the front by measured errors, lowest error first. A network trained with several seeds
        counts by its means over them."""
        members = self.study.front(objectives)
        return sorted(members, key=lambda trial: self.study.means(trial, ("error", "flops")))

    def expected(self, objectives: Sequence[str] | None = None) -> Expected | None:
        """Return the expected final error of each network, with its interval and the probability that it is
        on the front; None where measured errors choose (see `nas.study.expected.expected`)."""
        names, further = tuple(objectives or self.study.objectives), self.reseeded
        key = names, len(self.study.complete), len(further)
        if key not in self._expected:
            own = [trial for trial in further if trial.epochs == self.config.recipe.epochs]
            self._expected[key] = expected(self.study, names, own, self.config.counted_images)
        return self._expected[key]

    def trial(self, number: int) -> Trial:
        """Return a trial by its number; NotFoundError if it is not recorded."""
        trial = self.study.by_number(number)
        if trial is None:
            numbers = [recorded.number for recorded in self.study.trials]
            hint = f"recorded are {min(numbers)} to {max(numbers)}" if numbers else "none is recorded yet"
            raise NotFoundError(f"no trial {number}", where=str(self.folder), hint=hint)
        return trial

    def best(self) -> Trial:
        """Return the network of the front with the lowest error, the expected one where it is known;
        NotFoundError without a complete trial."""
        return self._some_front()[0]

    def knee(self) -> Trial:
        """Return the network at the knee of the front; NotFoundError without a complete trial."""
        front, known = self._some_front(), self.expected()
        names = error_first(self.study.objectives)
        if known is None:
            return front[knee([self.study.means(trial, names) for trial in front])]
        others = names[1:]
        points = [(known.of(t.digest).value, *(self.study.means(t, others) if others else ())) for t in front]
        return front[knee(points)]

    def weights(self, trial: Trial) -> bytes | None:
        """Return the safetensors bytes of a trial, None if they were not kept (only those of the front
        are). StorageError for a file larger than weights of its network can be."""
        number = trial.number if trial.duplicate_of is None else trial.duplicate_of
        path = self.files.weights / f"{number}.safetensors"
        if not path.exists():
            return None
        network = expand(trial.genotype, self.config.input_shape, self.config.num_classes)
        return read_bytes(path, WEIGHT_BYTES * cost(network).params + MORE_BYTES, links=False)

    def none_complete(self) -> NotFoundError:
        """Return the error to raise if a complete trial is needed and there is none."""
        outcomes = ((trial.state, trial.reason) for trial in self.study.trials)
        return none_complete(outcomes, where=str(self.folder), name=self.name)

    def _some_front(self) -> list[Trial]:
        front = self.front()
        if not front:
            raise self.none_complete()
        return front


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
    files = run_folder.find_run(run, results_dir)
    config = run_folder.read_config(files)
    return Run(files, config, open_study(files, config, storage))


def open_study(
    files: RunFolder, config: RunConfig, storage: str | None = None, kind: type[Study] = Study
) -> Study:
    """Open the study of a run: in its folder, or on the server that both its settings and the user name.

    storage: the user's URL of the server. kind: the class that a driver opens to write.
    """
    if config.storage is not None:
        own = own_storage(config.storage, storage, str(files.path))
        return kind.open(own, name=config.study)
    if storage is not None:
        raise NasError("the study of this run is a file in its folder", where="storage")
    return Study.open(files.database)
