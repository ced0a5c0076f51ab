"""A worker as the driver sees it, and how tasks are packed into the memory of a machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from nas.controller.evaluators.base import Memory
from nas.controller.evaluators.ray_worker import Place
from nas.training.profile import Times
from nas.training.task import Task


@dataclass(eq=False)
class Slot:
    """A worker with the task it trains. `hello`, `result` and `progress` are references to calls of the
    actor, None when nothing is asked; times are seconds of the driver's monotonic clock.

    memory: bytes that the task is predicted to need. started: when the task began, or the worker before its
    first task. alive: when a batch was last seen to have been trained. asked: when the worker was last asked
    for its progress. ahead: seconds that the driver's clock is ahead of the worker's. curve: epochs reported.
    """

    actor: Any
    hello: Any
    place: Place | None = None
    task: Task | None = None
    memory: float = 0.0
    result: Any = None
    progress: Any = None
    started: float = 0.0
    alive: float = 0.0
    asked: float = 0.0
    ahead: float = 0.0
    batches: int = 0
    curve: tuple[dict[str, Any], ...] = ()

    @property
    def refs(self) -> list[Any]:
        return [ref for ref in (self.hello, self.result, self.progress) if ref is not None]

    def until_now(self, phase: str) -> Times:
        """Return the time since `started` as one phase."""
        now = time.monotonic()
        number = self.task.number if self.task else None
        return Times(self.started, now, {phase: now - self.started}, number)

    def by_our_clock(self, times: Times) -> Times:
        """Return what the worker says it did, in seconds of the driver's clock."""
        return replace(times, start=times.start + self.ahead, end=times.end + self.ahead)


class MemoryPacking:
    """Says which tasks fit beside each other, from the bytes that each is predicted to need.

    predict: None packs without looking at memory.
    """

    def __init__(self, predict: Memory | None) -> None:
        self._predict = predict
        self._rooms: dict[tuple[str, str], float] = {}

    @property
    def measures(self) -> bool:
        """Whether workers must say how much memory is free."""
        return self._predict is not None

    def add(self, place: Place) -> None:
        """Note the memory of a worker's device, unless another worker there has."""
        self._rooms.setdefault(place.room, place.memory)

    def need(self, task: Task, slot: Slot, *, half: bool) -> float:
        """Return the bytes that a task needs, in bfloat16 if `half`."""
        return self._predict(task, half) if self._predict and slot.place else 0.0

    def room(self, slot: Slot) -> float:
        """Return the bytes for tasks on the device of a worker."""
        return self._rooms[slot.place.room] if slot.place else 0.0

    def free(self, slot: Slot, slots: Iterable[Slot]) -> float:
        """Return the bytes that the tasks of other workers on the same device leave."""
        beside = (
            other.memory
            for other in slots
            if other.task and other.place and slot.place and other.place.room == slot.place.room
        )
        return self.room(slot) - sum(beside)
