"""CPU cores that this process may use: what the machine has, less what its affinity and its cgroup forbid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return the cores that this process may use, at least 1.

    `taskset` and Slurm set the affinity; containers and Slurm give a cgroup a quota of CPU time, of which
    part of a core does not count. macOS has neither.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *map(int, quotas())]))


def quotas(proc: Path = PROC, root: Path = CGROUPS) -> Iterator[float]:
    """Yield the quotas in cores of the cgroup of this process and of those that hold it, v2 and v1."""
    for line in _words(proc, "\n"):
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "cpu" if controllers else root
        inside = Path(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            if controllers:
                figures = _words(mount / folder / "cpu.cfs_quota_us") + _words(
                    mount / folder / "cpu.cfs_period_us"
                )
            else:
                figures = _words(mount / folder / "cpu.max")
            if len(figures) == 2 and all(figure.isdecimal() for figure in figures) and int(figures[1]):
                yield int(figures[0]) / int(figures[1])


def _words(path: Path, separator: str | None = None) -> list[str]:
    """Return the words of a file, [] where there is none."""
    try:
        return [word for word in path.read_text(encoding="utf-8").split(separator) if word]
    except (OSError, ValueError):
        return []
