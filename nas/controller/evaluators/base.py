"""Evaluation of candidates: a task goes in, a result comes out, whatever happens to it.

A candidate that raises, runs out of memory or diverges is an outcome, not an error of the
search. `nas.training.candidate` trains one, `local` in this process, `ray` in many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from nas.training.profile import Times
from nas.training.task import OnEpoch, Result, Task

if TYPE_CHECKING:
    from nas.training.recipe import Recipe


OnTimes = Callable[[Times], None]
"""Called with what a worker did, in the seconds of this process's monotonic clock."""


ResolvePrecision = Callable[[str], str]
"""Maps the precision that suits a worker's hardware to the one that every worker must use."""

Memory = Callable[[Task, bool], float]
"""Tells the bytes that training a task takes at its peak; the second says whether in bfloat16."""


class Evaluator(Protocol):
    """Takes tasks and returns results in the order in which they finish.

    slots: tasks that can run at once; more may be submitted and wait their turn.
    """

    on_epoch: OnEpoch
    on_times: OnTimes
    resolve_precision: ResolvePrecision

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


def asked_precision(recipe: Recipe) -> str:
    """That of a recipe, auto where it leaves it open; none where a trainer takes something else for one."""
    return getattr(recipe, "precision", "")


def same_precision(precision: str) -> str:
    """Return the precision as it is, where no run has to agree on one."""
    return precision
