"""Searches in which errors are looked up in place of trainings."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from luck import cifar
from made_up import made_up
from numpy.typing import NDArray
from tabulated import Lookup

from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig
from nas.controller.evaluators.local import LocalEvaluator
from nas.controller.loop import run_search
from nas.controller.progress import Event, Progress
from nas.data import Dataset
from nas.pareto import Floats, front
from nas.schedulers import make_scheduler
from nas.searchers import make_searcher
from nas.study.history import History
from nas.study.trial import Trial
from nas.training.recipe import Recipe, staged
from nas.training.task import EpochRange, OnEpoch, Result, Task

OBJECTIVES = ("error", "flops")
CANDIDATES = 2
"""Candidates of the search that halves, as a multiple of the other's."""
JUDGES = ("anew", "test", "validation")
"""The errors that hypervolumes are of."""


@dataclass(frozen=True)
class Job:
    searcher: str
    seed: int
    trials: int
    rungs: tuple[int, ...]
    halves: bool
    made_up: bool
    own_share: float | None = None


@dataclass(frozen=True)
class Found:
    """spent: the compute when each complete trial came; flops: of each; errors: of each, (trials, 3) as in
    JUDGES; curves: the errors of each after every epoch; networks: their digests; compute: of the whole
    search; epochs: to how many each network came that was tried."""

    spent: Floats
    flops: Floats
    errors: Floats
    curves: Floats
    networks: Sequence[str]
    compute: float
    epochs: Mapping[str, int]

    def points(self, judge: str) -> Floats:
        """Error and FLOPs of each complete trial, (trials, 2)."""
        return np.column_stack([self.errors[:, JUDGES.index(judge)], self.flops])

    def front(self, trials: int | None = None) -> NDArray[np.intp]:
        """Those of the first complete trials, all where None, that a search would hand over."""
        return front(self.points("validation")[:trials])


def search(job: Job) -> Found:
    """One search in this process, one candidate at a time, so that it is the same every time."""
    space, lookup = made_up(job.seed, job.rungs[-1]) if job.made_up else cifar(job.own_share)
    history, compute, spent = History(OBJECTIVES), [0.0], []

    def on_event(event: Event) -> None:
        if event.kind == "epoch":
            compute[0] += event.cost.flops

    def on_trial(trial: Trial, progress: Progress) -> None:
        if trial.complete:
            spent.append((compute[0], trial))

    recipe = staged(Recipe(epochs=job.rungs[-1]), job.rungs)
    nothing = np.zeros((0, *space.input_shape), np.uint8), np.zeros(0, np.int64)
    dataset = Dataset("none", ("none",), *nothing, *nothing, load_test=lambda: NotImplemented)
    with tempfile.TemporaryDirectory() as folder:
        trials = job.trials * (CANDIDATES if job.halves else 1)
        rungs = job.rungs if job.halves else ()
        run_search(
            SearchConfig(space, make_searcher(job.searcher, OBJECTIVES), recipe, trials, job.seed),
            history,
            LocalEvaluator(dataset, recipe, trainer=partial(looked_up, lookup)),
            scheduler=make_scheduler(rungs, history, space, folder=Path(folder)),
            callbacks=Callbacks(on_trial=on_trial, on_event=on_event),
        )
    rows = [lookup(trial.genotype) for _, trial in spent]
    return Found(
        np.array([at for at, _ in spent]),
        np.array([float(trial.flops) for _, trial in spent]),
        np.array([(row.anew, row.test_error, row.errors[-1]) for row in rows]),
        np.array([row.errors for row in rows]),
        [trial.digest for _, trial in spent],
        compute[0],
        {trial.digest: len(trial.curve) for trial in history.trials},
    )


def looked_up(
    lookup: Lookup, task: Task, _: Dataset, recipe: Recipe, device: str, on_epoch: OnEpoch, on_batch: object
) -> Result:
    """In place of a training: the errors of a curve."""
    part, rows = task.part or EpochRange(0, recipe.epochs), []
    errors = lookup(task.genotype).errors
    for epoch in range(part.done + 1, part.until + 1):
        rows.append({"epoch": epoch, "val_error": errors[epoch - 1]})
        on_epoch(task.number, rows[-1])
    complete = part.until == recipe.epochs
    return Result(
        task.number,
        "complete" if complete else "stopped",
        error=rows[-1]["val_error"],
        curve=tuple(rows),
        checkpoint=None if complete else b"nothing",
    )
