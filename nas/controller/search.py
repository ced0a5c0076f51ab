"""A search from its settings to its results: `search` starts or resumes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.controller.begin import join_run, resume_run, write_run
from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig, prepare
from nas.controller.dry_run import Plan, plan
from nas.controller.evaluators import Workers, make_evaluator
from nas.controller.loop import run_search
from nas.controller.progress import Event, Progress
from nas.controller.signals import Interrupted, Stop, interruptible
from nas.controller.tracking import Tracker, Tracking
from nas.errors import ClusterLostError, NasError, NotFoundError
from nas.recipe import with_epochs
from nas.schedulers import make_scheduler
from nas.searchers.base import exhausted
from nas.space.space import SearchSpace
from nas.study import run_folder
from nas.study.commands import resume_command
from nas.study.run import Run, open_study
from nas.study.run_folder import LATEST, RESULTS, RunFolder
from nas.study.shared import SharedStudy
from nas.study.storage_url import connection_of
from nas.study.trial import Trial
from nas.training.profile import profile_writer
from nas.training.recipe import staged
from nas.training.task import ignore

if TYPE_CHECKING:
    from nas.data import Dataset


def search(
    space: str | Path | SearchSpace | None = None,
    *,
    data: object = None,
    trials: int | None = None,
    seconds: float | None = None,
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
    on_data: Callable[[SearchConfig, Dataset], None] = ignore,
    on_plan: Callable[[SearchConfig, Plan], None] = ignore,
    on_start: Callable[[Run, int], None] = ignore,
    on_precision: Callable[[str], None] = ignore,
    on_trial: Callable[[Trial, Progress], None] = ignore,
    on_event: Callable[[Event], None] = ignore,
    on_stop: Callable[[int, int], None] = ignore,
) -> Run:
    """Search a space for networks of low error at few FLOPs; return when `trials` trials are recorded.

    Starts a new run, or with `resume` continues one: settings left out are then those of the run. What is
    recorded is never lost; a search that was interrupted continues with `resume=True`.

    Args:
        space: Name of a shipped search space, path of a .yaml file, or a `SearchSpace`.
        data: The data set: digits (the default), cifar10, cifar100, mnist, fashion_mnist, folder:PATH,
            parquet:PATH, npz:PATH, python:MODULE:FUNCTION; with masks shapes and masks:PATH; or images in
            Python, as `nas.data.load_data` takes them.
        trials: Trials in all, 24 by default, those of a resumed run included.
        seconds: Time for the search: no trial starts that would probably end later. Without `trials` as many
            trials as fit; the run then records how many it took.
        epochs: Epochs of each training, 10 by default.
        recipe: Fields of `nas.training.recipe.Recipe` to set for all trainings, such as `{"lr": 0.1}`.
        searcher: What proposes networks: hypervolume (the default), evolution, random, optuna:SAMPLER, or a
            design that compares module types and optimises nothing, balanced or paired.
        objectives: Figures to minimise, `("error", "flops")` by default.
        seed: Seed of the search, 0 by default: proposals, initial weights and batches follow from it.
        seed_with: Networks to try first, projected into the space where need be: names of the zoo, JSON
            files of genotypes, folders of exports.
        repeats: Training seeds of each network of the paired design, 2 by default.
        fidelity: Rungs of successive halving, in epochs. A trial stops at each unless it is promoted;
            the last takes the place of `epochs`.
        workers: Networks that train at once; None for one per CPU core, 0 to train in this process
            without Ray.
        gpus_per_worker: GPUs that each worker gets: a share of one, or several of one node, which train
            each network together.
        ray_address: Ray cluster to join; None starts a private one.
        name: Name of the run folder; by default the space, the time and four random digits.
        results_dir: Folder that holds the runs.
        resume: Continue the run `name`, or the latest.
        profile: Record what each worker did and when, for `Run.profile`.
        storage: URL of a PostgreSQL database that holds the study in place of the run folder, so that
            several drivers can share it; each resumes the run `name` from a results folder of its own.
        track: Trackers by name (tensorboard, mlflow, wandb, trackio), or your own: `nas.controller.tracking`.
        on_data: Called with the settings and the data set once the images are read.
        on_plan: Called before a design starts, with the settings and the plan.
        on_start: Called with the run and the number of trainings at once.
        on_precision: Called with float32 or bfloat16 once the run has settled on one.
        on_trial: Called with each trial once it is on disk, and with the progress.
        on_event: Called with what happens in between: a trial starts, ends an epoch, reaches a rung.
        on_stop: Called in a thread of its own when a signal asks the search to stop, with the signal and
            the number of trainings in progress.

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
    settings: dict[str, Any] = {"data": data, "trials": trials, "searcher": searcher, "seed": seed}
    settings |= {"objectives": objectives, "seed_with": seed_with, "repeats": repeats, "fidelity": fidelity}
    settings["seconds"] = seconds
    fields = with_epochs(recipe, epochs)
    _check_storage(storage, fidelity)
    callbacks = Callbacks(
        on_data=on_data,
        on_plan=on_plan,
        on_start=on_start,
        on_precision=on_precision,
        on_trial=on_trial,
        on_event=on_event,
        on_stop=on_stop,
    )
    workers_asked, tracking = Workers(workers, gpus_per_worker, ray_address), Tracking(track)
    stop = Stop()
    with interruptible(stop), ExitStack() as stack:
        if resume:
            keep: Callable[..., None] = ignore
            files = _resumed_folder(name, results_dir, storage)
            stack.enter_context(run_folder.lock_run(files))
            config, dataset = resume_run(files, space, fields, settings, storage)
        else:
            config, dataset = prepare(_given(space), recipe=fields, **settings)
            files = run_folder.create_run(results_dir, config.space.name, name)
            keep = stack.enter_context(run_folder.removed_on_failure(files))
            stack.enter_context(run_folder.lock_run(files))
            write_run(files, config, dataset, storage)
        callbacks.on_data(config, dataset)
        recorded = run_folder.read_config(files)
        run = Run(files, recorded, open_study(files, recorded, storage, SharedStudy))
        stack.callback(run.study.close)  # it stays readable, and connects again to write
        if len(run.study.trials) < config.trials:
            if profile:
                writer = stack.enter_context(profile_writer(files.profile))
                callbacks = replace(callbacks, on_times=writer)
            _train(run, config, dataset, workers_asked, tracking, callbacks, stop, begun=keep)
    return replace(run, config=run_folder.read_config(files))


