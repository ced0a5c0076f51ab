"""The worker: a long-lived process on Ray that holds the data and trains one network at a time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import ray

from nas.controller.evaluators.base import asked_precision
from nas.controller.evaluators.ray_cluster import node_memory
from nas.controller.evaluators.ray_data import fetch_from, on_this_node
from nas.plugins import send_own
from nas.training.memory import gpu_memory, release_memory
from nas.training.recipe import WORKER_ENVIRONMENT
from nas.training.task import Result, Task, Trainer

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe


class Place(NamedTuple):
    """Process and device of a worker.

    node, process: Ray's id of the node, and the process id there. device: the GPU that the worker is given,
    or "cpu". memory: bytes free there for training, 0 if that was not asked for. precision: the recipe's, or
    the one that suits the hardware if the recipe leaves it open. clock: the worker's monotonic clock, in
    seconds.
    """

    node: str
    process: int
    device: str
    memory: float
    precision: str
    clock: float

    @property
    def room(self) -> tuple[str, str]:
        """The node and device, which workers share whose tasks must fit beside each other."""
        return self.node, self.device


class Worker:
    """The actor: trains in one thread and reports its progress in another."""

    def __init__(self, dataset: Dataset, recipe: Recipe, device: str, trainer: Trainer, home: str) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.arguments = (on_this_node(dataset, fetch_from(home)), recipe, device)
        self.trainer = trainer
        self.shares_memory = False
        self.batches = 0
        self.epochs: list[dict[str, Any]] = []

    def hello(self, measure: bool) -> Place:
        """Return where this worker lives, with its free memory if `measure`; then its trainings share that
        memory. Loads torch for either, and for a precision that the recipe leaves open."""
        context = ray.get_runtime_context()
        node, (_, recipe, device) = context.get_node_id(), self.arguments
        self.shares_memory = measure
        precision = asked_precision(recipe)
        if precision == "auto":
            from nas.training.precision import precision_of

            precision = precision_of(recipe, device)
        if not measure:
            return Place(node, os.getpid(), device, 0.0, precision, time.monotonic())
        if device == "cpu":
            return Place(node, os.getpid(), device, node_memory(node), precision, time.monotonic())
        gpus = ",".join(context.get_accelerator_ids()["GPU"])
        return Place(node, os.getpid(), f"GPU {gpus}", gpu_memory(), precision, time.monotonic())

    def train(self, task: Task, precision: str) -> Result:
        """Train one network; `precision` is that of the run, used if the recipe leaves it open."""
        self.epochs = epochs = []
        self.batches += 1

        def on_batch() -> None:
            self.batches += 1

        dataset, recipe, device = self.arguments
        if asked_precision(recipe) == "auto":
            recipe = replace(recipe, precision=precision)
        result = self.trainer(task, dataset, recipe, device, lambda _, row: epochs.append(row), on_batch)
        if self.shares_memory:
            release_memory(device)
        return result

    @ray.method(concurrency_group="progress")
    def progress(self, seen: int) -> tuple[int, Sequence[dict[str, Any]]]:
        """Return the batches since the worker started, and the epochs of the task after the first `seen`."""
        return self.batches, self.epochs[seen:]


class Actors:
    """Starts workers with `variables` in their environment.

    The data are sent to the cluster once for all workers that start together; of images on disk only the
    place is sent. They are held here only until these workers have them: Ray ends a process that owns an
    object on a node that is gone, which would change the exit code of a driver that is asked to stop together
    with Ray.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        gpus_per_worker: float,
        trainer: Trainer,
        variables: dict[str, str],
    ) -> None:
        send_own()
        options: dict[str, Any] = (
            {"num_cpus": 0, "num_gpus": gpus_per_worker} if gpus_per_worker else {"num_cpus": 1}
        )
        environment = {"env_vars": WORKER_ENVIRONMENT | variables}
        options |= {"runtime_env": environment, "max_restarts": 0, "concurrency_groups": {"progress": 1}}
        self._actor = ray.remote(**options)(Worker)
        self._dataset = dataset
        self._shared: Any = None
        home = ray.get_runtime_context().get_node_id()
        self._rest = (recipe, "cuda" if gpus_per_worker else "cpu", trainer, home)

    def start(self) -> Any:
        if self._shared is None:
            self._shared = ray.put(self._dataset)
        return self._actor.remote(self._shared, *self._rest)

    def all_started(self) -> None:
        """Drop the data: each worker holds a reference of its own."""
        self._shared = None
