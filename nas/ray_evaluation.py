"""Evaluation on Ray: long-lived workers that hold the data and take trial after trial.

There is no barrier: a worker that is done takes the next task. A worker that dies is
replaced and its task tried again; one that hangs is killed. Where fewer workers can be
placed than were asked for, those there are do the work, and others join when they can.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from nas.errors import NasError
from nas.evaluation import OnEpoch, Result, Task, Trainer, ignore, train_candidate
from nas.ray_cluster import fitting_workers, room, start_ray
from nas.recipe import WORKER_ENVIRONMENT

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.recipe import Recipe

MAX_RETRIES = 2
"""How often a task whose worker was lost is tried again."""
STALL = 300.0
"""Seconds without a batch trained after which a worker counts as hung."""
START_LIMIT = 180.0
"""Seconds in which the first worker must have started."""
POLL = 0.5
"""Seconds between two looks at the clocks of the workers."""


class Worker:
    """The actor: trains in one thread and tells its progress in another."""

    def __init__(self, dataset: Dataset, recipe: Recipe, device: str, trainer: Trainer) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.arguments = (dataset, recipe, device)
        self.trainer = trainer
        self.batches = 0
        self.epochs: list[dict[str, Any]] = []

    def hello(self) -> tuple[str, int]:
        """The node and the process in which this worker lives."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def train(self, task: Task) -> Result:
        self.epochs = epochs = []
        self.batches += 1

        def on_batch() -> None:
            self.batches += 1

        return self.trainer(task, *self.arguments, lambda _, row: epochs.append(row), on_batch)

    @ray.method(concurrency_group="progress")
    def progress(self, seen: int) -> tuple[int, Sequence[dict[str, Any]]]:
        """Batches since the worker started, and the epochs of the task after the first `seen`."""
        return self.batches, self.epochs[seen:]


@dataclass(eq=False)
class Slot:
    """What the driver knows of a worker; refs are None when nothing is asked."""

    actor: Any
    hello: Any
    process: tuple[str, int] | None = None
    task: Task | None = None
    result: Any = None
    progress: Any = None
    started: float = 0.0
    alive: float = 0.0  # when a batch was last seen to have been trained
    asked: float = 0.0  # when the worker was last asked how far it is
    batches: int = 0
    curve: tuple[dict[str, Any], ...] = ()

    @property
    def refs(self) -> list[Any]:
        return [ref for ref in (self.hello, self.result, self.progress) if ref is not None]


