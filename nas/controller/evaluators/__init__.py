"""Evaluators train networks: in this process, or on Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nas.controller.evaluators.base import Devices, Evaluator, ResolvePrecision, same_precision
from nas.controller.evaluators.local import LocalEvaluator
from nas.errors import NasError
from nas.space.candidate import trained_under
from nas.training.memory import candidate_memory
from nas.training.recipe import check_batch
from nas.training.task import Task

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe


@dataclass(frozen=True)
class Workers:
    """Workers on which networks train.

    count: networks that train at once; None for one per usable CPU core or share of a GPU, 0 for this process
    without Ray. gpus_per_worker: GPUs, or the share of a GPU, of each. ray_address: a cluster to join, None
    for a private one. cpus_per_worker: CPU cores of each, where there is no GPU. Several GPUs or cores train
    each network together. NasError for parts of a GPU beside whole ones.
    """

    count: int | None = None
    gpus_per_worker: float = 0.0
    ray_address: str | None = None
    cpus_per_worker: int = 1

    def __post_init__(self) -> None:
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            message = (
                f"a candidate trains on a share of one GPU or on whole ones, not on {self.gpus_per_worker:g}"
            )
            raise NasError(message, where="gpus-per-worker", hint="0.5, 1 and 2 are possible")
        if self.processes > 1 and self.count == 0:
            message = "several GPUs per worker need Ray, and --workers 0 does without"
            raise NasError(message, where="gpus-per-worker", hint="leave out --workers")

    @property
    def processes(self) -> int:
        """Processes that train a network together, one per device."""
        return Devices(self.gpus_per_worker, self.cpus_per_worker).processes


def make_evaluator(
    dataset: Dataset,
    recipe: Recipe,
    workers: Workers,
    *,
    resolve_precision: ResolvePrecision = same_precision,
) -> Evaluator:
    """Return the evaluator of a search, which packs networks by the memory they are predicted to need.

    resolve_precision: called with the precision that suits the first worker, if the recipe leaves it open.
    NasError if no worker can be placed.
    """
    device, processes = "cuda" if workers.gpus_per_worker else "cpu", workers.processes
    check_batch(recipe, dataset, processes)

    def memory(task: Task, half: bool) -> int:
        # A training in several ranges of epochs is predicted with what each resumption needs, or it could be
        # refused halfway.
        resumed = task.part is not None
        own = trained_under(task.genotype, recipe)
        own = replace(own, batch_size=-(-own.batch_size // processes))
        need = candidate_memory(task.genotype, dataset, own, device, half=half, resumed=resumed)
        return need * (processes if device == "cpu" else 1)  # a node's cores share its memory

    if workers.count == 0:
        return LocalEvaluator(dataset, recipe, memory=memory, resolve_precision=resolve_precision)
    from nas.controller.evaluators.ray import RayEvaluator

    return RayEvaluator(
        dataset,
        recipe,
        workers=workers.count,
        gpus_per_worker=workers.gpus_per_worker,
        cpus_per_worker=workers.cpus_per_worker,
        address=workers.ray_address,
        memory=memory,
        resolve_precision=resolve_precision,
    )
