"""Use of time in a run, from its profile: phases of each worker and of the driver."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.formatting import table_of
from nas.training.profile import DRIVER, Times

if TYPE_CHECKING:
    from rich.table import Table

IDLE, OUT_OF_WORK = "idle", "out of work"
STARTING = ("starting", "importing")
"""Phases of a worker before it can train."""
PHASES = (
    *(*STARTING, "building", "training", "validation", "latency", "objectives", "saving"),
    *("failing", "lost", IDLE, OUT_OF_WORK),
)
OF_DRIVER = ("proposing", "dispatching", "recording", "waiting")
DEFINITION = (
    "A worker is idle while it waits for a candidate, and out of work after its last one, until the last "
    "worker ends."
)


class Bar(NamedTuple):
    """A phase of a worker or of the driver; seconds since the run began, less those between sessions."""

    worker: str
    phase: str
    start: float
    end: float


def time_use(sessions: Sequence[Sequence[Times]]) -> list[Bar]:
    """Return the phases by worker, the driver last. The times of a trial in a phase are joined where the
    phase first began, so that its epochs are one bar."""
    bars_of_all: list[Bar] = []
    origin = 0.0
    for session in sessions:
        spans: dict[str, list[Times]] = defaultdict(list)
        for times in sorted(session, key=lambda times: times.start):
            spans[times.worker].append(times)
        last = max((times.end for times in session if times.worker != DRIVER), default=0.0)
        for worker, own in spans.items():
            bars = _driver_bars(own) if worker == DRIVER else _worker_bars(worker, own, last)
            bars_of_all += [bar._replace(start=bar.start + origin, end=bar.end + origin) for bar in bars]
        origin += last
    return sorted(bars_of_all, key=lambda bar: (bar.worker == DRIVER, len(bar.worker), bar.worker, bar.start))


def _driver_bars(spans: Sequence[Times]) -> Iterator[Bar]:
    for times in spans:
        yield from _phases(times)


def _worker_bars(worker: str, spans: Sequence[Times], last: float) -> Iterator[Bar]:
    at = spans[0].start
    for times in spans:
        if times.start > at:
            yield Bar(worker, IDLE, at, times.start)
        yield from _phases(times)
        at = times.end
    if last > at:
        yield Bar(worker, OUT_OF_WORK, at, last)


def _phases(times: Times) -> Iterator[Bar]:
    at = times.start
    for phase, seconds in times.phases.items():
        yield Bar(times.worker, phase, at, at + seconds)
        at += seconds


def seconds_of(bars: Sequence[Bar]) -> dict[str, dict[str, float]]:
    """Return the seconds by worker and phase."""
    by_worker: dict[str, dict[str, float]] = {}
    for worker, phase, start, end in bars:
        own = by_worker.setdefault(worker, defaultdict(float))
        own[phase] += end - start
    return {worker: dict(own) for worker, own in by_worker.items()}


def share(seconds: Mapping[str, Mapping[str, float]], *phases: str) -> float:
    """Return the share of these phases in the workers' time after their start."""
    spent = [
        (phase, value)
        for worker, own in seconds.items()
        for phase, value in own.items()
        if worker != DRIVER and phase not in STARTING
    ]
    total = sum(value for _, value in spent)
    return sum(value for phase, value in spent if phase in phases) / total if total else 0.0


def time_use_dict(bars: Sequence[Bar]) -> dict[str, Any]:
    """Return the seconds by worker and phase, and the shares of idle and out of work in the workers' time
    after their start, as JSON."""
    seconds = seconds_of(bars)
    return {
        "seconds": seconds,
        "idle": share(seconds, IDLE),
        "out_of_work": share(seconds, OUT_OF_WORK),
    }


def time_use_parts(bars: Sequence[Bar]) -> list[Table | str]:
    """Return tables of the workers and of the driver, and a definition of their columns."""
    seconds = seconds_of(bars)
    workers = {name: own for name, own in seconds.items() if name != DRIVER}
    shown = (
        f"{DEFINITION} Of the workers' time after their start they were idle for "
        f"{share(seconds, IDLE):.1%}, and out of work for {share(seconds, OUT_OF_WORK):.1%}."
    )
    tables: list[Table | str] = [_table(workers, PHASES), ""]
    if DRIVER in seconds:
        tables += [_table({DRIVER: seconds[DRIVER]}, OF_DRIVER), ""]
    return [*tables, shown]


def _table(seconds: Mapping[str, Mapping[str, float]], order: Sequence[str]) -> Table:
    """Return a table with one row per worker, then their sums where there are several, and shares."""
    total: dict[str, float] = defaultdict(float)
    for own in seconds.values():
        for phase, value in own.items():
            total[phase] += value
    phases = [phase for phase in order if phase in total]
    table = table_of("seconds", *(f"{phase}>" for phase in phases), "all>")
    rows = dict(seconds) | ({"all": total} if len(seconds) > 1 else {})
    for name, own in rows.items():
        table.add_row(name, *(f"{own.get(phase, 0):.1f}" for phase in phases), f"{sum(own.values()):.1f}")
    whole = sum(total.values()) or 1.0
    table.add_row("share", *(f"{total[phase] / whole:.1%}" for phase in phases), "")
    return table
