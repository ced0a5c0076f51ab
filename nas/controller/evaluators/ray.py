"""Training on Ray: long-lived workers that hold the data and take task after task.

There is no barrier: a worker that is done takes the next task. Results arrive by callbacks, progress in bulk
from a board that the workers fill, so that the cost of a result does not grow with the number of workers. A
worker that dies is replaced and its task tried again; one that hangs is killed. If fewer workers can be
placed than were asked for, those there are do the work, and others join when they can. A task starts only if
its memory fits beside what runs, in the order of submission: a task that has to wait is not overtaken, or
smaller ones would put it off for ever.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayActorError, RayError, RayTaskError

from nas.controller.evaluators import base
from nas.controller.evaluators.base import Devices, Memory, OnTimes, ResolvePrecision, too_large
from nas.controller.evaluators.mps import start_mps, stop_mps
from nas.controller.evaluators.ray_actors import Actors
from nas.controller.evaluators.ray_cluster import (
    check_ray,
    end_ray,
    fitting_workers,
    resources_text,
    start_ray,
)
from nas.controller.evaluators.ray_crew import Crew
from nas.controller.evaluators.ray_inbox import Inbox
from nas.controller.evaluators.ray_slot import Clocks, MemoryPacking, Slot
from nas.controller.evaluators.ray_worker import Place
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
LOOK = 1.0
"""Seconds between two looks at whether Ray lives, and how many workers fit."""
POLL = 0.5
"""Seconds between two looks at the board and at the clocks of the workers."""
SILENCE = 10.0
"""Seconds without an answer of the board after which it is not known whether workers hang."""
SIGN = 5.0
"""Most seconds between two signs of life of a worker that trains; less where `stall` is short."""


class RayEvaluator:
    """Workers on Ray, one per CPU core or per share of a GPU, or on several devices that train each task
    together.

    workers: None for as many as fit, more as a cluster grows. gpus_per_worker: 0.25 puts four on one GPU, 2
    trains each task on two. cpus_per_worker: processes that train each task together where there is no GPU.
    address: a running cluster to join, None for a private one that ends with `close`. deadline: seconds a
    training may take. stall: seconds it may take without a batch. trainer: trains a task, on one device.
    memory: predicts the bytes of a task, so that workers are packed by it; None packs without.
    resolve_precision: called with the precision that suits the worker that starts first, if the recipe leaves
    it open; what it returns goes for all, as the nodes of a cluster may differ. NasError if no worker can be
    placed.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        *,
        workers: int | None = None,
        gpus_per_worker: float = 0.0,
        cpus_per_worker: int = 1,
        address: str | None = None,
        deadline: float | None = None,
        stall: float = STALL,
        trainer: Trainer = train_candidate,
        memory: Memory | None = None,
        resolve_precision: ResolvePrecision = base.same_precision,
    ) -> None:
        began = time.monotonic()
        self._inbox, self._clocks, self._packing = Inbox(), Clocks(deadline, stall), MemoryPacking(memory)
        self._crew = Crew(self._inbox, self._clocks, self._packing)
        self._resolve_precision = resolve_precision
        self.precision = base.asked_precision(recipe)
        self._results: list[Result] = []
        self._queue: deque[Task] = deque()
        self._rows: list[tuple[int, dict[str, Any]]] = []
        self._times: list[Times] = []
        self._failed_starts = 0
        self._asked: Future[Any] | None = None
        self._mps: dict[str, str] = {}
        self._owns_ray = False
        try:
            self._owns_ray = start_ray(address, workers and workers * cpus_per_worker)
            self._grows, self._devices = workers is None, Devices(gpus_per_worker, cpus_per_worker)
            self._looked = self._served = self._heard = time.monotonic()
            if self._owns_ray and 0 < gpus_per_worker < 1:
                self._mps = start_mps()
            every = min(SIGN, stall / 10)
            actors = Actors(dataset, recipe, self._devices, trainer, self._mps, every)
            if workers is None or self._owns_ray:  # a cluster that is joined may still grow
                fitting = fitting_workers(self._devices)
            self._crew.start(actors, workers or fitting, began)
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        return len(self._crew.slots)

    def submit(self, task: Task) -> None:
        self._queue.append(task)
        self._dispatch()

    def wait(
        self, timeout: float | None = None, *, on_epoch: OnEpoch = ignore, on_times: OnTimes = ignore
    ) -> list[Result]:
        until = time.monotonic() + timeout if timeout is not None else float("inf")
        while not self._results and (self._queue or self._clocks):
            left = until - time.monotonic()
            try:
                self._step(max(0.0, min(POLL, left)))
            except RayError:
                time.sleep(LOSS_DELAY)
                check_ray()  # a call that failed because Ray has ended
                raise
            finally:
                self._report(on_epoch, on_times)
            if left <= 0:
                break
        results, self._results = self._results, []
        return results

    def drain(self) -> None:
        self._crew.draining = True

    def close(self) -> None:
        """End the workers, and Ray if this evaluator started it; safe to call twice."""
        with suppress(ClusterLostError, RayError):  # it may be ending
            if self._crew.slots:  # else Ray may have ended with an earlier call
                check_ray()
                self._crew.end()
        self._crew.slots = []
        self._queue.clear()
        if self._owns_ray:
            end_ray()
            self._owns_ray = False
        stop_mps(self._mps)
        self._mps = {}

    def _step(self, seconds: float) -> None:
        """Wait for messages, at most `seconds`, and note the results among them. Ctrl-C may come at any time,
        so that a result is noted where it is taken."""
        self._ask()
        self._inbox.wait(seconds)
        lost: dict[Slot, str] = {}
        for slot, future in self._inbox:
            self._receive(slot, future, lost)
        if lost:
            time.sleep(LOSS_DELAY)
            check_ray()
        for worker, message in lost.items():
            self._lost(worker, message)
        self._check_clocks()
        self._look()
        while self._queue and self._crew.draining:
            self._fail(self._queue.popleft(), "worker_lost", "the search was stopped before it began")
        self._dispatch()

    def _report(self, on_epoch: OnEpoch, on_times: OnTimes) -> None:
        """Call back with the events since the last report."""
        rows, self._rows = self._rows, []
        times, self._times = self._times, []
        for number, row in rows:
            on_epoch(number, row)
        for entry in times:
            on_times(entry)

    def _ask(self) -> None:
        """Ask the board for the progress of all workers."""
        if self._asked is None and self._clocks and time.monotonic() - self._heard >= POLL:
            self._asked = self._inbox.listen(None, self._crew.actors.board.read.remote())

    def _look(self) -> None:
        """Check that Ray lives. Start workers on new nodes of the cluster; those of a node that leaves start
        again where there is room."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        check_ray()
        if not self._grows or self._crew.draining:
            return
        with suppress(NasError):  # the last GPU has left
            while len(self._crew.slots) + len(self._crew.unfit) < fitting_workers(self._devices):
                self._crew.add(now)

    def _dispatch(self) -> None:
        """Start the tasks that fit, in their order; refuse a task that fits nowhere even alone."""
        while self._queue and self._crew.idle:
            need = self._packing.need(self._queue[0], half=self.precision == "bfloat16")
            if slot := self._crew.fitting(need):
                self._crew.assign(slot, self._queue.popleft(), need, self.precision)
            elif need <= self._packing.largest():
                return  # it waits for the tasks that run beside it
            else:
                self._results.append(too_large(self._queue.popleft(), need, self._packing.largest()))

    def _receive(self, slot: Slot | None, future: Future[Any], lost: dict[Slot, str]) -> None:
        """Take a message; note a worker that is lost."""
        if slot is None:
            self._read_board(future)
        if slot is None or future not in (slot.hello, slot.result):
            return  # the last words of a worker that was replaced, or a message that was taken before
        try:
            value = future.result()
        except RayTaskError as error:
            if isinstance(error.cause, RayActorError):  # a process of a worker on several devices
                lost[slot] = str(error.cause)
                return
            if future is slot.hello:
                self._crew.leave_out(slot, str(error))
                return
            value = Result(slot.task.number, "failed", "exception", str(error))  # type: ignore[union-attr]
        except RayError as error:
            if getattr(error, "actor_init_failed", False):
                self._crew.leave_out(slot, str(error))
            else:
                lost[slot] = str(error)
            return
        if future is slot.hello:
            self._ready(slot, value)
        else:
            self._finished(slot, value)

    def _read_board(self, future: Future[Any]) -> None:
        """Note the progress that workers reported, unless the board was lost and starts again."""
        self._asked, self._heard = None, time.monotonic()
        with suppress(RayError):
            for (worker, number), news in future.result().items():
                slot = self._crew.by_worker.get(worker)
                if slot is None or slot.task is None or slot.task.number != number:
                    continue
                self._clocks.sign(slot)
                if news.first == len(slot.curve):  # else a message was lost, and the result has all epochs
                    self._rows += ((number, row) for row in news.rows)
                    slot.curve += tuple(news.rows)

    def _ready(self, slot: Slot, place: Place) -> None:
        self._crew.ready(slot, place)
        self._failed_starts = 0
        self._note_times(slot, slot.until_now("starting"))
        if self.precision == "auto":
            self.precision = self._resolve_precision(place.precision)

    def _finished(self, slot: Slot, result: Result) -> None:
        task = slot.task
        assert task is not None
        self._results.append(replace(result, retries=result.retries + task.attempt))
        self._rows += ((task.number, row) for row in result.curve[len(slot.curve) :])
        self._note_times(
            slot, slot.by_our_clock(result.times) if result.times else slot.until_now("training")
        )
        if result.reason == "oom":  # its worker's memory may be fragmented
            self._crew.replace(slot)
        else:
            self._crew.done(slot)

    def _note_times(self, slot: Slot, times: Times) -> None:
        self._times.append(replace(times, worker=f"worker {slot.number + 1}"))

    def _check_clocks(self) -> None:
        """Kill workers that are late or hang."""
        now = time.monotonic()
        late = self._clocks.late() if now - self._heard <= SILENCE else {}
        for slot, message in late.items():
            task, times = slot.task, slot.until_now("lost")
            assert task is not None
            self._note_times(slot, times)
            self._fail(task, "timeout", message, slot)
            self._crew.replace(slot, hung=True)
        if self._crew.working:
            self._served = now
        elif now - self._served > START_LIMIT:
            raise NasError(f"no worker has started in {START_LIMIT:g} s", hint=resources_text())

    def _lost(self, slot: Slot, message: str) -> None:
        task = slot.task
        if slot.place is None:
            if slot.deaths == MAX_RETRIES and self._crew.working:
                self._crew.leave_out(slot, message)
                return
            self._failed_starts += 1
            if self._failed_starts > MAX_RETRIES * self.slots:
                raise NasError(f"workers die while they start: {message}", hint=resources_text())
        if task or not slot.place:
            self._note_times(slot, slot.until_now("lost"))
        if task and task.attempt < MAX_RETRIES and not self._crew.draining:
            self._queue.appendleft(replace(task, attempt=task.attempt + 1))
        elif task:
            self._fail(task, "worker_lost", message, slot)
        self._crew.replace(slot)

    def _fail(self, task: Task, reason: str, message: str, slot: Slot | None = None) -> None:
        """Note the failure of a task, with the curve and the seconds of its worker if it was begun."""
        failed = Result(task.number, "failed", reason, message, retries=task.attempt)
        if slot is not None:
            curve = slot.curve if reason == "timeout" else ()
            failed = replace(failed, curve=curve, duration=time.monotonic() - slot.started)
        self._results.append(failed)