class RayEvaluator:
    """Workers on Ray, one per CPU core or per share of a GPU.

    workers: None for as many as fit; gpus_per_worker: 0.25 puts four on one GPU;
    address: a running cluster to join, None for a private one that ends with `close`;
    deadline: seconds a trial may take; stall: seconds it may take without a batch.
    Raises NasError where no worker can be placed.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        *,
        workers: int | None = None,
        gpus_per_worker: float = 0.0,
        address: str | None = None,
        deadline: float | None = None,
        stall: float = STALL,
        trainer: Trainer = train_candidate,
    ) -> None:
        self.on_epoch: OnEpoch = ignore
        self._deadline, self._stall = deadline, stall
        self._queue: deque[Task] = deque()
        self._failed_starts = 0
        self._slots: list[Slot] = []
        self._owns_ray = start_ray(address, workers)
        try:
            fitting = fitting_workers(gpus_per_worker)
            self.slots = workers or fitting
            self._new_actor = _actor_factory(dataset, recipe, gpus_per_worker, trainer)
            self._node = ray.get_runtime_context().get_node_id()
            self._served = time.monotonic()
            self._slots = [self._start() for _ in range(self.slots)]
        except BaseException:
            self.close()
            raise

    def submit(self, task: Task) -> None:
        self._queue.append(task)
        self._dispatch()

    def wait(self, timeout: float | None = None) -> list[Result]:
        until = time.monotonic() + timeout if timeout is not None else float("inf")
        results: list[Result] = []
        while not results and (self._queue or any(slot.task for slot in self._slots)):
            left = until - time.monotonic()
            refs = {ref: slot for slot in self._slots for ref in slot.refs}
            ready, _ = ray.wait(list(refs), num_returns=1, timeout=max(0.0, min(POLL, left)))
            for ref in ready:
                results += self._receive(refs[ref], ref)
            results += self._check_clocks()
            self._dispatch()
            if left <= 0:
                break
        return results

    def close(self) -> None:
        """End the workers, and Ray where this evaluator started it; safe to call twice."""
        for slot in self._slots:
            ray.kill(slot.actor)
        self._slots = []
        self._queue.clear()
        if self._owns_ray:
            ray.shutdown()
            self._owns_ray = False

    def _start(self) -> Slot:
        actor = self._new_actor()
        return Slot(actor, actor.hello.remote())

    def _dispatch(self) -> None:
        for slot in self._slots:
            if self._queue and slot.process and slot.task is None:
                slot.task = self._queue.popleft()
                slot.result = slot.actor.train.remote(slot.task)
                slot.started = slot.alive = time.monotonic()
                slot.curve = ()

    def _receive(self, slot: Slot, ref: Any) -> list[Result]:
        """Take what `ref` has brought; a worker that is lost is replaced."""
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            if ref is not slot.result:
                raise NasError(f"the worker cannot start: {error}") from error
            value = Result(slot.task.number, "failed", "exception", str(error))  # type: ignore[union-attr]
        except RayError as error:
            return self._lost(slot, str(error))
        if ref is slot.hello:
            slot.hello, slot.process, self._failed_starts = None, value, 0
        elif ref is slot.progress:
            self._note_progress(slot, *value)
        else:
            return [self._finished(slot, value)]
        return []

    def _finished(self, slot: Slot, result: Result) -> Result:
        task = slot.task
        assert task is not None
        for row in result.curve[len(slot.curve) :]:
            self.on_epoch(task.number, row)
        slot.task = slot.result = slot.progress = None
        if result.reason == "oom":  # memory that a failed trial left fragmented is not passed on
            self._replace(slot)
        return replace(result, retries=result.retries + task.attempt)

    def _note_progress(self, slot: Slot, batches: int, rows: Sequence[dict[str, Any]]) -> None:
        slot.progress = None
        if slot.task is None:
            return
        if batches != slot.batches:
            slot.batches, slot.alive = batches, time.monotonic()
        for row in rows:
            self.on_epoch(slot.task.number, row)
        slot.curve += tuple(rows)

    def _check_clocks(self) -> list[Result]:
        """Ask running workers for their progress; kill those that are late or stand still."""
        now = time.monotonic()
        results = []
        for slot in list(self._slots):
            if slot.task is None:
                continue
            if slot.progress is None and now - max(slot.alive, slot.asked) > POLL:
                slot.asked = now
                slot.progress = slot.actor.progress.remote(len(slot.curve))
            if self._deadline is not None and now - slot.started > self._deadline:
                results.append(self._timed_out(slot, f"longer than {self._deadline:g} s"))
            elif now - slot.alive > self._stall:
                results.append(self._timed_out(slot, f"no batch trained in {self._stall:g} s"))
        if any(slot.process for slot in self._slots):
            self._served = now
        elif now - self._served > START_LIMIT:
            raise NasError(f"no worker has started in {START_LIMIT:g} s", hint=room())
        return results

    def _timed_out(self, slot: Slot, message: str) -> Result:
        task, duration = slot.task, time.monotonic() - slot.started
        assert task is not None
        self._replace(slot, hung=True)
        failed = Result(task.number, "failed", "timeout", message, curve=slot.curve)
        return replace(failed, duration=duration, retries=task.attempt)

    def _lost(self, slot: Slot, message: str) -> list[Result]:
        task, duration = slot.task, time.monotonic() - slot.started
        if slot.process is None:
            self._failed_starts += 1
            if self._failed_starts > MAX_RETRIES * self.slots:
                raise NasError(f"workers die while they start: {message}", hint=room())
        self._replace(slot)
        if task is None:
            return []
        if task.attempt < MAX_RETRIES:
            self._queue.appendleft(replace(task, attempt=task.attempt + 1))
            return []
        failed = Result(task.number, "failed", "worker_lost", message)
        return [replace(failed, duration=duration, retries=task.attempt)]

    def _replace(self, slot: Slot, *, hung: bool = False) -> None:
        ray.kill(slot.actor)
        if hung and slot.process and slot.process[0] == self._node:
            # A process that was stopped does not hear Ray.
            with suppress(ProcessLookupError):
                os.kill(slot.process[1], signal.SIGKILL)
        self._slots[self._slots.index(slot)] = self._start()


def _actor_factory(
    dataset: Dataset, recipe: Recipe, gpus_per_worker: float, trainer: Trainer
) -> Callable[[], Any]:
    """A function that starts a worker; the data is sent to the cluster once, here."""
    options: dict[str, Any] = (
        {"num_cpus": 0, "num_gpus": gpus_per_worker} if gpus_per_worker else {"num_cpus": 1}
    )
    environment = {"env_vars": dict(WORKER_ENVIRONMENT)}
    options |= {"runtime_env": environment, "max_restarts": 0, "concurrency_groups": {"progress": 1}}
    actor = ray.remote(**options)(Worker)
    shared = ray.put(dataset)
    device = "cuda" if gpus_per_worker else "cpu"
    return lambda: actor.remote(shared, recipe, device, trainer)
