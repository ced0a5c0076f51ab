"""What a search tells while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nas.graph.cost import Cost
from nas.study.trial import Proposal


@dataclass(frozen=True)
class Progress:
    """Where the search stands. done, total, complete, failed: trials of the whole study, done
    with those that wait at a rung; elapsed: seconds since this search began; remaining: seconds
    expected, None at first and where only trials that had waited are trained on."""

    done: int
    total: int
    complete: int
    failed: int
    running: int
    elapsed: float
    remaining: float | None


@dataclass(frozen=True)
class Event:
    """What happens between results: a trial starts, has finished an epoch (its row), or has come to a
    rung of the budget, where it waits (its last row, and where the search stands)."""

    kind: Literal["start", "epoch", "rung"]
    number: int
    proposal: Proposal
    cost: Cost
    row: Mapping[str, Any] | None = None
    progress: Progress | None = None
