"""Progress and events, which a search hands to its callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nas.graph.cost import Cost
from nas.study.trial import Proposal


@dataclass(frozen=True)
class Progress:
    """Progress of a search.

    done, total, complete, failed: trials of the whole study; `done` includes those paused at a rung. running:
    trainings in progress. elapsed: seconds since this search began. remaining: expected seconds, None at
    first and while only paused trials are trained.
    """

    done: int
    total: int
    complete: int
    failed: int
    running: int
    elapsed: float
    remaining: float | None


@dataclass(frozen=True)
class Event:
    """Event between results: a trial starts, ends an epoch, or pauses at a rung.

    number: of the trial. row: figures of the epoch, None at the start. progress: given at a rung.
    """

    kind: Literal["start", "epoch", "rung"]
    number: int
    proposal: Proposal
    cost: Cost
    row: Mapping[str, Any] | None = None
    progress: Progress | None = None
