"""The worker: a long-lived process on Ray that holds the data and trains one network at a time."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.controller.evaluators.base import asked_precision
from nas.controller.evaluators.ray_board import Board, Reporter
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
    """The actor, which trains and pushes its progress to the board.

    number: of this worker. every: most seconds between two signs of life.
    """

    def __init__(
        self,
        number: int,
        board: Any,
        every: float,
        dataset: Dataset,
        recipe: Recipe,
        device: str,
        trainer: Trainer,
        home: str,
    ) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.number, self.board, self.every = number, board, every
        self.arguments = (on_this_node(dataset, fetch_from(home)), recipe, device)
        self.trainer = trainer
        self.shares_memory = False

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
        dataset, recipe, device = self.arguments
        reporter = Reporter(self.board, self.number, task.number, self.every)
        if asked_precision(recipe) == "auto":
            recipe = replace(recipe, precision=precision)
        result = self.trainer(task, dataset, recipe, device, reporter.epoch, reporter.batch)
        if self.shares_memory:
            release_memory(device)
        return result


INLINE = 50_000
"""Most bytes of data that are an argument of a call; Ray makes an object of more than 100 kB."""


def _bytes(data: Any) -> int:
    """Return the size of an object when it is sent."""
    buffers: list[Any] = []  # so that no array is copied
    dumps: Any = ray.cloudpickle.dumps
    size: int = len(dumps(data, protocol=5, buffer_callback=buffers.append))
    return size + sum(int(buffer.raw().nbytes) for buffer in buffers)


class Actors:
    """Starts and ends workers, with `variables` in their environment, and the board to which they report at
    least once in `every` seconds of training.

    Data of up to `INLINE` bytes, such as the place of images on disk, are sent to each worker; others to the
    cluster, once for all workers that start together, and they are held here only until these have them. Ray
    ends a process that owns an object on a node that is gone, which would change the exit code of a driver
    that is asked to stop together with Ray.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        gpus_per_worker: float,
        trainer: Trainer,
        variables: dict[str, str],
        every: float,
    ) -> None:
        send_own()
        options: dict[str, Any] = (
            {"num_cpus": 0, "num_gpus": gpus_per_worker} if gpus_per_worker else {"num_cpus": 1}
        )
        environment = {"env_vars": WORKER_ENVIRONMENT | variables}
        options |= {"runtime_env": environment, "max_restarts": 0}
        self._actor = ray.remote(**options)(Worker)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        by_driver: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
        self.board: Any = ray.remote(**by_driver)(Board).remote()
        self._every = every
        self._dataset = dataset
        self._shared: Any = None
        self._inline = _bytes(dataset) <= INLINE
        home = ray.get_runtime_context().get_node_id()
        self._rest = (recipe, "cuda" if gpus_per_worker else "cpu", trainer, home)

    def start(self, number: int) -> Any:
        """Start a worker of this number."""
        if self._shared is None:
            self._shared = self._dataset if self._inline else ray.put(self._dataset)
        return self._actor.remote(number, self.board, self._every, self._shared, *self._rest)

    def end(self, actor: Any) -> None:
        ray.kill(actor)

    def all_started(self) -> None:
        """Drop the data: each worker holds a reference of its own."""
        self._shared = None
