"""Evaluators train networks: in this process, or on Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.controller.evaluators.base import Evaluator, ResolvePrecision, same_precision
from nas.controller.evaluators.local import LocalEvaluator
from nas.errors import NasError
from nas.space.candidate import trained_under
from nas.training.memory import candidate_memory
from nas.training.task import Task

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe


@dataclass(frozen=True)
class Workers:
    """Workers on which networks train.

    count: networks that train at once; None for one per usable CPU core or share of a GPU, 0 for this process
    without Ray. gpus_per_worker: GPUs, or the share of a GPU, of each. ray_address: a cluster to join, None
    for a private one. NasError for more than one GPU per worker.
    """

    count: int | None = None
    gpus_per_worker: float = 0.0
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.gpus_per_worker > 1:
            message = f"a candidate trains on one GPU or a share of it, not on {self.gpus_per_worker:g}"
            hint = "nas train NETWORK --devices N trains one network on several"
            raise NasError(message, where="gpus-per-worker", hint=hint)


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
    device = "cuda" if workers.gpus_per_worker else "cpu"

    def memory(task: Task, half: bool) -> int:
        # A training in several ranges of epochs is predicted with what each resumption needs, or it could be
        # refused halfway.
        resumed = task.part is not None
        own = trained_under(task.genotype, recipe)
        return candidate_memory(task.genotype, dataset, own, device, half=half, resumed=resumed)

    if workers.count == 0:
        return LocalEvaluator(dataset, recipe, memory=memory, resolve_precision=resolve_precision)
    from nas.controller.evaluators.ray import RayEvaluator

    return RayEvaluator(
        dataset,
        recipe,
        workers=workers.count,
        gpus_per_worker=workers.gpus_per_worker,
        address=workers.ray_address,
        memory=memory,
        resolve_precision=resolve_precision,
    )
