"""A worker as the driver sees it, the clocks of those that train, and how tasks are packed into memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from nas.controller.evaluators.base import Memory
from nas.controller.evaluators.ray_worker import Place
from nas.training.profile import Times
from nas.training.task import Task


@dataclass(eq=False)
class Slot:
    """A worker with the task it trains. `hello` and `result` are futures of calls of the actor, None when
    nothing is asked; times are seconds of the driver's monotonic clock.

    number: its place among the workers, which its successor takes. worker: number of the actor itself.
    memory: bytes that the task is predicted to need. started: when the task began, or the worker before its
    first task. alive: when a batch was last seen to have been trained. ahead: seconds that the driver's clock
    is ahead of the worker's. curve: epochs reported. deaths: predecessors that died before they had started.
    """

    number: int
    worker: int
    actor: Any
    hello: Future[Any] | None = None
    place: Place | None = None
    task: Task | None = None
    memory: float = 0.0
    result: Future[Any] | None = None
    started: float = 0.0
    alive: float = 0.0
    ahead: float = 0.0
    curve: tuple[dict[str, Any], ...] = ()
    deaths: int = 0

    def until_now(self, phase: str) -> Times:
        """Return the time since `started` as one phase."""
        now = time.monotonic()
        number = self.task.number if self.task else None
        return Times(self.started, now, {phase: now - self.started}, number)

    def by_our_clock(self, times: Times) -> Times:
        """Return the times that the worker reports, in seconds of the driver's clock."""
        return replace(times, start=times.start + self.ahead, end=times.end + self.ahead)


class Clocks:
    """Clocks of the workers that train, oldest first, so that a look ends at the first that is in time.

    deadline: seconds that a training may take, None for any. stall: seconds that it may take without a batch.
    """

    def __init__(self, deadline: float | None, stall: float) -> None:
        self.deadline, self.stall = deadline, stall
        self._by_start: OrderedDict[Slot, None] = OrderedDict()
        self._by_sign: OrderedDict[Slot, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_start)

    def start(self, slot: Slot) -> None:
        slot.started = slot.alive = time.monotonic()
        self._by_start[slot] = self._by_sign[slot] = None

    def sign(self, slot: Slot) -> None:
        """Note a sign of life."""
        slot.alive = time.monotonic()
        self._by_sign.move_to_end(slot)

    def stop(self, slot: Slot) -> None:
        self._by_start.pop(slot, None)
        self._by_sign.pop(slot, None)

    def late(self) -> dict[Slot, str]:
        """Return the workers that are past the deadline or hang, with the reason in words."""
        now, late = time.monotonic(), {}
        for slot in self._by_sign:
            if now - slot.alive <= self.stall:
                break
            late[slot] = f"no batch trained in {self.stall:g} s"
        for slot in self._by_start:
            if self.deadline is None or now - slot.started <= self.deadline:
                break
            late[slot] = f"longer than {self.deadline:g} s"
        return late


@dataclass
class Room:
    """Memory of a device in bytes: all, and what tasks are predicted to use; and the workers on it."""

    size: float
    used: float = 0.0
    workers: int = 0


class MemoryPacking:
    """Says which tasks fit beside each other, from the bytes that each is predicted to need.

    predict: None packs without looking at memory.
    """

    def __init__(self, predict: Memory | None) -> None:
        self._predict = predict
        self._rooms: dict[tuple[str, str], Room] = {}

    @property
    def measures(self) -> bool:
        """Whether workers must say how much memory is free."""
        return self._predict is not None

    def add(self, place: Place) -> None:
        """Note a worker; the first on a device says how much memory there is."""
        self._rooms.setdefault(place.room, Room(place.memory)).workers += 1

    def remove(self, place: Place) -> None:
        room = self._rooms[place.room]
        room.workers -= 1
        if not room.workers:
            del self._rooms[place.room]

    def need(self, task: Task, *, half: bool) -> float:
        """Return the bytes that a task needs, in bfloat16 if `half`."""
        return self._predict(task, half) if self._predict else 0.0

    def largest(self) -> float:
        """Return the bytes of the largest device."""
        return max(room.size for room in self._rooms.values())

    def fits(self, need: float, place: Place) -> bool:
        """Return whether a task fits beside the others on the device of a worker."""
        room = self._rooms[place.room]
        return need <= room.size - room.used

    def use(self, place: Place, change: float) -> None:
        """Note that a task takes memory, or with less than 0 that it gave it back."""
        self._rooms[place.room].used += change
