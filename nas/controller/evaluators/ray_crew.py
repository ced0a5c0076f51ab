"""The workers of a search: started, given tasks, replaced if they are lost, left out if they cannot start."""

from __future__ import annotations

import os
import signal
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import ray

from nas.controller.evaluators.ray_cluster import resources_text
from nas.controller.evaluators.ray_inbox import Inbox
from nas.controller.evaluators.ray_slot import Clocks, MemoryPacking, Slot
from nas.errors import NasError, last_line

if TYPE_CHECKING:
    from nas.controller.evaluators.ray_actors import Actors
    from nas.controller.evaluators.ray_worker import Place
    from nas.training.task import Task


class Crew:
    """Workers by what they do.

    slots: all that start, train or are idle. starting: those not ready yet. idle: those ready without a task,
    the longest first. unfit: those left out. draining: whether no more are started.
    """

    def __init__(self, inbox: Inbox, clocks: Clocks, packing: MemoryPacking) -> None:
        self.inbox, self.clocks, self.packing = inbox, clocks, packing
        self.actors: Actors
        self.slots: list[Slot] = []
        self.by_worker: dict[int, Slot] = {}
        self.starting: set[Slot] = set()
        self.idle: dict[Slot, None] = {}
        self.unfit: list[Slot] = []
        self.draining = False
        self._node = ""
        self._started = 0

    @property
    def working(self) -> bool:
        """Whether any worker is ready."""
        return len(self.starting) < len(self.slots)

    def start(self, actors: Actors, count: int, began: float) -> None:
        """Start so many workers."""
        self.actors, self._node = actors, ray.get_runtime_context().get_node_id()
        for _ in range(count):
            self.add(began)

    def add(self, began: float) -> None:
        """Start one more worker."""
        number = max((slot.number for slot in [*self.slots, *self.unfit]), default=-1) + 1
        self.slots.append(self._start(number, began))

    def _start(self, number: int, began: float, deaths: int = 0) -> Slot:
        self._started += 1
        slot = Slot(number, self._started, self.actors.start(self._started), started=began, deaths=deaths)
        slot.hello = self.inbox.listen(slot, slot.actor.hello.remote(self.packing.measures))
        self.by_worker[slot.worker] = slot
        self.starting.add(slot)
        return slot

    def ready(self, slot: Slot, place: Place) -> None:
        """Note that a worker has started."""
        slot.hello, slot.place = None, place
        slot.ahead = 0.0 if place.node == self._node else time.monotonic() - place.clock
        self.packing.add(place)
        self.idle[slot] = None
        self._begun(slot)

    def fitting(self, need: float) -> Slot | None:
        """Return an idle worker with so many bytes of memory left, None if there is none."""
        return next((s for s in self.idle if s.place and self.packing.fits(need, s.place)), None)

    def assign(self, slot: Slot, task: Task, need: float, precision: str) -> None:
        assert slot.place is not None
        del self.idle[slot]
        slot.task, slot.memory, slot.curve = task, need, ()
        self.packing.use(slot.place, need)
        self.clocks.start(slot)
        slot.result = self.inbox.listen(slot, slot.actor.train.remote(task, precision))

    def done(self, slot: Slot) -> None:
        """Note that a worker has ended its task."""
        self._free(slot)
        self.idle[slot] = None

    def replace(self, slot: Slot, *, hung: bool = False) -> None:
        """End a worker, and start another in its place."""
        self.actors.end(slot.actor)
        if hung and slot.place and slot.place.node == self._node:
            # A process that was stopped does not hear Ray.
            with suppress(ProcessLookupError):
                os.kill(slot.place.process, signal.SIGKILL)
        self._forget(slot)
        if self.draining:  # Ray may be ending, too, and ends a process that asks it for something
            self.slots.remove(slot)
            return
        deaths = 0 if slot.place else slot.deaths + 1
        self.slots[self.slots.index(slot)] = self._start(slot.number, time.monotonic(), deaths)

    def leave_out(self, slot: Slot, message: str) -> None:
        """Do without a worker that cannot start, such as one on a GPU for which torch has no CUDA.

        It keeps its place, so that no other is put there. NasError if it was the last.
        """
        reason = last_line(message)
        if len(self.slots) == 1:
            raise NasError(f"the worker cannot start: {reason}", hint=resources_text())
        self._forget(slot)
        self.unfit.append(slot)
        self.slots.remove(slot)
        warnings.warn(f"a worker cannot start and is left out: {reason}", stacklevel=2)

    def end(self) -> None:
        """End all workers and the board."""
        if self.slots:
            ray.kill(self.actors.board)
        for slot in [*self.slots, *self.unfit]:
            self.actors.end(slot.actor)

    def _begun(self, slot: Slot) -> None:
        self.starting.discard(slot)
        if not self.starting:
            self.actors.all_started()

    def _free(self, slot: Slot) -> None:
        if slot.task and slot.place:
            self.packing.use(slot.place, -slot.memory)
        slot.task = slot.result = None
        self.clocks.stop(slot)

    def _forget(self, slot: Slot) -> None:
        self._free(slot)
        if slot.place:
            self.packing.remove(slot.place)
        self.idle.pop(slot, None)
        self._begun(slot)
        del self.by_worker[slot.worker]
        slot.hello = None