def _given(space: str | Path | SearchSpace | None) -> str | Path | SearchSpace:
    if space is None:
        raise NasError("name a search space", where="space", hint="nas spaces lists them")
    return space


def _check_storage(storage: str | None, fidelity: Sequence[int] | None) -> None:
    """Raise NasError before anything is written, if several drivers could not share the study."""
    if storage is None:
        return
    connection_of(storage)
    if fidelity:
        raise NasError("trials that wait at a rung belong to one driver", where="fidelity and storage")


def _resumed_folder(name: str | None, results_dir: str | Path, storage: str | None) -> RunFolder:
    """Return the folder of the run; a new one for a driver that joins the study of others."""
    if storage is None:
        return run_folder.find_run(name or LATEST, results_dir)
    if name is None:
        raise NasError("name the study in the storage", where="name", hint="--name is that of its first run")
    try:
        return run_folder.find_run(name, results_dir)
    except NotFoundError:
        return join_run(results_dir, name, storage)


def _train(
    run: Run,
    config: SearchConfig,
    dataset: Dataset,
    workers: Workers,
    tracking: Tracking,
    callbacks: Callbacks,
    stop: Stop,
    begun: Callable[[], None],
) -> None:
    """Train until all trials are recorded; `begun` is called before the first training."""
    with ExitStack() as stack:
        evaluator = make_evaluator(
            dataset,
            staged(config.recipe, config.fidelity),
            workers,
            resolve_precision=partial(_resolve_precision, run, callbacks.on_precision),
        )
        stack.callback(evaluator.close)
        run.study.connect()  # while the workers start
        if config.searcher.plans_every_trial and callbacks.on_plan is not ignore:
            callbacks.on_plan(config, plan(config, dataset, workers))
        stack.enter_context(tracking.following(run))
        begun()
        callbacks.on_start(run, evaluator.slots)
        if config.recipe.precision != "auto":
            callbacks.on_precision(config.recipe.precision)
        scheduler = make_scheduler(config.fidelity, run.study, config.space, folder=run.files.rungs)
        try:
            out_of_networks = run_search(
                config,
                run.study,
                evaluator,
                scheduler=scheduler,
                callbacks=tracking.joined(callbacks),
                weights_dir=run.files.weights,
                stop=stop,
            )
        except (Interrupted, ClusterLostError) as error:
            limit = "" if config.seconds is None else f" --time {config.seconds:.0f}s"
            error.hint = f"continue with: {resume_command(run)}{limit}"
            raise
    recorded = len(run.study.trials)
    if recorded < config.trials and config.seconds is not None and recorded:
        settings = run_folder.read_config(run.files)
        run_folder.write_config(run.files, settings.model_copy(update={"trials": recorded}))
    if recorded < config.trials and (config.seconds is None or out_of_networks):
        _record_exhausted(run, config.space)


def _record_exhausted(run: Run, space: SearchSpace) -> None:
    """Record that there are fewer trials than asked for, and of how many networks if all were tried."""
    networks = space.networks() if exhausted(space, run.study) else None
    update = {"exhausted": True, "networks": None if networks is None else len(networks)}
    run_folder.write_config(run.files, run_folder.read_config(run.files).model_copy(update=update))


def _resolve_precision(run: Run, on_precision: Callable[[str], None], suited: str) -> str:
    """Agree on the precision of a run, given the one that suits its first worker, and record it, so that
    every later worker and a resumed run use the same."""
    precision = run.study.resolve_precision(suited)
    recipe = replace(run.config.recipe, precision=precision)
    run_folder.write_config(run.files, run.config.model_copy(update={"recipe": recipe}))
    on_precision(precision)
    return precision
