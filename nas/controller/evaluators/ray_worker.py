"""The worker: a long-lived process on Ray that holds the data and trains one network at a time."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import ray

from nas.controller.evaluators.base import asked_precision
from nas.controller.evaluators.ray_board import Reporter
from nas.controller.evaluators.ray_cluster import node_memory
from nas.controller.evaluators.ray_data import fetch_from, on_this_node
from nas.training.memory import gpu_memory, release_memory
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
        node, (_, recipe, device) = ray.get_runtime_context().get_node_id(), self.arguments
        self.shares_memory = measure
        precision, memory = asked_precision(recipe), 0.0
        if precision == "auto":
            precision = self._suited_precision()
        if measure:
            memory = node_memory(node) if device == "cpu" else self._gpu_memory()
        name = device if device == "cpu" else f"GPU {','.join(gpu_ids())}"
        return Place(node, os.getpid(), name, memory, precision, time.monotonic())

    def _suited_precision(self) -> str:
        from nas.training.precision import precision_of

        _, recipe, device = self.arguments
        return precision_of(recipe, device)

    def _gpu_memory(self) -> float:
        return gpu_memory()

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


def gpu_ids() -> list[str]:
    """Return the ids of the GPUs that Ray gives to this worker."""
    ids: list[str] = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    return ids
