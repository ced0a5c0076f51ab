"""Checks of `nas doctor`: whether this machine is ready for a search, and how fast one would be."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from nas.controller.config import versions
from nas.controller.evaluators.cores import usable_cores
from nas.errors import NasError

if TYPE_CHECKING:
    from nas.study.run import Run

SPACE, DATA = "residual_vs_fractal", "digits"
"""Space and data of the self-test: the search of the README, cut short."""

LEAST_MEMORY = 2 << 30
"""Free memory in bytes that a search with two workers needs with Ray."""

LEAST_DISK = 1 << 30
"""Free disk space in bytes below which `nas doctor` warns."""


@dataclass(frozen=True)
class Check:
    """A check by its name, its result in words, and its state: "ok", "warning" or "error"."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True)
class SelfTest:
    """A short search: its seconds in all, and the seconds that its workers trained."""

    workers: int
    candidates: int
    seconds: float
    training_seconds: float

    @property
    def candidates_an_hour(self) -> float:
        """Candidates per hour of a longer search, without the start of the workers."""
        return 3600 * self.workers * self.candidates / self.training_seconds


def checks(results_dir: Path) -> Iterator[Check]:
    """Check versions, devices, memory and disk; slow checks come last."""
    installed = versions()
    yield Check("versions", "ok", ", ".join(f"{name} {version}" for name, version in installed.items()))
    yield _cores()
    yield _memory()
    yield _disk(results_dir)
    yield from _gpus()
    yield _precision()
    yield _dashboard()


def self_test() -> SelfTest:
    """Search with Ray, two candidates per core, in a folder that is removed afterwards.

    Raises what a search raises, and NasError if a candidate failed.
    """
    from nas.controller.search import search

    started, workers = time.monotonic(), 0

    def note_workers(_: Run, slots: int) -> None:
        nonlocal workers
        workers = slots

    with tempfile.TemporaryDirectory() as folder:
        trials = 2 * usable_cores()
        run = search(SPACE, data=DATA, trials=trials, results_dir=folder, on_start=note_workers)
        with run.study as study:
            done = list(study.trials)
    failed = [trial for trial in done if not trial.complete]
    if failed:
        raise NasError(f"{len(failed)} of {trials} candidates failed: {failed[0].message}", where="self-test")
    return SelfTest(workers, len(done), time.monotonic() - started, sum(trial.duration for trial in done))


def _cores() -> Check:
    cores = usable_cores()
    load = os.getloadavg()[0]
    detail = f"{cores} usable, load {load:.1f}"
    busy = load > 0.5 * cores
    return Check(
        "CPU cores", "warning" if busy else "ok", f"{detail}: other programs use them" if busy else detail
    )


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{_gib(memory.available)} of {_gib(memory.total)} GiB free"
    return Check("memory", "ok" if memory.available >= LEAST_MEMORY else "warning", detail)


def _disk(results_dir: Path) -> Check:
    name, folder = "results folder", results_dir.absolute()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir():
        return Check(name, "error", f"{nearest} is not a folder")
    if not os.access(nearest, os.W_OK):
        return Check(name, "error", f"{nearest} cannot be written")
    free = shutil.disk_usage(nearest).free
    return Check(name, "ok" if free >= LEAST_DISK else "warning", f"{_gib(free)} GiB free at {nearest}")


def _gpus() -> Iterator[Check]:
    import torch

    if not torch.cuda.is_available():
        yield Check("GPU", "ok", "none that torch can use; candidates train on CPU cores")
        return
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        yield Check(
            f"GPU {i}", "ok", f"{torch.cuda.get_device_name(i)}, {_gib(free)} of {_gib(total)} GiB free"
        )


def _precision() -> Check:
    from nas.training.precision import default_device, hardware_precision

    device = default_device()
    detail = f"{hardware_precision(device)}, as suits this {'CPU' if device == 'cpu' else 'GPU'}"
    return Check("precision", "ok", detail)


def _dashboard() -> Check:
    try:
        return Check("optuna-dashboard", "ok", metadata.version("optuna-dashboard"))
    except metadata.PackageNotFoundError:
        return Check(
            "optuna-dashboard", "ok", "not installed; pip install optuna-dashboard shows runs in a browser"
        )


def _gib(size: float) -> str:
    return f"{size / (1 << 30):.1f}"
