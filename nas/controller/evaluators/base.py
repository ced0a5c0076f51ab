"""Evaluation of candidates: a task goes in, a result comes out, whatever happens to it.

A candidate that raises, runs out of memory or diverges is an outcome, not an error of the
search. `nas.training.candidate` trains one, `local` in this process, `ray` in many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nas.space.genotype import Genotype
from nas.study.trial import State
from nas.training.latency import Latency
from nas.training.profile import Times

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe


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


def asked_precision(recipe: Recipe) -> str:
    """That of a recipe, auto where it leaves it open; none where a trainer takes something else for one."""
    return getattr(recipe, "precision", "")


def as_measured(precision: str) -> str:
    """Each who measures trains in what it measured."""
    return precision
