"""Task and result: what a worker is given, and what it gives back."""

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


State = Literal["complete", "stopped", "failed"]
"""A trial that was stopped was trained well, but for fewer epochs than the full budget: a scheduler
preferred others. Its error is that of its last epoch, so it is compared with none and on no front."""


@dataclass(frozen=True)
class EpochRange:
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
    part: EpochRange | None = None


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


class Trainer(Protocol):
    """A function like `nas.training.candidate.train_candidate`;
    it must call `on_batch` often, to be known alive."""

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
    """A callback that does nothing."""
