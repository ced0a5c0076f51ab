"""Evaluation on Ray: long-lived workers that hold the data and take trial after trial.

There is no barrier: a worker that is done takes the next task. A worker that dies is
replaced and its task tried again; one that hangs is killed. Where fewer workers can be
placed than were asked for, those there are do the work, and others join when they can.
A task starts only where its memory fits beside what runs, in the order of submission: one
that has to wait is not overtaken, or smaller ones would put it off for ever.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from nas.controller.evaluators.base import (
    Memory,
    OnTimes,
    ResolvePrecision,
    asked_precision,
    same_precision,
    too_large,
)
from nas.controller.evaluators.mps import start_mps, stop_mps
from nas.controller.evaluators.ray_cluster import check_ray, end_ray, fitting_workers, room, start_ray
from nas.controller.evaluators.ray_worker import Actors, Place
from nas.errors import ClusterLostError, NasError
from nas.training.candidate import train_candidate
from nas.training.profile import Times
from nas.training.task import OnEpoch, Result, Task, Trainer, ignore

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe

MAX_RETRIES = 2
"""How often a task whose worker was lost is tried again."""
STALL = 300.0
"""Seconds without a batch trained after which a worker counts as hung."""
START_LIMIT = 600.0
"""Seconds in which the first worker must have started: six busy processes beside it on two cores make
them more than 180."""
SETTLING = 1.0
"""Seconds from the loss of a worker until Ray is asked for another: what has ended the one, as a signal
to all processes of a job, may be ending Ray, which still answers for a moment."""
GROWTH = 1.0
"""Seconds between two looks at how many workers fit."""
POLL = 0.5
"""Seconds between two looks at the clocks of the workers."""


@dataclass(eq=False)
class Slot:
    """What the driver knows of a worker; refs are None when nothing is asked."""

    actor: Any
    hello: Any
    place: Place | None = None
    task: Task | None = None
    memory: float = 0.0  # that its task is predicted to need
    result: Any = None
    progress: Any = None
    started: float = 0.0  # its task, or itself before it has had one
    alive: float = 0.0  # when a batch was last seen to have been trained
    asked: float = 0.0  # when the worker was last asked how far it is
    ahead: float = 0.0  # seconds that our monotonic clock is before its own
    batches: int = 0
    curve: tuple[dict[str, Any], ...] = ()

    @property
    def refs(self) -> list[Any]:
        return [ref for ref in (self.hello, self.result, self.progress) if ref is not None]


class RayEvaluator:
    """Workers on Ray, one per CPU core or per share of a GPU.

    workers: None for as many as fit, more as a cluster grows; gpus_per_worker: 0.25 puts four on one GPU;
    address: a running cluster to join, None for a private one that ends with `close`;
    deadline: seconds a trial may take; stall: seconds it may take without a batch; memory:
    tells the bytes that a task needs, so that workers are packed by it (None: they are not).
    Where the recipe leaves the precision open, the hardware of the worker that starts first decides for
    all, through `resolve_precision`: the nodes of a cluster may differ.
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
        memory: Memory | None = None,
    ) -> None:
        self.on_epoch: OnEpoch = ignore
        self.on_times: OnTimes = ignore
        self.resolve_precision: ResolvePrecision = same_precision
        began = time.monotonic()
        self._deadline, self._stall, self._memory = deadline, stall, memory
        self.precision = asked_precision(recipe)
        self._rooms: dict[tuple[str, str], float] = {}
        self._refused: list[Result] = []
        self._queue: deque[Task] = deque()
        self._failed_starts = 0
        self._slots: list[Slot] = []
        self._mps: dict[str, str] = {}
        self._owns_ray = start_ray(address, workers)
        try:
            self.slots = workers or fitting_workers(gpus_per_worker)
            self._grows, self._share, self._looked = workers is None, gpus_per_worker, time.monotonic()
            if self._owns_ray and 0 < gpus_per_worker < 1:
                self._mps = start_mps()
            self._actors = Actors(dataset, recipe, gpus_per_worker, trainer, self._mps)
            self._node = ray.get_runtime_context().get_node_id()
            self._served = time.monotonic()
            self._slots = [self._start(began) for _ in range(self.slots)]
        except BaseException:
            self.close()
            raise

    def submit(self, task: Task) -> None:
        self._queue.append(task)
        self._dispatch()

    def wait(self, timeout: float | None = None) -> list[Result]:
        until = time.monotonic() + timeout if timeout is not None else float("inf")
        results, self._refused = self._refused, []
        while not results and (self._queue or any(slot.task for slot in self._slots)):
            left = until - time.monotonic()
            refs = {ref: slot for slot in self._slots for ref in slot.refs}
            ready, _ = ray.wait(list(refs), num_returns=1, timeout=max(0.0, min(POLL, left)))
            for ref in ready:
                results += self._receive(refs[ref], ref)
            if not ready:
                check_ray()
            results += self._check_clocks()
            self._grow()
            self._dispatch()
            results, self._refused = results + self._refused, []
            if left <= 0:
                break
        return results

    def close(self) -> None:
        """End the workers, and Ray where this evaluator started it; safe to call twice."""
        with suppress(ClusterLostError):
            if self._slots:  # else Ray may have ended with an earlier call
                check_ray()
            for slot in self._slots:
                ray.kill(slot.actor)
        self._slots = []
        self._queue.clear()
        if self._owns_ray:
            end_ray()
            self._owns_ray = False
        stop_mps(self._mps)
        self._mps = {}

    def _start(self, began: float) -> Slot:
        actor = self._actors.start()
        return Slot(actor, actor.hello.remote(self._memory is not None), started=began)

    def _grow(self) -> None:
        """Start workers for what has joined the cluster; those of a node that leaves are started again where
        there is room."""
        now = time.monotonic()
        if not self._grows or now - self._looked < GROWTH:
            return
        self._looked = now
        with suppress(NasError):  # the last GPU has left
            while self.slots < fitting_workers(self._share):
                self._slots.append(self._start(now))
                self.slots += 1

    def _dispatch(self) -> None:
        """Start what fits, the first of the queue first; refuse what fits nowhere even alone."""
        while self._queue and (idle := [slot for slot in self._slots if slot.place and not slot.task]):
            task = self._queue[0]
            fitting = [slot for slot in idle if self._need(task, slot) <= self._free(slot)]
            if fitting:
                self._assign(fitting[0], self._queue.popleft())
            elif any(self._need(task, slot) <= self._room(slot) for slot in self._slots if slot.place):
                return  # it waits for what runs beside it
            else:
                room, need = max((self._room(slot), self._need(task, slot)) for slot in idle)
                self._refused.append(too_large(self._queue.popleft(), need, room))

    def _assign(self, slot: Slot, task: Task) -> None:
        slot.task, slot.memory, slot.curve = task, self._need(task, slot), ()
        slot.result = slot.actor.train.remote(task, self.precision)
        slot.started = slot.alive = time.monotonic()

    def _need(self, task: Task, slot: Slot) -> float:
        """Bytes that a task is predicted to take."""
        return self._memory(task, self.precision == "bfloat16") if self._memory and slot.place else 0.0

    def _room(self, slot: Slot) -> float:
        """Bytes for tasks where a worker lives."""
        return self._rooms[slot.place.room] if slot.place else 0.0

    def _free(self, slot: Slot) -> float:
        """Those of them that the tasks of other workers leave."""
        beside = (
            other.memory
            for other in self._slots
            if other.task and other.place and slot.place and other.place.room == slot.place.room
        )
        return self._room(slot) - sum(beside)

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
            slot.hello, slot.place, self._failed_starts = None, value, 0
            slot.ahead = 0.0 if value.node == self._node else time.monotonic() - value.clock
            self._tell(slot, "starting")
            self._rooms.setdefault(value.room, value.memory)
            if self.precision == "auto":
                self.precision = self.resolve_precision(value.precision)
            if all(each.place for each in self._slots):
                self._actors.all_started()
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
        self._tell(slot, "training", result.times)
        slot.task = slot.result = slot.progress = None
        if result.reason == "oom":  # memory that a failed trial left fragmented is not passed on
            self._replace(slot)
        return replace(result, retries=result.retries + task.attempt)

    def _tell(self, slot: Slot, phase: str, times: Times | None = None) -> None:
        """What a worker has done until now: by its own clock if it says, else all one phase."""
        if times is None:
            number = slot.task.number if slot.task else None
            now = time.monotonic()
            times = Times(slot.started, now, {phase: now - slot.started}, number)
        else:
            times = replace(times, start=times.start + slot.ahead, end=times.end + slot.ahead)
        self.on_times(replace(times, worker=f"worker {self._slots.index(slot) + 1}"))

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
        if any(slot.place for slot in self._slots):
            self._served = now
        elif now - self._served > START_LIMIT:
            raise NasError(f"no worker has started in {START_LIMIT:g} s", hint=room())
        return results

    def _timed_out(self, slot: Slot, message: str) -> Result:
        task, duration = slot.task, time.monotonic() - slot.started
        assert task is not None
        self._tell(slot, "lost")
        self._replace(slot, hung=True)
        failed = Result(task.number, "failed", "timeout", message, curve=slot.curve)
        return replace(failed, duration=duration, retries=task.attempt)

    def _lost(self, slot: Slot, message: str) -> list[Result]:
        time.sleep(SETTLING)
        check_ray()
        task, duration = slot.task, time.monotonic() - slot.started
        if slot.place is None:
            self._failed_starts += 1
            if self._failed_starts > MAX_RETRIES * self.slots:
                raise NasError(f"workers die while they start: {message}", hint=room())
        if task or not slot.place:
            self._tell(slot, "lost")
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
        if hung and slot.place and slot.place.node == self._node:
            # A process that was stopped does not hear Ray.
            with suppress(ProcessLookupError):
                os.kill(slot.place.process, signal.SIGKILL)
        self._slots[self._slots.index(slot)] = self._start(time.monotonic())
