"""The folder of a run and the study in it: `open_run` opens them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, NotFoundError
from nas.searchers.warm_start import Seed, find_seeds
from nas.space.space import SearchSpace, parse_space
from nas.study import run_folder
from nas.study.run_folder import LATEST, RunFolder
from nas.study.study import Study
from nas.study.trial import Trial, error_first
from nas.training.profile import Times, read_profile

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from nas.analysis.analyze import Analysis
    from nas.data import Dataset
    from nas.exporters.run import Export

RESULTS = Path("results")


@dataclass(frozen=True)
class Run:
    """A run folder and the study in it."""

    files: RunFolder
    config: Mapping[str, Any] = field(repr=False)
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

    @cached_property
    def seeds(self) -> tuple[Seed, ...]:
        """The networks of the zoo that the search began with, and what was changed of each."""
        return find_seeds(self.space, self.config.get("seed_with", ()))

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

    def to_optuna(self) -> optuna.Study:
        """The run as a complete `optuna.Study` in memory, for Optuna's tools (`nas.study.optuna_study`)."""
        from nas.study.optuna_study import to_optuna

        return to_optuna(self.study, self.name)

    def front(self, objectives: Sequence[str] | None = None) -> list[Trial]:
        """The non-dominated networks, from the lowest error to the highest, each as its first
        complete trial; by default of the run's own objectives. A network that was trained with several
        seeds counts by the means over them (`History.means`)."""
        members = self.study.front(objectives)
        return sorted(members, key=lambda trial: self.study.means(trial, ("error", "flops")))

    def pareto_front(self, objectives: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of `trials` on the front, from the lowest error to the highest; objectives are
        means over the seeds of a network."""
        from nas.analysis.front import front_table

        names = tuple(objectives or self.study.objectives)
        return front_table(self.study, names).sort_values(["error", "flops"]).drop(columns="knee")

    def analyze(self) -> Analysis:
        """The ranking of module types with intervals, and what it may claim."""
        from nas.analysis.pooling import analyze_runs

        return analyze_runs([self])

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
        from nas.pareto import knee

        front = self._some_front()
        names = error_first(self.study.objectives)
        return front[knee([self.study.means(trial, names) for trial in front])]

    def weights(self, trial: Trial) -> bytes | None:
        """The safetensors bytes of a trial, or None where they were not kept."""
        number = trial.number if trial.duplicate_of is None else trial.duplicate_of
        path = self.files.weights / f"{number}.safetensors"
        return path.read_bytes() if path.is_file() else None

    def export(
        self,
        trials: Sequence[Trial],
        to: str | Path | None = None,
        *,
        weights: bool = False,
        column: bool = False,
        fold_bn: bool = False,
        formats: Sequence[str] = (),
    ) -> list[Export]:
        """Write verified PyTorch files, each to a folder `trial-N` in `to` (by default
        `export/` in the run); see `nas.exporters.run`. `weights` adds the trained weights of the
        search, for the trials whose were kept. `column` exports the deepest column of
        fractal modules alone, measured where weights and data are at hand, and `fold_bn`
        folds batch norms into the convolutions before them. `formats`: see `nas.exporters.formats`."""
        from nas.exporters.run import export
        from nas.exporters.variants import Form

        kept = {trial.number: self.weights(trial) for trial in trials} if weights or formats else {}
        known = {number: data for number, data in kept.items() if data is not None}
        dataset = self._dataset() if column and known else None
        folder = Path(to or self.folder / "export")
        return export(trials, folder, self.config, known, Form(column, fold_bn), dataset, formats)

    def _dataset(self) -> Dataset | None:
        """The data of the run, or None where it is no longer what the run was given."""
        from nas.data import load_recorded

        try:
            dataset = load_recorded(self.config["data"], seed=self.config["seed"])
        except NasError:
            return None
        return dataset if dataset.fingerprint == self.config["data_fingerprint"] else None

    def _some_front(self) -> list[Trial]:
        front = self.front()
        if not front:
            raise NotFoundError("the run has no complete trial", where=str(self.folder))
        return front


def find(run: str | Path, results_dir: str | Path = RESULTS) -> RunFolder:
    """The folder of a run, given by path, by its name under `results_dir`, or as `latest`."""
    if str(run) != LATEST:
        return run_folder.find_run(results_dir, run)
    known = run_folder.list_runs(results_dir)
    if not known:
        raise NotFoundError("no runs", where=str(results_dir), hint="nas search starts the first one")
    return known[-1]


def open_run(run: str | Path, results_dir: str | Path = RESULTS) -> Run:
    """Open a run to read it, also while it is being written; `run` as for `find`."""
    files = find(run, results_dir)
    config = run_folder.read_config(files)
    return Run(files, config, open_study(files, config))


def open_study(
    files: RunFolder, config: Mapping[str, Any], storage: str | None = None, kind: type[Study] = Study
) -> Study:
    """The study of a run: in its folder, or in the database that its configuration names; `storage` is that
    with a password. `kind` is what a driver opens to write."""
    if "storage" not in config:
        return Study.open(files.database)
    return kind.open(storage or config["storage"], name=config["study"])
