"""Callbacks by which a search reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.controller.evaluators.base import OnTimes
from nas.training.task import ignore

if TYPE_CHECKING:
    from nas.controller.config import SearchConfig
    from nas.controller.dry_run import Plan
    from nas.controller.progress import Event, Progress
    from nas.data import Dataset
    from nas.study.run import Run
    from nas.study.trial import Trial


@dataclass(frozen=True)
class Callbacks:
    """Functions that a search calls; by default each does nothing.

    on_data: called with the settings and the data set once the images are read. on_plan: called before a
    design starts, with the settings and the plan. on_start: called with the run and the number of trainings
    at once. on_precision: called with float32 or bfloat16 once the run has settled on one. on_trial: called
    with each trial once it is on disk, and with the progress. on_event: called with each event in between.
    on_stop: called in a thread of its own when the search is asked to stop, with the signal and the number of
    trainings in progress. on_times: called with the times of each process.
    """

    on_data: Callable[[SearchConfig, Dataset], None] = ignore
    on_plan: Callable[[SearchConfig, Plan], None] = ignore
    on_start: Callable[[Run, int], None] = ignore
    on_precision: Callable[[str], None] = ignore
    on_trial: Callable[[Trial, Progress], None] = ignore
    on_event: Callable[[Event], None] = ignore
    on_stop: Callable[[int, int], None] = ignore
    on_times: OnTimes = ignore
