"""A search from settings to results: `search` runs or resumes one, `open_run` opens its folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import run_folder
from nas.controller import run_search
from nas.errors import NasError, NotFoundError
from nas.evaluation import LocalEvaluator, Task, ignore
from nas.fidelity import Halving
from nas.memory import candidate_memory
from nas.plan import Plan, plan
from nas.profile import Times, profile_writer, read_profile
from nas.progress import Event, Progress
from nas.projection import Seed, find_seeds, seed_proposals
from nas.recipe import staged
from nas.run_folder import LATEST, RunFolder
from nas.rungs import Rungs
from nas.searchers.design import Design
from nas.setup import UNIFORM_SHARE, Setup, join, prepare, resumed, write_run
from nas.shared_study import SharedStudy
from nas.signals import Interrupted
from nas.space import SearchSpace, parse_space
from nas.storage import connection_of
from nas.study import Study
from nas.tracking import Tracker, Tracking
from nas.trial import Trial, error_first

if TYPE_CHECKING:
    import pandas as pd

    from nas.analysis.analyze import Analysis
    from nas.data import Dataset
    from nas.evaluation import Evaluator, OnTimes
    from nas.export.of_run import Export
    from nas.recipe import Recipe

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
        return parse_space(run_folder.read_text(self.files.space), str(self.files.space))

    @cached_property
    def seeds(self) -> tuple[Seed, ...]:
        """The networks of the zoo that the search began with, and what was changed of each."""
        return find_seeds(self.space, self.config.get("seed_with", ()))

    @property
    def reseeded(self) -> Sequence[Trial]:
        """Trainings of trials again with further seeds (`nas.reseed`); `design` names the trial."""
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

    def pareto_front(self, objectives: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of `trials` on the front, from the lowest error to the highest; objectives are
        means over the seeds of a network."""
        from nas.report import front_table

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
        `export/` in the run); see `nas.export.of_run`. `weights` adds the trained weights of the
        search, for the trials whose were kept. `column` exports the deepest column of
        fractal modules alone, measured where weights and data are at hand, and `fold_bn`
        folds batch norms into the convolutions before them. `formats`: see `nas.export.formats`."""
        from nas.export.forms import Form
        from nas.export.of_run import export

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


def search(
    space: str | Path | SearchSpace | None = None,
    *,
    data: str | None = None,
    trials: int | None = None,
    epochs: int | None = None,
    recipe: Mapping[str, Any] | None = None,
    searcher: str | None = None,
    objectives: Sequence[str] | None = None,
    seed: int | None = None,
    seed_with: Sequence[str] | None = None,
    repeats: int | None = None,
    fidelity: Sequence[int] | None = None,
    workers: int | None = None,
    gpus_per_worker: float = 0.0,
    ray_address: str | None = None,
    name: str | None = None,
    results_dir: str | Path = RESULTS,
    resume: bool = False,
    profile: bool = False,
    storage: str | None = None,
    track: Sequence[str | Tracker] = (),
    on_plan: Callable[[Setup, Plan], None] = ignore,
    on_start: Callable[[Run, int], None] = ignore,
    on_trial: Callable[[Trial, Progress], None] = ignore,
    on_event: Callable[[Event], None] = ignore,
) -> Run:
    """Search a space; returns when `trials` trials are recorded in all.

    A new run by default. `resume` goes on with the run `name`, or the latest: settings
    left out are those of the run, and NasError says which differ if any do. `storage` is the URL of
    a PostgreSQL database that holds the study in place of the folder, so that several drivers may work
    on it: each resumes the run `name` from a results folder of its own. `recipe` sets fields of
    `nas.recipe.Recipe`, such as lr, for all candidates. `seed_with` names
    networks of the zoo that are tried first, brought into the space where need be; `repeats`
    are the training seeds of each network of a paired design; `fidelity` are epochs at which
    trainings stop unless they are promoted, the last in place of `epochs` (`nas.fidelity`). `on_plan`
    is told what a new run will do before it starts, where the searcher is a design. `workers`
    None means one per core, 0 trains in this process without Ray. `track` names trackers, or holds
    your own: see `nas.tracking`. `profile` keeps what each worker did and when, for `Run.profile`.
    `on_start` is told the run and how many candidates train at once, `on_trial` each trial once it is
    on disk, `on_event` what happens between. Errors are those of `nas.controller.run_search`.
    """
    asked: dict[str, Any] = {"data": data, "trials": trials, "searcher": searcher, "objectives": objectives}
    fields = dict(recipe or {}) | ({} if epochs is None else {"epochs": epochs})
    asked |= {"seed": seed, "seed_with": seed_with, "repeats": repeats, "fidelity": fidelity}
    if storage is not None:
        connection_of(storage)  # so that what is wrong with it is told before anything is made
        if fidelity:
            raise NasError("trials that wait at a rung belong to one driver", where="fidelity and storage")
    tracking = Tracking(track)
    with ExitStack() as stack:
        if resume:
            files = _resumed_folder(name, results_dir, storage)
            stack.enter_context(run_folder.lock(files))
            setup = resumed(files, space, fields, asked, storage)
        else:
            if space is None:
                raise NasError("name a search space", where="space", hint="nas spaces lists them")
            setup = prepare(space, recipe=fields, **asked)
            files = run_folder.create(results_dir, setup.space.name, name)
            stack.enter_context(run_folder.lock(files))
            with run_folder.whole_or_none(files):
                write_run(files, setup, storage)
        config = run_folder.read_config(files)
        run = Run(files, config, open_study(files, config, storage, SharedStudy))
        if len(run.study.trials) < setup.trials:
            on_times = stack.enter_context(profile_writer(files.profile)) if profile else ignore
            trained = staged(setup.recipe, setup.fidelity)
            evaluator = make_evaluator(setup.dataset, trained, workers, gpus_per_worker, ray_address)
            stack.callback(evaluator.close)
            if isinstance(setup.planner, Design) and on_plan is not ignore:
                on_plan(setup, plan(setup, workers, gpu=gpus_per_worker > 0))
            tracking.start(run)
            stack.callback(tracking.end)
            on_start(run, evaluator.slots)
            _run(run, setup, evaluator, *tracking.joined(on_trial, on_event), on_times)
    return run


def _resumed_folder(name: str | None, results_dir: str | Path, storage: str | None) -> RunFolder:
    """That of the run; a new one for a driver that joins the study of others."""
    if storage is None:
        return find(name or LATEST, results_dir)
    if name is None:
        raise NasError("say which study of the storage", where="name", hint="--name is that of its first run")
    try:
        return find(name, results_dir)
    except NotFoundError:
        return join(results_dir, name, storage)


def make_evaluator(
    dataset: Dataset, recipe: Recipe, workers: int | None, gpus_per_worker: float, ray_address: str | None
) -> Evaluator:
    """In this process for 0 workers, else on Ray, where workers are packed by predicted memory."""
    device = "cuda" if gpus_per_worker else "cpu"

    def memory(task: Task, half: bool) -> int:
        return candidate_memory(task.genotype, dataset, recipe, device, half)

    if workers == 0:
        return LocalEvaluator(dataset, recipe, memory=memory)
    from nas.ray_evaluation import RayEvaluator

    return RayEvaluator(
        dataset,
        recipe,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        address=ray_address,
        memory=memory,
    )


def _rungs(run: Run, setup: Setup) -> Rungs | None:
    if not setup.fidelity:
        return None
    halving = Halving(setup.fidelity, len(setup.dataset.val_labels))
    return Rungs(halving, run.files.rungs, run.study, setup.space)


def _run(
    run: Run,
    setup: Setup,
    evaluator: Evaluator,
    on_trial: Callable[[Trial, Progress], None],
    on_event: Callable[[Event], None],
    on_times: OnTimes,
) -> None:
    try:
        run_search(
            run.study,
            setup.space,
            setup.planner,
            evaluator,
            trials=setup.trials,
            seed=setup.seed,
            epochs=setup.recipe.epochs,
            uniform_share=UNIFORM_SHARE,
            seeds=seed_proposals(setup.seeds),
            rungs=_rungs(run, setup),
            weights_dir=run.files.weights,
            on_trial=on_trial,
            on_event=on_event,
            on_times=on_times,
        )
    except Interrupted as error:
        named = f" --data {shlex.quote(setup.data)}" if setup.data.startswith("python:") else ""
        error.hint = f"go on with: nas search --resume --name {run.name}{named}"
        raise
