"""The protocol of evaluators: tasks go in, results come out.

A network that raises, runs out of memory or diverges gives a failed result, not an error of the search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nas.training.profile import Times
from nas.training.task import OnEpoch, Result, Task, ignore

if TYPE_CHECKING:
    from nas.training.recipe import Recipe


OnTimes = Callable[[Times], None]
"""Function that takes the times of a worker, in seconds of this process's monotonic clock."""

ResolvePrecision = Callable[[str], str]
"""Maps the precision that suits a worker's hardware to the one that every worker must use."""

Memory = Callable[[Task, bool], float]
"""Predicts the bytes that training a task takes at its peak; the second argument says whether in bfloat16."""


@dataclass(frozen=True)
class Devices:
    """Devices of each worker: GPUs, or a share of one; without `gpus`, CPU cores. Several of them train each
    candidate together.
    """

    gpus: float = 0.0
    cpus: int = 1

    @property
    def processes(self) -> int:
        """Processes that train a candidate together."""
        return max(1, int(self.gpus)) if self.gpus else self.cpus

    @property
    def resources(self) -> dict[str, float]:
        """The resources of Ray that a worker takes."""
        return {"num_cpus": 0, "num_gpus": self.gpus} if self.gpus else {"num_cpus": self.cpus}


class Evaluator(Protocol):
    """Trains networks, and returns results in the order in which trainings end."""

    @property
    def slots(self) -> int:
        """Tasks that train at once; more may be submitted and wait."""
        ...

    def submit(self, task: Task) -> None:
        """Queue a task."""
        ...

    def wait(
        self, timeout: float | None = None, *, on_epoch: OnEpoch = ignore, on_times: OnTimes = ignore
    ) -> list[Result]:
        """Return the results that have arrived; block for the first, at most `timeout` seconds.

        on_epoch: called with each epoch that a task has finished. on_times: called with the times of workers.
        """
        ...

    def drain(self) -> None:
        """Start nothing more: tasks that wait, or whose worker is lost from now on, fail with worker_lost.

        May be called in a signal handler.
        """
        ...

    def close(self) -> None:
        """End the workers and drop the queue."""
        ...


def too_large(task: Task, need: float, room: float) -> Result:
    """Return the failed result of a network that does not fit into memory even alone, in bytes."""
    gib = 2**30
    message = f"training needs {need / gib:.2f} GiB of memory; {room / gib:.2f} GiB are available"
    return Result(task.number, "failed", "too_large", message)


def asked_precision(recipe: Recipe) -> str:
    """Return the precision of a recipe; "" for a trainer whose recipe is something else."""
    return getattr(recipe, "precision", "")


def same_precision(precision: str) -> str:
    """Return the precision as it is, where no run has to agree on one."""
    return precision
