"""Training on Ray: long-lived workers that hold the data and take task after task.

There is no barrier: a worker that is done takes the next task. A worker that dies is replaced and its task
tried again; one that hangs is killed. If fewer workers can be placed than were asked for, those there are do
the work, and others join when they can. A task starts only if its memory fits beside what runs, in the order
of submission: a task that has to wait is not overtaken, or smaller ones would put it off for ever.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from nas.controller.evaluators import base
from nas.controller.evaluators.base import Memory, OnTimes, ResolvePrecision, too_large
from nas.controller.evaluators.mps import start_mps, stop_mps
from nas.controller.evaluators.ray_cluster import (
    check_ray,
    end_ray,
    fitting_workers,
    resources_text,
    start_ray,
)
from nas.controller.evaluators.ray_slot import MemoryPacking, Slot
from nas.controller.evaluators.ray_worker import Actors, Place
from nas.errors import ClusterLostError, NasError
from nas.training.candidate import train_candidate
from nas.training.profile import Times
from nas.training.task import OnEpoch, Result, Task, Trainer, ignore

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe

MAX_RETRIES = 2
"""Retries of a task whose worker was lost."""
STALL = 300.0
"""Seconds without a batch trained after which a worker counts as hung."""
START_LIMIT = 600.0
"""Seconds in which the first worker must have started: on two cores with six busy processes it took 180."""
LOSS_DELAY = 1.0
"""Seconds from the loss of a worker until Ray is asked for another: what ended the worker, such as a signal
to all processes of a job, may be ending Ray, which still answers for a moment."""
GROWTH = 1.0
"""Seconds between two looks at how many workers fit."""
POLL = 0.5
"""Seconds between two looks at the clocks of the workers."""


class RayEvaluator:
    """Workers on Ray, one per CPU core or per share of a GPU.

    workers: None for as many as fit, more as a cluster grows. gpus_per_worker: 0.25 puts four on one GPU.
    address: a running cluster to join, None for a private one that ends with `close`. deadline: seconds a
    training may take. stall: seconds it may take without a batch. trainer: trains a task. memory: predicts
    the bytes of a task, so that workers are packed by it; None packs without. resolve_precision: called with
    the precision that suits the worker that starts first, if the recipe leaves it open; what it returns goes
    for all, as the nodes of a cluster may differ. NasError if no worker can be placed.
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
        resolve_precision: ResolvePrecision = base.same_precision,
    ) -> None:
        began = time.monotonic()
        self._deadline, self._stall = deadline, stall
        self._packing, self._resolve_precision = MemoryPacking(memory), resolve_precision
        self.precision = base.asked_precision(recipe)
        self._refused: list[Result] = []
        self._queue: deque[Task] = deque()
        self._rows: list[tuple[int, dict[str, Any]]] = []
        self._times: list[Times] = []
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

    def wait(
        self, timeout: float | None = None, *, on_epoch: OnEpoch = ignore, on_times: OnTimes = ignore
    ) -> list[Result]:
        until = time.monotonic() + timeout if timeout is not None else float("inf")
        results, self._refused = self._refused, []
        while not results and (self._queue or any(slot.task for slot in self._slots)):
            left = until - time.monotonic()
            try:
                results = self._step(max(0.0, min(POLL, left)))
            finally:
                self._report(on_epoch, on_times)
            if left <= 0:
                break
        return results

    def close(self) -> None:
        """End the workers, and Ray if this evaluator started it; safe to call twice."""
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

    def _step(self, seconds: float) -> list[Result]:
        """Wait for what workers say, at most `seconds`, and return the results among it."""
        results: list[Result] = []
        refs = {ref: slot for slot in self._slots for ref in slot.refs}
        ready, _ = ray.wait(list(refs), num_returns=1, timeout=seconds)
        for ref in ready:
            results += self._receive(refs[ref], ref)
        if not ready:
            check_ray()
        results += self._check_clocks()
        self._grow()
        self._dispatch()
        refused, self._refused = self._refused, []
        return results + refused

    def _report(self, on_epoch: OnEpoch, on_times: OnTimes) -> None:
        """Call back with what has happened since the last report."""
        rows, self._rows = self._rows, []
        times, self._times = self._times, []
        for number, row in rows:
            on_epoch(number, row)
        for entry in times:
            on_times(entry)

    def _start(self, began: float) -> Slot:
        actor = self._actors.start()
        return Slot(actor, actor.hello.remote(self._packing.measures), started=began)

    def _grow(self) -> None:
        """Start workers for what has joined the cluster; workers of a node that leaves start again where
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
        """Start the tasks that fit, in their order; refuse a task that fits nowhere even alone."""
        packing = self._packing
        while self._queue and (idle := [slot for slot in self._slots if slot.place and not slot.task]):
            task = self._queue[0]
            fitting = [slot for slot in idle if self._need(task, slot) <= packing.free(slot, self._slots)]
            if fitting:
                self._assign(fitting[0], self._queue.popleft())
            elif any(self._need(task, slot) <= packing.room(slot) for slot in self._slots if slot.place):
                return  # it waits for what runs beside it
            else:
                room, need = max((packing.room(slot), self._need(task, slot)) for slot in idle)
                self._refused.append(too_large(self._queue.popleft(), need, room))

    def _need(self, task: Task, slot: Slot) -> float:
        return self._packing.need(task, slot, half=self.precision == "bfloat16")

    def _assign(self, slot: Slot, task: Task) -> None:
        slot.task, slot.memory, slot.curve = task, self._need(task, slot), ()
        slot.result = slot.actor.train.remote(task, self.precision)
        slot.started = slot.alive = time.monotonic()

    def _receive(self, slot: Slot, ref: Any) -> list[Result]:
        """Take the value of a reference; a worker that is lost is replaced."""
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            if ref is not slot.result:
                raise NasError(f"the worker cannot start: {error}") from error
            value = Result(slot.task.number, "failed", "exception", str(error))  # type: ignore[union-attr]
        except RayError as error:
            return self._lost(slot, str(error))
        if ref is slot.hello:
            self._started(slot, value)
        elif ref is slot.progress:
            self._note_progress(slot, *value)
        else:
            return [self._finished(slot, value)]
        return []

    def _started(self, slot: Slot, place: Place) -> None:
        slot.hello, slot.place, self._failed_starts = None, place, 0
        slot.ahead = 0.0 if place.node == self._node else time.monotonic() - place.clock
        self._note_times(slot, slot.until_now("starting"))
        self._packing.add(place)
        if self.precision == "auto":
            self.precision = self._resolve_precision(place.precision)
        if all(other.place for other in self._slots):
            self._actors.all_started()

    def _finished(self, slot: Slot, result: Result) -> Result:
        task = slot.task
        assert task is not None
        self._rows += ((task.number, row) for row in result.curve[len(slot.curve) :])
        times = slot.by_our_clock(result.times) if result.times else slot.until_now("training")
        self._note_times(slot, times)
        slot.task = slot.result = slot.progress = None
        if result.reason == "oom":  # its worker's memory may be fragmented
            self._replace(slot)
        return replace(result, retries=result.retries + task.attempt)

    def _note_times(self, slot: Slot, times: Times) -> None:
        self._times.append(replace(times, worker=f"worker {self._slots.index(slot) + 1}"))

    def _note_progress(self, slot: Slot, batches: int, rows: Sequence[dict[str, Any]]) -> None:
        slot.progress = None
        if slot.task is None:
            return
        if batches != slot.batches:
            slot.batches, slot.alive = batches, time.monotonic()
        number = slot.task.number
        self._rows += ((number, row) for row in rows)
        slot.curve += tuple(rows)

    def _check_clocks(self) -> list[Result]:
        """Ask busy workers for their progress; kill those that are late or hang."""
        now = time.monotonic()
        results = []
        for slot in [slot for slot in self._slots if slot.task]:
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
            raise NasError(f"no worker has started in {START_LIMIT:g} s", hint=resources_text())
        return results

    def _timed_out(self, slot: Slot, message: str) -> Result:
        task, times = slot.task, slot.until_now("lost")
        assert task is not None
        self._note_times(slot, times)
        self._replace(slot, hung=True)
        failed = Result(task.number, "failed", "timeout", message, curve=slot.curve)
        return replace(failed, duration=times.end - times.start, retries=task.attempt)

    def _lost(self, slot: Slot, message: str) -> list[Result]:
        time.sleep(LOSS_DELAY)
        check_ray()
        task, times = slot.task, slot.until_now("lost")
        if slot.place is None:
            self._failed_starts += 1
            if self._failed_starts > MAX_RETRIES * self.slots:
                raise NasError(f"workers die while they start: {message}", hint=resources_text())
        if task or not slot.place:
            self._note_times(slot, times)
        self._replace(slot)
        if task is None:
            return []
        if task.attempt < MAX_RETRIES:
            self._queue.appendleft(replace(task, attempt=task.attempt + 1))
            return []
        failed = Result(task.number, "failed", "worker_lost", message)
        return [replace(failed, duration=times.end - times.start, retries=task.attempt)]

    def _replace(self, slot: Slot, *, hung: bool = False) -> None:
        ray.kill(slot.actor)
        if hung and slot.place and slot.place.node == self._node:
            # A process that was stopped does not hear Ray.
            with suppress(ProcessLookupError):
                os.kill(slot.place.process, signal.SIGKILL)
        self._slots[self._slots.index(slot)] = self._start(time.monotonic())
