"""Where the time of a run goes: what its workers and its driver did, from monotonic clocks.

A session of a run is what one process does for it, from the start of its workers to its end. With
`nas search --profile` each appends to `profile.jsonl` in the run folder, one line for every `Times`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nas.errors import StorageError

DRIVER = "driver"
MAX_BYTES = 1 << 28
"""Of the file: a million trials."""


@dataclass(frozen=True)
class Times:
    """What was done from `start` to `end`, seconds on a monotonic clock, and the seconds of each phase of
    it in order of their first beginning. trial: what it was done for, None for what serves all;
    worker: who did it, "driver" or "worker 1" and so on, "" where the worker does not know."""

    start: float
    end: float
    phases: Mapping[str, float]
    trial: int | None = None
    worker: str = ""


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


@contextmanager
def profile_writer(path: Path) -> Iterator[Callable[[Times], None]]:
    """A function that appends `Times` of a new session to a file, counted from now.

    StorageError if it cannot be written. A line that a killed process left torn is taken out.
    """
    session, origin = datetime.now(UTC).isoformat(), time.monotonic()
    with _guarded(path):
        file = open(path, "ab+", buffering=0)  # noqa: SIM115
        file.seek(0)
        file.truncate(file.read(MAX_BYTES).rfind(b"\n") + 1)

    def write(times: Times) -> None:
        moved = {"start": times.start - origin, "end": times.end - origin}
        with _guarded(path):
            file.write(json.dumps({"session": session, **asdict(times), **moved}).encode() + b"\n")

    with file:
        yield write


def read_profile(path: Path) -> list[list[Times]]:
    """The sessions of a run in their order; none without the file. StorageError if it holds
    what no run writes."""
    if not path.exists():
        return []
    with _guarded(path), open(path, "rb") as file:
        whole, _, _ = file.read(MAX_BYTES).rpartition(b"\n")  # what follows is being written
    sessions: dict[str, list[Times]] = {}
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            held = json.loads(line)
            sessions.setdefault(held.pop("session"), []).append(_checked(Times(**held)))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise StorageError(f"is no profile: {error}", where=f"{path}:{number}") from error
    return list(sessions.values())


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free some space, or search without --profile"
        raise StorageError(f"cannot be used: {error.strerror}", where=str(path), hint=hint) from error


def _checked(times: Times) -> Times:
    numbers: list[Any] = [times.start, times.end, *times.phases.values()]
    if not all(type(value) in (int, float) and math.isfinite(value) for value in numbers):
        raise ValueError("seconds must be finite numbers")
    if type(times.worker) is not str or not all(type(name) is str for name in times.phases):
        raise TypeError("names must be text")
    return times
