"""Task and result of a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from nas.space.genotype import Genotype
from nas.training.latency import Latency
from nas.training.profile import Times

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe


MAX_CLASS_ERRORS = 1000
"""Most classes whose errors are recorded one by one."""

State = Literal["complete", "stopped", "failed"]
"""A stopped trial trained without failure for fewer epochs than the full budget, because a scheduler
preferred others. Its error is of its last epoch, so it is not compared with complete trials or on a front."""


@dataclass(frozen=True)
class EpochRange:
    """Range of epochs of a training.

    Attributes:
        done: Epochs trained before.
        until: Epoch after which to stop.
        state: Checkpoint after `done` epochs; if missing or unusable, these are trained again.
    """

    done: int
    until: int
    state: bytes | None = None


@dataclass(frozen=True)
class Task:
    """A candidate to train.

    Attributes:
        number: Number of the trial.
        genotype: The candidate.
        seed: Seed of the initial weights, batches and augmentation.
        attempt: Number of workers lost while training it.
        latency: Whether to measure the latency of the trained network.
        measures: The user's own objectives by name: functions of the trained network and the data.
        part: Epochs to train; by default all.
    """

    number: int
    genotype: Genotype
    seed: int
    attempt: int = 0
    latency: bool = False
    measures: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    part: EpochRange | None = None


@dataclass(frozen=True)
class Result:
    """Outcome of a task.

    Attributes:
        number: Number of the trial.
        state: complete, failed, or stopped after a part of the training.
        reason: Why it failed: diverged, oom, exception, worker_lost, timeout or too_large; else "".
        message: Details for the user, such as a traceback.
        error: Validation error in [0, 1]; None if it failed.
        curve: One row per epoch of the task.
        duration: Seconds.
        weights: safetensors bytes of a complete training.
        checkpoint: Checkpoint of a stopped training, from which the next part resumes.
        retries: Trainings repeated with half the batch size.
        latency: Latency of the trained network, if asked for.
        measured: Values of the user's own objectives.
        class_errors: Validation error of each class after a complete training, None without images; empty
            where there are too many classes.
        times: Time profile of the task.
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
    class_errors: tuple[float | None, ...] = ()
    times: Times | None = None


OnEpoch = Callable[[int, dict[str, Any]], None]
"""Called with the number of a trial and the row of its last finished epoch."""


class Trainer(Protocol):
    """A function like `train_candidate`. It must call `on_batch` often, as a sign of life."""

    def __call__(
        self,
        task: Task,
        dataset: Dataset,
        recipe: Recipe,
        device: str,
        on_epoch: OnEpoch,
        on_batch: Callable[[], None],
    ) -> Result: ...


def ignore(*_: object) -> None:
    """Do nothing, as a callback."""
