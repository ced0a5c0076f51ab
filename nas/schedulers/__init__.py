"""Schedulers decide how far each network is trained: to the end, or by successive halving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.schedulers.base import Scheduler, TrainFully
from nas.schedulers.rung_store import RungStore
from nas.schedulers.rungs import check_rungs, expected_epochs, rung_results
from nas.schedulers.successive_halving import SuccessiveHalving
from nas.study.history import History

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

__all__ = [
    "Scheduler",
    "SuccessiveHalving",
    "TrainFully",
    "check_rungs",
    "expected_epochs",
    "make_scheduler",
    "rung_results",
]


def make_scheduler(
    rungs: Sequence[int], history: History, space: SearchSpace, *, folder: Path | None
) -> Scheduler:
    """Return the scheduler of a search.

    rungs: epochs at which trainings pause, the last of them the full budget; () trains every network fully.
    folder: where paused trainings are kept, None to keep nothing; those that an earlier process left there
    wait again. StorageError names a file there that cannot be read."""
    if not rungs:
        return TrainFully()
    store = None if folder is None else RungStore(folder, rungs, space)
    return SuccessiveHalving(rungs, history, domains=space.domains(), store=store)
