"""Where the time of a run goes: what its workers and its driver did, from monotonic clocks.

Each session of a run, from the start of its workers to its end, appends to `profile.jsonl` in the
run folder: a line when it starts, one for each trial, and one when it ends.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Times:
    """When a worker had a task, on the monotonic clock of its machine, and the seconds of each phase
    of it. worker: host and process."""

    worker: str
    start: float
    end: float
    phases: dict[str, float]


@dataclass
class Laps:
    """Seconds by phase: the time since the call before counts for the phase that is named."""

    start: float = field(default_factory=time.monotonic)
    phases: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.last = self.start

    def __call__(self, phase: str) -> None:
        now = time.monotonic()
        self.phases[phase] = self.phases.get(phase, 0.0) + now - self.last
        self.last = now
