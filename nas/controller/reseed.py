"""Train trials of a run again with further seeds, so that their errors have intervals.

The trainings are recorded in `reseeded.db` beside the search's own study (`nas.study.run_folder`), each in
one transaction, and are not repeated. `Run.reseeded` reads them; `nas.analysis.seeds` analyses them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig
from nas.controller.evaluators import Workers, make_evaluator
from nas.controller.loop import REUSED, run_search
from nas.controller.progress import Event, Progress
from nas.controller.signals import Interrupted, Stop, interruptible
from nas.errors import NasError
from nas.searchers.designs.base import Design
from nas.study import run_folder
from nas.study.run import Run, open_run
from nas.study.run_folder import RESULTS
from nas.study.study import Study
from nas.study.trial import Proposal, Trial
from nas.training.recipe import Recipe, adjusted, staged
from nas.training.task import ignore

if TYPE_CHECKING:
    from nas.controller.evaluators.base import Evaluator
    from nas.data import Dataset
    from nas.space.space import SearchSpace

STREAM = 2
"""Makes these seeds differ from those of the search, which derive from the same number."""


class Reseed(Design):
    """Proposes the missing trainings, one for each free number of a study."""

    name = "reseed"

    def __init__(self, missing: Sequence[Proposal], recorded: Sequence[Trial]) -> None:
        taken, left = {trial.number for trial in recorded}, deque(missing)
        self.proposals: dict[int, Proposal] = {}
        number = 0
        while left:
            if number not in taken:
                self.proposals[number] = left.popleft()
            number += 1

    def proposal(self, space: SearchSpace, seed: int, number: int) -> Proposal | None:
        return self.proposals.get(number)

    def default_trials(self, space: SearchSpace, seed: int) -> int:
        return max(self.proposals, default=-1) + 1

    def summary(self, space: SearchSpace, seed: int, trials: int) -> dict[str, Any]:
        return {"design": self.name, "trainings": len(self.proposals)}


def reseed(
    run: str | Path,
    seeds: int,
    *,
    trials: Sequence[int] | None = None,
    objectives: Sequence[str] | None = None,
    epochs: int | None = None,
    data: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float = 0.0,
    ray_address: str | None = None,
    results_dir: str | Path = RESULTS,
    on_start: Callable[[Sequence[Proposal], int, int], None] = ignore,
    on_trial: Callable[[Trial, Progress], None] = ignore,
    on_event: Callable[[Event], None] = ignore,
    on_stop: Callable[[int, int], None] = ignore,
) -> Run:
    """Train trials of a run again, each with `seeds` further seeds, so that errors have intervals.

    The trainings are recorded beside the study of the search, which they do not change. All networks share
    the same seeds, which follow from the seed of the run. Trainings that are already recorded are not
    repeated.

    Args:
        run: Name of a run in `results_dir`, path of a run folder, or `"latest"`.
        seeds: Further seeds for each network.
        trials: Numbers of the trials to train; by default those of which it is uncertain whether they are on
            the front of `objectives` (`Run.expected`), or the front where measured errors choose it.
        objectives: Objectives of that front; by default those of the search.
        epochs: Epochs of each training; by default those of the search.
        data: Where the images are now; by default where the search had them. Needed if they come from code.
        workers: Networks that train at once; None for one per CPU core, 0 to train in this process.
        gpus_per_worker: GPUs that each worker gets: a share of one, or several of one node, which train
            each network together.
        ray_address: Ray cluster to join; None starts a private one.
        results_dir: Folder that holds the runs.
        on_start: Called with the proposals to train, their epochs and the number of trainings at once.
        on_trial: Called with each trial once it is on disk, and with the progress.
        on_event: Called with what happens in between: a trial starts, or ends an epoch.
        on_stop: Called in a thread of its own when a signal asks to stop, with the signal and the number of
            trainings in progress.

    Returns:
        The run; `run.reseeded` lists the trainings.

    Raises:
        NasError: The data are no longer those of the search, or a trial did not complete.
        NotFoundError: There is no such run or trial.
        LockedError: Another process writes to the run.

    Example:
        >>> import nas
        >>> run = nas.reseed("first", 1, trials=[0], workers=0)
        >>> run.reseeded[0].proposal.design["trial"]
        0
    """
    from nas.data import check_recorded_objectives

    if seeds < 1:
        raise NasError(f"must be at least 1, not {seeds}", where="reseed")
    stop = Stop()
    with interruptible(stop), ExitStack() as stack:
        stack.enter_context(run_folder.lock_run(run_folder.find_run(run, results_dir)))
        opened = open_run(run, results_dir)
        stack.callback(opened.study.close)
        recipe = adjusted(opened.config.recipe, {} if epochs is None else {"epochs": epochs})
        wanted = _wanted(opened, _members(opened, trials, objectives), seeds)
        missing = _missing(wanted, opened.reseeded, recipe.epochs)
        if missing:
            check_recorded_objectives(opened.study.objectives, objectives or ())
            dataset, study = _dataset(opened, data), stack.enter_context(_study(opened))
            recipe = staged(recipe, opened.config.fidelity)
            evaluator = make_evaluator(dataset, recipe, Workers(workers, gpus_per_worker, ray_address))
            stack.callback(evaluator.close)
            on_start(missing, recipe.epochs, evaluator.slots)
            callbacks = Callbacks(on_trial=on_trial, on_event=on_event, on_stop=on_stop)
            _train(opened, study, missing, evaluator, recipe, callbacks, stop)
    return open_run(run, results_dir)


def _members(run: Run, trials: Sequence[int] | None, objectives: Sequence[str] | None) -> list[Trial]:
    """Return the trials to train again, one per network: by default those of which it is uncertain whether
    they are on the front, at most as many as both fronts hold, or else the front."""
    chosen = _undecided(run, objectives) if trials is None else [run.trial(number) for number in trials]
    for trial in chosen:
        if not trial.complete:
            outcome = f"failed: {trial.reason}" if trial.state == "failed" else "was stopped early"
            raise NasError(f"trial {trial.number} {outcome}", hint="choose a complete trial")
    if not chosen:
        raise run.none_complete()
    chosen.sort(key=lambda trial: trial.number)
    return list({trial.digest: trial for trial in reversed(chosen)}.values())[::-1]


def _undecided(run: Run, objectives: Sequence[str] | None) -> list[Trial]:
    expected, front = run.expected(objectives), run.front(objectives)
    if expected is None:
        return front
    most = len({trial.digest for trial in (*front, *run.measured_front(objectives))})
    by_digest = {trial.digest: trial for trial in run.study.networks}
    return [by_digest[digest] for digest in expected.uncertain[:most]] or front


def _wanted(run: Run, members: Sequence[Trial], seeds: int) -> list[Proposal]:
    """Return the trainings, one seed after the other: an interrupted run then has as many of each network."""
    return [
        Proposal(
            trial.genotype,
            Reseed.name,
            design={"design": Reseed.name, "trial": trial.number, "seed": training_seed(run, repeat)},
        )
        for repeat in range(seeds)
        for trial in members
    ]


def training_seed(run: Run, repeat: int) -> int:
    """Return the seed of a repetition (counted from 0) of every network; never 0, which counts as no seed."""
    return 1 + int(np.random.default_rng([run.config.seed, repeat, STREAM]).integers(2**31 - 1))


def _missing(wanted: Sequence[Proposal], recorded: Sequence[Trial], epochs: int) -> list[Proposal]:
    """Return the trainings without an outcome; failures whose reason lies in the network are outcomes."""
    done = {(t.digest, t.seed) for t in recorded if t.epochs == epochs and t.reason in REUSED}
    return [p for p in wanted if (p.genotype.digest, p.design["seed"]) not in done]


def _dataset(run: Run, data: str | None) -> Dataset:
    from nas.data import load_data, load_recorded

    seed = run.config.seed
    dataset = load_data(data, seed=seed) if data else load_recorded(run.config.data, seed=seed)
    if dataset.fingerprint != run.config.data_fingerprint:
        hint = "errors on other images cannot be compared with those of the search; restore the data"
        raise NasError("the data are not those of the search", where=data or run.config.data, hint=hint)
    return dataset


def _study(run: Run) -> Study:
    path = run.files.reseeded
    if path.exists():
        return Study.open(path)
    domains = {name: list(options) for name, options in run.space.domains().items()}
    return Study.create(path, objectives=run.study.objectives, domains=domains, meta=run.config.to_dict())


def _train(
    run: Run,
    study: Study,
    missing: Sequence[Proposal],
    evaluator: Evaluator,
    recipe: Recipe,
    callbacks: Callbacks,
    stop: Stop,
) -> None:
    design = Reseed(missing, study.trials)
    trials = design.default_trials(run.space, 0)
    config = SearchConfig(run.space, design, recipe, trials, run.config.seed)
    try:
        run_search(config, study, evaluator, callbacks=callbacks, stop=stop)
    except Interrupted as error:
        error.hint = "the same command continues with the trainings that are missing"
        raise
