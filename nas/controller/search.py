"""A search from its settings to its results: `search` runs or resumes one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.controller.config import UNIFORM_SHARE, Setup, join, prepare, resumed, write_run
from nas.controller.dry_run import Plan, plan
from nas.controller.evaluators.local import LocalEvaluator
from nas.controller.loop import run_search
from nas.controller.progress import Event, Progress
from nas.controller.signals import Interrupted
from nas.controller.tracking import Tracker, Tracking
from nas.errors import NasError, NotFoundError
from nas.schedulers import make_scheduler
from nas.searchers.warm_start import warm_start_proposals
from nas.space.space import SearchSpace
from nas.study import run_folder
from nas.study.run import RESULTS, Run, find, open_study
from nas.study.run_folder import LATEST, RunFolder
from nas.study.shared import SharedStudy
from nas.study.storage_url import connection_of
from nas.study.trial import Trial
from nas.training.memory import candidate_memory
from nas.training.profile import profile_writer
from nas.training.recipe import staged
from nas.training.task import Task, ignore

if TYPE_CHECKING:
    from nas.controller.evaluators.base import Evaluator, OnTimes
    from nas.data import Dataset
    from nas.training.recipe import Recipe


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
    on_precision: Callable[[str], None] = ignore,
    on_trial: Callable[[Trial, Progress], None] = ignore,
    on_event: Callable[[Event], None] = ignore,
) -> Run:
    """Search a space for networks of low error at few FLOPs; return when `trials` trials are recorded.

    Starts a new run, or with `resume` continues one: settings left out are then those of the run. What is
    recorded is never lost; a search that was interrupted continues with `resume=True`.

    Args:
        space: Name of a shipped search space, path of a .yaml file, or a `SearchSpace`.
        data: The data set: digits (the default), cifar10, cifar100, mnist, fashion_mnist, folder:PATH,
            parquet:PATH, npz:PATH, python:MODULE:FUNCTION; with masks shapes and masks:PATH.
        trials: Trials in all, 24 by default, those of a resumed run included.
        epochs: Epochs of each training; the data set has a default.
        recipe: Fields of `nas.training.recipe.Recipe` to set for all trainings, such as `{"lr": 0.1}`.
        searcher: What proposes networks: evolution (the default), random, optuna:SAMPLER, or a design
            that compares module types and optimises nothing, balanced or paired.
        objectives: Figures to minimise, `("error", "flops")` by default.
        seed: Seed of the search, 0 by default: proposals, initial weights and batches follow from it.
        seed_with: Networks of the zoo to try first, projected into the space where need be.
        repeats: Training seeds of each network of the paired design, 2 by default.
        fidelity: Rungs of successive halving, in epochs. A trial stops at each unless it is promoted;
            the last takes the place of `epochs`.
        workers: Networks that train at once; None for one per CPU core, 0 to train in this process
            without Ray.
        gpus_per_worker: GPUs, or the share of a GPU, that each worker gets.
        ray_address: Ray cluster to join; None starts a private one.
        name: Name of the run folder; by default the space, the time and four random digits.
        results_dir: Folder that holds the runs.
        resume: Continue the run `name`, or the latest.
        profile: Record what each worker did and when, for `Run.profile`.
        storage: URL of a PostgreSQL database that holds the study in place of the run folder, so that
            several drivers can share it; each resumes the run `name` from a results folder of its own.
        track: Trackers by name (tensorboard, mlflow, wandb), or your own: `nas.controller.tracking`.
        on_plan: Called before a design starts, with the settings and the plan.
        on_start: Called with the run and the number of trainings at once.
        on_precision: Called with float32 or bfloat16 once the run has settled on one.
        on_trial: Called with each trial once it is on disk, and with the progress.
        on_event: Called with what happens in between: a trial starts, ends an epoch, reaches a rung.

    Returns:
        The run, whose study is open.

    Raises:
        NasError: A setting is wrong, or differs from the run that is resumed.
        NotFoundError: There is no such space, data set, network or run.
        LockedError: Another process writes to the run.
        AllTrialsFailedError: No training succeeded, or too many in a row failed.
        Interrupted: A signal stopped the search; every finished trial is recorded.
        StorageError: A trial cannot be recorded.

    Example:
        >>> import nas
        >>> run = nas.search(
        ...     "residual_vs_fractal", data="digits?limit=150", trials=2, epochs=1, workers=0, name="second"
        ... )
        >>> len(run.trials)
        2
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
            evaluator.resolve_precision = partial(_resolve_precision, run, on_precision)
            stack.callback(evaluator.close)
            run.study.connect()  # while the workers start
            if setup.planner.plans_every_trial and on_plan is not ignore:
                on_plan(setup, plan(setup, workers, gpu=gpus_per_worker > 0))
            tracking.start(run)
            stack.callback(tracking.end)
            on_start(run, evaluator.slots)
            if setup.recipe.precision != "auto":
                on_precision(setup.recipe.precision)
            _run(run, setup, evaluator, *tracking.joined(on_trial, on_event), on_times)
    return replace(run, config=run_folder.read_config(files))


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
        in_parts = task.part is not None  # or what cannot go on would be refused only when it has begun
        return candidate_memory(task.genotype, dataset, recipe, device, half=half, resumed=in_parts)

    if workers == 0:
        return LocalEvaluator(dataset, recipe, memory=memory)
    from nas.controller.evaluators.ray import RayEvaluator

    return RayEvaluator(
        dataset,
        recipe,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        address=ray_address,
        memory=memory,
    )


def _resolve_precision(run: Run, on_precision: Callable[[str], None], suited: str) -> str:
    """Agree on the precision of a run, given the one that suits its first worker, and record it, so that
    every later worker and a resumed run use the same."""
    precision = run.study.resolve_precision(suited)
    recipe = replace(run.config.recipe, precision=precision)
    run_folder.write_config(run.files, run.config.model_copy(update={"recipe": recipe}))
    on_precision(precision)
    return precision


def _run(
    run: Run,
    setup: Setup,
    evaluator: Evaluator,
    on_trial: Callable[[Trial, Progress], None],
    on_event: Callable[[Event], None],
    on_times: OnTimes,
) -> None:
    images = len(setup.dataset.val_labels)
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
            seeds=warm_start_proposals(setup.seeds),
            scheduler=make_scheduler(
                setup.fidelity, run.study, setup.space, images=images, folder=run.files.rungs
            ),
            weights_dir=run.files.weights,
            on_trial=on_trial,
            on_event=on_event,
            on_times=on_times,
        )
    except Interrupted as error:
        named = f" --data {shlex.quote(setup.data)}" if setup.data.startswith("python:") else ""
        shared = f" --storage {shlex.quote(run.config.storage)}" if run.config.storage else ""
        error.hint = f"go on with: nas search --resume --name {run.name}{shared}{named}"
        raise
