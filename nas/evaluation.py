"""Evaluation of candidates: a task goes in, a result comes out, whatever happens to it.

A candidate that raises, runs out of memory or diverges is an outcome, not an error of the
search. `LocalEvaluator` trains in this process; `nas.ray_evaluation` in many.
"""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from nas.genotype import Genotype, expand
from nas.latency import Latency, measure_latency
from nas.memory import physical_memory
from nas.profile import Laps, Times
from nas.trial import State

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.recipe import Recipe

MESSAGE_LIMIT = 8000
"""Characters kept of a traceback, counted from its end."""


@dataclass(frozen=True)
class Part:
    """Epochs of a training, from `done` to `until`; `state` is what the part before it gave. Where that
    is missing or of no use, the epochs before are trained again."""

    done: int
    until: int
    state: bytes | None = None


@dataclass(frozen=True)
class Task:
    """A candidate to train, whole or in `part`; `attempt` counts the workers it has already lost;
    `latency` says whether to measure that of the network once it is trained; `measures` are the
    user's own objectives."""

    number: int
    genotype: Genotype
    seed: int
    attempt: int = 0
    latency: bool = False
    measures: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    part: Part | None = None


@dataclass(frozen=True)
class Result:
    """What became of a task.

    state: "complete", "failed", or "stopped" where a part of the training has ended; reason: "" or
    "diverged", "oom", "exception", "worker_lost", "timeout", "too_large"; error: validation error in
    [0, 1], None where it failed; curve: a row for each epoch of the task; duration: seconds; weights:
    safetensors bytes, of a complete one; checkpoint: of a stopped one, from which the next part goes on.
    """

    number: int
    state: State
    reason: str = ""
    message: str = ""
    error: float | None = None
    curve: tuple[dict[str, Any], ...] = ()
    duration: float = 0.0
    weights: bytes | None = None
    checkpoint: bytes | None = None
    retries: int = 0
    latency: Latency | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    times: Times | None = None


OnEpoch = Callable[[int, dict[str, Any]], None]
"""Called with the number of a trial and the row of the epoch it has finished."""

OnTimes = Callable[[Times], None]
"""Called with what a worker did, in the seconds of this process's monotonic clock."""


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


Settle = Callable[[str], str]
"""Told in which precision to train, as measured where a recipe leaves it open; says in which all do."""

Memory = Callable[[Task, bool], float]
"""Tells the bytes that training a task takes at its peak; the second says whether in bfloat16."""


class Evaluator(Protocol):
    """Takes tasks and returns results in the order in which they finish.

    slots: tasks that can run at once; more may be submitted and wait their turn.
    """

    on_epoch: OnEpoch
    on_times: OnTimes
    settle: Settle

    @property
    def slots(self) -> int: ...

    def submit(self, task: Task) -> None: ...

    def wait(self, timeout: float | None = None) -> list[Result]:
        """Results that have arrived; blocks for the first, at most `timeout` seconds."""
        ...

    def close(self) -> None: ...


def too_large(task: Task, need: float, room: float) -> Result:
    """The outcome of a candidate that is refused, as it cannot fit even alone."""
    gib = 2**30
    message = f"training would take {need / gib:.2f} GiB, and there are {room / gib:.2f} GiB for it"
    return Result(task.number, "failed", "too_large", message)


def ignore(*_: object) -> None:
    """A callback that does nothing."""


def as_measured(precision: str) -> str:
    """Each who measures trains in what it measured."""
    return precision


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
        self.settle: Settle = as_measured
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
        if getattr(self._recipe, "precision", "") == "auto":  # a trainer may take anything for a recipe
            from nas.training import precision_of

            measured = precision_of(self._recipe, self._device)
            self._recipe = replace(self._recipe, precision=self.settle(measured))
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
    laps = Laps()
    result = _attempt(task, dataset, recipe, device, on_epoch, on_batch, laps)
    if result.reason == "oom" and recipe.batch_size > 1:
        _free_memory(device)
        half = replace(recipe, batch_size=recipe.batch_size // 2)
        result = _attempt(task, dataset, half, device, on_epoch, on_batch, laps)
        note = f"out of memory with batches of {recipe.batch_size}, tried again with {half.batch_size}"
        result = replace(result, retries=1, message="\n".join(filter(None, (note, result.message))))
    end = time.monotonic()
    times = Times(laps.start, end, laps.phases, task.number)
    return replace(result, duration=end - laps.start, times=times)


def _attempt(
    task: Task,
    dataset: Dataset,
    recipe: Recipe,
    device: str,
    on_epoch: OnEpoch,
    on_batch: Callable[[], None],
    lap: Laps,
) -> Result:
    try:
        import torch
        import torch._dynamo  # an optimiser loads it, which takes as long as torch itself

        from nas.network import build
        from nas.training import train

        lap("importing")
        with torch.random.fork_rng([]):
            torch.manual_seed(task.seed)
            network = build(task.genotype, dataset.input_shape, dataset.num_classes)
        part = task.part or Part(0, recipe.epochs)
        outcome = train(
            network,
            dataset,
            recipe,
            seed=task.seed,
            device=device,
            on_epoch=lambda row: on_epoch(task.number, row) if row["epoch"] > part.done else None,
            on_batch=on_batch,
            resume=part.state,
            until=part.until,
            lap=lap,
        )
        curve = outcome.curve[part.done :]
        if outcome.diverged or not math.isfinite(outcome.error):
            message = f"the loss was {outcome.loss} after {len(outcome.curve)} epochs"
            return Result(task.number, "failed", "diverged", message, curve=curve)
        if outcome.state:
            found = Result(task.number, "stopped", checkpoint=outcome.state)
        else:
            found = Result(task.number, "complete", weights=_weights(network))
        found = replace(found, error=outcome.error, curve=curve)
        lap("saving")
        if task.latency:
            found = replace(found, latency=_latency(task.genotype, dataset, network, device))
            lap("latency")
        if task.measures:
            found = replace(found, measured=_measured(task, network, dataset))
            lap("objectives")
        return found
    except Exception as error:
        lap("failing")
        reason = "oom" if out_of_memory(error) else "exception"
        return Result(task.number, "failed", reason, traceback.format_exc()[-MESSAGE_LIMIT:])


def _latency(genotype: Genotype, dataset: Dataset, trained: Any, device: str) -> Latency:
    """That of the network as it would be exported: its source without auxiliary heads, as a user
    loads it, with the trained weights."""
    import torch

    from nas.network import build_graph

    with torch.random.fork_rng([]):
        network = build_graph(expand(genotype, dataset.input_shape, dataset.num_classes))
    state = trained.state_dict()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return measure_latency(network, dataset.input_shape, device)


def _measured(task: Task, network: Any, dataset: Dataset) -> dict[str, float]:
    """What the user's own objectives say of the trained network, in evaluation mode."""
    found = {name: float(measure(network.eval(), dataset)) for name, measure in task.measures.items()}
    for name, value in found.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} gave {value}")
    return found


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
