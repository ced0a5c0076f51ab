"""Time profile of a run: activities of its workers and its driver, from monotonic clocks.

A session is one process that searches, from the start of its workers to its end. With
`nas search --profile` each session appends to `profile.jsonl` in the run folder, one line per `Times`.
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

from nas.errors import NotFoundError, StorageError
from nas.files import read_bytes, require_plain

DRIVER = "driver"
MAX_BYTES = 1 << 28
"""Bytes of the file that are read; enough for a million trials."""


@dataclass(frozen=True)
class Times:
    """Time that a worker or the driver spent on one activity.

    Attributes:
        start: Start, in seconds on a monotonic clock.
        end: End, in seconds on the same clock.
        phases: Seconds per phase, in order of first occurrence.
        trial: Number of the trial; None for an activity that serves all.
        worker: driver or "worker 1" and so on; "" where the worker does not know its name.
    """

    start: float
    end: float
    phases: Mapping[str, float]
    trial: int | None = None
    worker: str = ""


@dataclass
class Laps:
    """Stopwatch of phases: each call adds the time since the previous call to the named phase."""

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
    """Yield a function that appends `Times` of a new session to a file, with clocks counted from now.

    An incomplete last line of a killed process is removed. Raises StorageError if the file cannot be written.
    """
    session, origin = datetime.now(UTC).isoformat(), time.monotonic()
    require_plain(path)
    with _guarded(path):
        file = open(path, "ab+", buffering=0)  # noqa: SIM115
        file.seek(0)
        file.truncate(file.read(MAX_BYTES).rfind(b"\n") + 1)

    def write(times: Times) -> None:
        shifted = {"start": times.start - origin, "end": times.end - origin}
        with _guarded(path):
            file.write(json.dumps({"session": session, **asdict(times), **shifted}).encode() + b"\n")

    with file:
        yield write


def read_profile(path: Path) -> list[list[Times]]:
    """Return the sessions of a run in order; none if there is no file.

    Raises StorageError if a line is not of a profile.
    """
    try:
        raw = read_bytes(path, MAX_BYTES, links=False)
    except NotFoundError:
        return []
    whole, _, _ = raw.rpartition(b"\n")  # the rest is still being written
    sessions: dict[str, list[Times]] = {}
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            row = json.loads(line)
            sessions.setdefault(row.pop("session"), []).append(_checked(Times(**row)))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise StorageError(f"not a line of a profile: {error}", where=f"{path}:{number}") from error
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
