"""Training in this process, one network at a time."""

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
    """Trains one network at a time in this process, while its result is waited for.

    device: cpu or cuda. trainer: trains a task; by default `train_candidate`. memory: predicts the bytes of a
    task, so that one larger than this machine is refused; None refuses nothing. resolve_precision: called
    once, with the precision that suits this machine, if the recipe leaves it open.
    """

    slots = 1

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        *,
        device: str = "cpu",
        trainer: Trainer | None = None,
        memory: Memory | None = None,
        resolve_precision: ResolvePrecision = same_precision,
    ) -> None:
        self._dataset, self._recipe, self._device = dataset, recipe, device
        self._trainer = trainer or train_candidate
        self._memory, self._resolve_precision = memory, resolve_precision
        self._tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(
        self, timeout: float | None = None, *, on_epoch: OnEpoch = ignore, on_times: OnTimes = ignore
    ) -> list[Result]:
        if not self._tasks:
            return []
        task = self._tasks.popleft()
        if asked_precision(self._recipe) == "auto":
            from nas.training.precision import precision_of

            suited = precision_of(self._recipe, self._device)
            self._recipe = replace(self._recipe, precision=self._resolve_precision(suited))
        if refusal := self._refusal(task):
            return [refusal]
        result = self._trainer(task, self._dataset, self._recipe, self._device, on_epoch, ignore)
        if result.times:
            on_times(replace(result.times, worker="worker 1"))
        return [result]

    def drain(self) -> None:
        """Do nothing: there is no worker but this process."""

    def close(self) -> None:
        self._tasks.clear()

    def _refusal(self, task: Task) -> Result | None:
        """Return the result of a task that is larger than the machine, None if it fits."""
        if self._memory is None:
            return None
        need, room = self._memory(task, self._recipe.precision == "bfloat16"), physical_memory()
        return too_large(task, need, room) if need > room else None
