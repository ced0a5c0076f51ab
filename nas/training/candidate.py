"""Training of one candidate: turn a task into a result, whatever happens."""

from __future__ import annotations

import copy
import gc
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.space.candidate import trained_under
from nas.space.genotype import Genotype, expand
from nas.training.latency import Latency, measure_latency
from nas.training.memory import release_memory
from nas.training.profile import Laps, Times
from nas.training.task import MAX_CLASS_ERRORS, EpochRange, OnEpoch, Result, Task, ignore

if TYPE_CHECKING:
    from torch import nn

    from nas.data import Dataset
    from nas.training.devices import DeviceGroup
    from nas.training.loop import TrainingResult
    from nas.training.recipe import Recipe

PARTS = ("train_images", "train_labels", "val_images", "val_labels")
MESSAGE_LIMIT = 8000
"""Characters kept from the end of a traceback."""


def train_candidate(
    task: Task,
    dataset: Dataset,
    recipe: Recipe,
    device: str = "cpu",
    on_epoch: OnEpoch = ignore,
    on_batch: Callable[[], None] = ignore,
) -> Result:
    """Build and train a candidate, and return its result; an `Exception` becomes a failed result.

    After running out of memory it is trained once more with half the batch size, which the message records.

    Args:
        task: The candidate and what to measure of it.
        dataset: Images to train and validate on.
        recipe: How to train, but for the fields that the candidate has of its own.
        device: cpu, cuda or cuda:1.
        on_epoch: Called with the trial's number and the row of each new epoch.
        on_batch: Called after each batch, as a sign of life.
    """
    laps = Laps()

    def attempt(recipe: Recipe) -> Result:
        result = train_once(task, dataset, recipe, device, on_epoch, on_batch, laps)
        if result.reason == "oom":
            gc.collect()
            release_memory(device)
        return result

    own = trained_under(task.genotype, recipe)
    return timed(with_half_batch(attempt, own, len(dataset.train_labels)), laps)


def with_half_batch(attempt: Callable[[Recipe], Result], recipe: Recipe, images: int) -> Result:
    """Return the result of a training, once more with half the batch size where memory ran out. A batch holds
    no more than the `images` of the training."""
    result, size = attempt(recipe), min(recipe.batch_size, images)
    if result.reason != "oom" or size == 1:
        return result
    half = replace(recipe, batch_size=size // 2)
    result = attempt(half)
    note = f"out of memory with batches of {size}, tried again with {half.batch_size}"
    return replace(result, retries=1, message="\n".join(filter(None, (note, result.message))))


def timed(result: Result, laps: Laps) -> Result:
    """Return a result with the time since the stopwatch was started."""
    end = time.monotonic()
    times = Times(laps.start, end, laps.phases, result.number)
    return replace(result, duration=end - laps.start, times=times)


def train_once(
    task: Task,
    dataset: Dataset,
    recipe: Recipe,
    device: str,
    on_epoch: OnEpoch,
    on_batch: Callable[[], None],
    lap: Laps,
    group: DeviceGroup | None = None,
) -> Result:
    """Train a candidate as `train_candidate` does, without a second attempt.

    Args:
        task: The candidate and what to measure of it.
        dataset: Images to train and validate on.
        recipe: How to train, with the fields that the candidate has of its own.
        device: cpu, cuda or cuda:1.
        on_epoch: Called with the trial's number and the row of each new epoch.
        on_batch: Called after each batch.
        lap: Stopwatch of the phases.
        group: Processes that train the candidate together. Only the first measures what the task asks for.
    """
    try:
        import torch

        from nas.codegen.build import build
        from nas.training.devices import ALONE
        from nas.training.loop import train

        lap("importing")
        with torch.random.fork_rng([]):
            torch.manual_seed(task.seed)
            network = build(task.genotype, dataset.input_shape, dataset.num_classes)
        part = task.part or EpochRange(0, recipe.epochs)
        training = train(
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
            group=group or ALONE,
        )
        if group and group.rank:
            return Result(task.number, "complete")
        return _result(task, dataset, network, training, device, lap)
    except Exception as error:
        lap("failing")
        reason = "oom" if out_of_memory(error) else "exception"
        return Result(task.number, "failed", reason, traceback.format_exc()[-MESSAGE_LIMIT:])


def _result(
    task: Task, dataset: Dataset, network: nn.Module, training: TrainingResult, device: str, lap: Laps
) -> Result:
    """Return the result of a training, with the measurements that the task asks for."""
    curve = training.curve[task.part.done if task.part else 0 :]
    if training.diverged or not math.isfinite(training.error):
        message = f"the loss was {training.loss} after {len(training.curve)} epochs"
        return Result(task.number, "failed", "diverged", message, curve=curve)
    if training.state:
        result = Result(task.number, "stopped", checkpoint=training.state)
    else:
        few = len(training.class_errors) <= MAX_CLASS_ERRORS
        errors = training.class_errors if few else ()
        result = Result(task.number, "complete", weights=_weights(network), class_errors=errors)
    result = replace(result, error=training.error, curve=curve)
    lap("saving")
    if task.latency:
        result = replace(result, latency=_latency(task.genotype, dataset, network, device))
        lap("latency")
    if task.measures:
        result = replace(result, measured=_measured(task, network, dataset))
        lap("objectives")
    return result


def _latency(genotype: Genotype, dataset: Dataset, trained: nn.Module, device: str) -> Latency:
    """Measure the latency of the network as exported: without auxiliary heads, with the trained weights."""
    import torch

    from nas.codegen.build import build_graph

    with torch.random.fork_rng([]):
        network = build_graph(expand(genotype, dataset.input_shape, dataset.num_classes))
    state = trained.state_dict()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return measure_latency(network, dataset.input_shape, device)


def _measured(task: Task, network: nn.Module, dataset: Dataset) -> dict[str, float]:
    """Return the user's own objectives of the trained network, which is in evaluation mode.

    Each has a copy of the network, and images that it cannot write to, as they are those of later trainings.
    """
    images = replace(dataset, **{part: _read_only(getattr(dataset, part)) for part in PARTS})
    values = {
        name: float(measure(copy.deepcopy(network).eval(), images)) for name, measure in task.measures.items()
    }
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"the objective {name} gave {value}, not a finite number")
    return values


def _read_only(values: Any) -> Any:
    """Return a view of an array that cannot be written to."""
    if isinstance(values, np.ndarray):
        values = values.view()
        values.flags.writeable = False
    return values


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out, on the host or on a device."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    signs = ("DefaultCPUAllocator: ", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def _weights(network: nn.Module) -> bytes:
    from safetensors.torch import save

    return save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})
