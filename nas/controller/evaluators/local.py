"""Evaluation in this process, one candidate after the other."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.controller.evaluators.base import (
    Memory,
    OnTimes,
    ResolvePrecision,
    asked_precision,
    same_precision,
    too_large,
)
from nas.training.candidate import train_candidate
from nas.training.memory import physical_memory
from nas.training.task import OnEpoch, Result, Task, Trainer, ignore

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe


class LocalEvaluator:
    """Trains one candidate at a time in this process, when its result is waited for."""

    slots = 1

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        *,
        device: str = "cpu",
        trainer: Trainer | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.on_epoch: OnEpoch = ignore
        self.on_times: OnTimes = ignore
        self.resolve_precision: ResolvePrecision = same_precision
        self._dataset, self._recipe, self._device = dataset, recipe, device
        self._trainer = trainer or train_candidate
        self._memory = memory
        self._tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, timeout: float | None = None) -> list[Result]:
        if not self._tasks:
            return []
        task = self._tasks.popleft()
        if asked_precision(self._recipe) == "auto":
            from nas.training.loop import precision_of

            suited = precision_of(self._recipe, self._device)
            self._recipe = replace(self._recipe, precision=self.resolve_precision(suited))
        if refusal := self._refusal(task):
            return [refusal]
        result = self._trainer(task, self._dataset, self._recipe, self._device, self.on_epoch, ignore)
        if result.times:
            self.on_times(replace(result.times, worker="worker 1"))
        return [result]

    def close(self) -> None:
        self._tasks.clear()

    def _refusal(self, task: Task) -> Result | None:
        """What becomes of a task that is larger than the machine."""
        if self._memory is None:
            return None
        need, room = self._memory(task, self._recipe.precision == "bfloat16"), physical_memory()
        return too_large(task, need, room) if need > room else None
