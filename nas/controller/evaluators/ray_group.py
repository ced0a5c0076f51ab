"""A worker on several devices of one node, which train each candidate together, one process per device.

The processes run the loop that one device runs, as those of `nas train --devices` do. They belong to the
worker: Ray ends them with it. A process that is lost costs the worker, so that the driver tries its task
again; one that fails leaves the others waiting for it, so that all start again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.controller.evaluators.ray_board import Reporter
from nas.controller.evaluators.ray_worker import Place, Worker, gpu_ids
from nas.space.candidate import trained_under
from nas.training.candidate import timed, train_once, with_half_batch
from nas.training.memory import gpu_memory
from nas.training.profile import Laps
from nas.training.task import Result, Task, ignore

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe

SETTLE = 5.0
"""Seconds in which the other processes of a group end after one that failed, if they do."""
BROKEN = ("exception", "oom")
"""Reasons of a failure that one process may have alone, while the others wait for it."""


class Member:
    """The actor of one process of a group.

    rank: its number in the group, from 0. size: processes of the group. gpus: ids of the GPUs of the worker,
    one per process; none for CPU cores.
    """

    def __init__(self, rank: int, size: int, gpus: list[str], dataset: Dataset) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.rank, self.size, self.dataset = rank, size, dataset
        self.device = f"cuda:{rank}" if gpus else "cpu"
        if gpus:  # all of them, as NCCL copies between GPUs that a process sees
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        self.store: Any = None

    def listen(self) -> int:
        """Open the port at which the processes meet, in the first of them, and return it."""
        self._open_store(0)
        port: int = self.store.port
        return port

    def _open_store(self, port: int) -> None:
        import torch.distributed as dist

        first = self.rank == 0
        self.store = dist.TCPStore("127.0.0.1", port, self.size, first, wait_for_workers=False)  # type: ignore[attr-defined]

    def join(self, port: int) -> None:
        """Meet the other processes. NasError if the devices differ in kind."""
        import torch
        import torch.distributed as dist

        from nas.training.devices import DeviceGroup, check_equal_devices

        if self.rank:
            self._open_store(port)
        device = torch.device(self.device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=self.store, rank=self.rank, world_size=self.size)
        # Statistics of the whole batch: figures do not depend on the number of devices.
        self.group = DeviceGroup(self.rank, self.size, sync_batch_norm=True)
        check_equal_devices(self.group, device)

    def memory(self) -> float:
        """Return the free bytes of this process's GPU."""
        return gpu_memory()

    def precision(self, recipe: Recipe) -> str:
        """Return the precision that suits this process's device, if the recipe leaves it open."""
        from nas.training.precision import precision_of

        return precision_of(recipe, self.device.partition(":")[0])

    def train(self, task: Task, recipe: Recipe, reporter: Reporter) -> Result:
        """Train a network together with the other processes; the first reports and measures."""
        on_epoch, on_batch = (ignore, ignore) if self.rank else (reporter.epoch, reporter.batch)
        laps = Laps()
        arguments = (task, self.dataset, recipe, self.device, on_epoch, on_batch, laps)
        return timed(train_once(*arguments, self.group), laps)


class GroupWorker(Worker):
    """The actor of a worker on several devices: all the GPUs or CPU cores that Ray gives it."""

    members: Sequence[Any] = ()

    def hello(self, measure: bool) -> Place:
        """Start the processes and return where this worker lives."""
        self._start()
        return super().hello(measure)

    def train(self, task: Task, precision: str) -> Result:
        """Train one network on all devices; `precision` is as for `Worker.train`."""
        dataset, recipe, _ = self.arguments
        reporter = Reporter(self.board, self.number, task.number, self.every)

        def attempt(recipe: Recipe) -> Result:
            result = self._together(task, recipe, reporter)
            if result.reason in BROKEN:
                self._start()
            return result

        own = trained_under(task.genotype, recipe)
        if own.precision == "auto":
            own = replace(own, precision=precision)
        return with_half_batch(attempt, own, len(dataset.train_labels))

    def _start(self) -> None:
        """Start the processes, in place of those there are."""
        for member in self.members:
            ray.kill(member)
        context: Any = ray.get_runtime_context()
        dataset, _, device = self.arguments
        gpus = [] if device == "cpu" else gpu_ids()
        size = len(gpus) or int(context.get_assigned_resources()["CPU"])
        here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=False)
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "scheduling_strategy": here}
        actor: Any = ray.remote(**options)(Member)
        data = ray.put(dataset)
        self.members = [actor.remote(rank, size, gpus, data) for rank in range(size)]
        port = self.members[0].listen.remote()
        joining = [member.join.remote(port) for member in self.members]
        while joining:  # one that fails leaves the others waiting for it
            (done, *_), joining = ray.wait(joining)
            ray.get(done)

    def _together(self, task: Task, recipe: Recipe, reporter: Reporter) -> Result:
        """Return the result of the first process, or the failure of another. RayActorError if one is lost."""
        calls = [member.train.remote(task, recipe, reporter) for member in self.members]
        waiting = calls
        while waiting:
            (done, *_), waiting = ray.wait(waiting)
            result: Result = ray.get(done)
            if result.reason in BROKEN:
                # The loss of a process makes the others fail, perhaps before Ray knows of it.
                ended, _ = ray.wait(calls, num_returns=len(calls), timeout=SETTLE)
                ray.get(ended)
                return result
        first: Result = ray.get(calls[0])
        return first

    def _suited_precision(self) -> str:
        _, recipe, _ = self.arguments
        precision: str = ray.get(self.members[0].precision.remote(recipe))
        return precision

    def _gpu_memory(self) -> float:
        free: list[float] = ray.get([member.memory.remote() for member in self.members])
        return min(free)
