"""Is this machine ready for a search, and how fast would one be?"""

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
from nas.errors import NasError

if TYPE_CHECKING:
    from nas.study.run import Run

SPACE, DATA = "residual_vs_fractal", "digits"
"""Of the self-test: the main job of the README, cut short."""

LEAST_MEMORY = 2 << 30
"""Bytes that a search with two workers takes with Ray."""

LEAST_DISK = 1 << 30


@dataclass(frozen=True)
class Check:
    """What was looked at; state is "ok", "warning" or "error"."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True)
class SelfTest:
    """A short search: seconds in all, and those that its workers trained."""

    workers: int
    candidates: int
    seconds: float
    training_seconds: float

    @property
    def candidates_an_hour(self) -> float:
        """Of a search that goes on, as the start of the workers does not count."""
        return 3600 * self.workers * self.candidates / self.training_seconds


def checks(results_dir: Path) -> Iterator[Check]:
    """Versions, devices, memory and disk; what takes long comes last."""
    found = versions()
    yield Check("versions", "ok", ", ".join(f"{name} {version}" for name, version in found.items()))
    yield _cores()
    yield _memory()
    yield _disk(results_dir)
    yield from _gpus()
    yield _precision()
    yield _dashboard()


def self_test() -> SelfTest:
    """A search by Ray of two candidates a worker, in a folder that is removed. Raises what a search
    raises; NasError where a candidate failed."""
    from nas.controller.search import search

    started, workers = time.monotonic(), 0

    def note_workers(_: Run, slots: int) -> None:
        nonlocal workers
        workers = slots

    with tempfile.TemporaryDirectory() as folder:
        trials = 2 * len(os.sched_getaffinity(0))
        run = search(SPACE, data=DATA, trials=trials, results_dir=folder, on_start=note_workers)
        with run.study as study:
            done = list(study.trials)
    failed = [trial for trial in done if not trial.complete]
    if failed:
        raise NasError(f"{len(failed)} of {trials} candidates failed: {failed[0].message}", where="self-test")
    return SelfTest(workers, len(done), time.monotonic() - started, sum(trial.duration for trial in done))


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    detail = f"{cores} to use, load {load:.1f}"
    busy = load > 0.5 * cores
    return Check("CPU cores", "warning" if busy else "ok", f"{detail}: others use them" if busy else detail)


def _memory() -> Check:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    detail = f"{_gib(available)} of {_gib(total)} GiB free"
    return Check("memory", "ok" if available >= LEAST_MEMORY else "warning", detail)


def _disk(results_dir: Path) -> Check:
    name, folder = "results folder", results_dir.absolute()
    at = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not at.is_dir():
        return Check(name, "error", f"{at} is no folder")
    if not os.access(at, os.W_OK):
        return Check(name, "error", f"{at} cannot be written")
    free = shutil.disk_usage(at).free
    return Check(name, "ok" if free >= LEAST_DISK else "warning", f"{_gib(free)} GiB free at {at}")


def _gpus() -> Iterator[Check]:
    import torch

    if not torch.cuda.is_available():
        yield Check("GPU", "ok", "none that torch can use; candidates train on CPU cores")
        return
    for at in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(at)
        yield Check(
            f"GPU {at}", "ok", f"{torch.cuda.get_device_name(at)}, {_gib(free)} of {_gib(total)} GiB free"
        )


def _precision() -> Check:
    from nas.training.loop import hardware_precision

    device = _device()
    detail = f"{hardware_precision(device)}, as suits this {'CPU' if device == 'cpu' else 'GPU'}"
    return Check("precision", "ok", detail)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _dashboard() -> Check:
    try:
        return Check("optuna-dashboard", "ok", metadata.version("optuna-dashboard"))
    except metadata.PackageNotFoundError:
        return Check(
            "optuna-dashboard", "ok", "not installed; pip install optuna-dashboard shows runs in a browser"
        )


def _gib(size: float) -> str:
    return f"{size / (1 << 30):.1f}"
