"""Evaluation of candidates: a task goes in, a result comes out, whatever happens to it.

A candidate that raises, runs out of memory or diverges is an outcome, not an error of the
search. `LocalEvaluator` trains in this process; `nas.ray_evaluation` in many.
"""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from nas.genotype import Genotype
from nas.trial import State

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.recipe import Recipe

MESSAGE_LIMIT = 8000
"""Characters kept of a traceback, counted from its end."""


@dataclass(frozen=True)
class Task:
    """A candidate to train; `attempt` counts the workers it has already lost."""

    number: int
    genotype: Genotype
    seed: int
    attempt: int = 0


@dataclass(frozen=True)
class Result:
    """What became of a task.

    state: "complete" or "failed"; reason: "" or "diverged", "oom", "exception",
    "worker_lost", "timeout"; error: validation error in [0, 1], None unless complete;
    curve: a row per epoch; duration: seconds; weights: safetensors bytes.
    """

    number: int
    state: State
    reason: str = ""
    message: str = ""
    error: float | None = None
    curve: tuple[dict[str, Any], ...] = ()
    duration: float = 0.0
    weights: bytes | None = None
    retries: int = 0


OnEpoch = Callable[[int, dict[str, Any]], None]
"""Called with the number of a trial and the row of the epoch it has finished."""


class Trainer(Protocol):
    """A function like `train_candidate`; it must call `on_batch` often, to be known alive."""

    def __call__(
        self,
        task: Task,
        dataset: Dataset,
        recipe: Recipe,
        device: str,
        on_epoch: OnEpoch,
        on_batch: Callable[[], None],
    ) -> Result: ...


class Evaluator(Protocol):
    """Takes tasks and returns results in the order in which they finish.

    slots: tasks that can run at once; more may be submitted and wait their turn.
    """

    on_epoch: OnEpoch

    @property
    def slots(self) -> int: ...

    def submit(self, task: Task) -> None: ...

    def wait(self, timeout: float | None = None) -> list[Result]:
        """Results that have arrived; blocks for the first, at most `timeout` seconds."""
        ...

    def close(self) -> None: ...


def ignore(*_: object) -> None:
    """A callback that does nothing."""


class LocalEvaluator:
    """Trains one candidate at a time in this process, when its result is waited for."""

    slots = 1

    def __init__(
        self, dataset: Dataset, recipe: Recipe, *, device: str = "cpu", trainer: Trainer | None = None
    ) -> None:
        self.on_epoch: OnEpoch = ignore
        self._arguments = (dataset, recipe, device)
        self._trainer = trainer or train_candidate
        self._tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, timeout: float | None = None) -> list[Result]:
        if not self._tasks:
            return []
        return [self._trainer(self._tasks.popleft(), *self._arguments, self.on_epoch, ignore)]

    def close(self) -> None:
        self._tasks.clear()


def train_candidate(
    task: Task,
    dataset: Dataset,
    recipe: Recipe,
    device: str = "cpu",
    on_epoch: OnEpoch = ignore,
    on_batch: Callable[[], None] = ignore,
) -> Result:
    """Build and train a candidate. Never raises an `Exception`: it is the outcome.

    Out of memory is tried once more with half the batch, which the message records.
    """
    start = time.monotonic()
    result = _attempt(task, dataset, recipe, device, on_epoch, on_batch)
    if result.reason == "oom" and recipe.batch_size > 1:
        _free_memory(device)
        half = replace(recipe, batch_size=recipe.batch_size // 2)
        result = _attempt(task, dataset, half, device, on_epoch, on_batch)
        note = f"out of memory with batches of {recipe.batch_size}, tried again with {half.batch_size}"
        result = replace(result, retries=1, message="\n".join(filter(None, (note, result.message))))
    return replace(result, duration=time.monotonic() - start)


def _attempt(
    task: Task,
    dataset: Dataset,
    recipe: Recipe,
    device: str,
    on_epoch: OnEpoch,
    on_batch: Callable[[], None],
) -> Result:
    try:
        import torch

        from nas.network import build
        from nas.training import train

        with torch.random.fork_rng([]):
            torch.manual_seed(task.seed)
            network = build(task.genotype, dataset.input_shape, dataset.num_classes)
        network.register_forward_pre_hook(lambda *_: on_batch())
        outcome = train(
            network,
            dataset,
            recipe,
            seed=task.seed,
            device=device,
            on_epoch=lambda row: on_epoch(task.number, row),
        )
        if outcome.diverged or not math.isfinite(outcome.error):
            message = f"the loss was {outcome.loss} after {len(outcome.curve)} epochs"
            return Result(task.number, "failed", "diverged", message, curve=outcome.curve)
        weights = _weights(network)
        return Result(task.number, "complete", error=outcome.error, curve=outcome.curve, weights=weights)
    except Exception as error:
        reason = "oom" if out_of_memory(error) else "exception"
        return Result(task.number, "failed", reason, traceback.format_exc()[-MESSAGE_LIMIT:])


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the host or on a device, as torch reports it."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    signs = ("DefaultCPUAllocator: ", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def _weights(network: Any) -> bytes:
    from safetensors.torch import save

    return save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})


def _free_memory(device: str) -> None:
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
