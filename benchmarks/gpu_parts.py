"""The parts of `gpu.py`. Each prints its figures as JSON, one row per line, as soon as they are known."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

import numpy as np
import torch
from training_engine import Job, plain_loop, short
from training_memory import Case, measured_apart

from nas.controller.evaluators.mps import CONTROL, start_mps, stop_mps
from nas.data.dataset import Dataset
from nas.space.genotype import Genotype
from nas.space.load import load_space
from nas.training import candidate
from nas.training.candidate import train_candidate
from nas.training.memory import candidate_memory
from nas.training.precision import hardware_precision
from nas.training.recipe import WORKER_ENVIRONMENT, Recipe, default_recipe
from nas.training.task import Task

ROOT = Path(__file__).resolve().parent.parent
WORKERS, CANDIDATES, CLASSES = 4, 6, 10
MPS: dict[str, str] = {}
"""Environment of the MPS daemon that runs, to be stopped also when a part is cut."""
BARRIERS: list[Any] = []
"""In a process of `side_by_side`: where all wait for each other before they begin."""
SEARCHES: list[subprocess.Popen[str]] = []
"""Searches that were started, to be ended in the same way."""
MIB = 1 << 20
NETWORKS = (
    ("residual_vs_fractal:0", (3, 32, 32), 128),
    ("resnet20", (3, 32, 32), 64),
    ("five_types:0", (3, 32, 32), 128),
    ("resnet18", (3, 64, 64), 64),
    ("all_modules:0", (3, 32, 32), 64),
    ("fcn_heads:0", (3, 64, 64), 16),
    ("resnet50", (3, 64, 64), 64),
)
"""Networks whose memory is measured, as in `training_memory.py`."""


def say(**row: Any) -> None:
    print(json.dumps(row), flush=True)


def device(rehearse: bool) -> str:
    return "cpu" if rehearse else "cuda"


@contextmanager
def variables(changes: dict[str, str]) -> Iterator[None]:
    """Change the environment of processes that are started inside the block."""
    with patch.dict(os.environ, changes):
        yield


def tests(seconds: float, rehearse: bool) -> None:
    """Run the CUDA tests; without a GPU those that need one are skipped."""
    import pytest

    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", pytest.__name__, "tests/training/test_cuda.py", "-q"]
        command += ["-p", "no:cacheprovider", f"--junitxml={results}"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if not results.exists():
            raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-2000:]}")
        for test in ElementTree.parse(results).iter("testcase"):
            problem = next((part for part in test if part.tag in ("failure", "error", "skipped")), None)
            why = None if problem is None else (problem.text or problem.get("message") or "")[-1500:]
            outcome = "passed" if problem is None else problem.tag
            say(test=test.get("name"), outcome=outcome, seconds=float(test.get("time", 0)), why=why)


def images(rehearse: bool) -> Dataset:
    """Return noise of CIFAR-10's shape."""
    train, val, side = (128, 64, 8) if rehearse else (5000, 1000, 32)
    rng = np.random.default_rng(0)

    def part(count: int) -> tuple[Any, Any]:
        pixels = rng.integers(256, size=(count, 3, side, side), dtype=np.uint8)
        return pixels, rng.integers(CLASSES, size=count)

    return Dataset("noise", tuple(map(str, range(CLASSES))), *part(train), *part(val), None)


def candidates(dataset: Dataset) -> list[Genotype]:
    space = load_space("five_types").with_input(dataset.input_shape, CLASSES)
    return [space.sample(seed) for seed in range(CANDIDATES)]


def train_in_turn(kind: str, seconds: float, rehearse: bool) -> list[float]:
    """Train the candidates one after the other after a short training; return the seconds until each ended.

    None but the first begins after `seconds`; a rehearsal trains one.

    Args:
        kind: plain, graph or eager: the plain loop, or a worker with or without the CUDA graph.
        seconds: Time for all of them.
        rehearse: Whether to train on the CPU.
    """
    place, dataset = device(rehearse), images(rehearse)
    recipe = default_recipe(dataset, epochs=1 if rehearse else 3)

    def train(genotype: Genotype, data: Dataset, how: Recipe) -> None:
        if kind == "plain":
            plain_loop(Job(genotype, 0), data, how, place)
            return
        result = train_candidate(Task(0, genotype, seed=0), data, how, place)
        if result.error is None and result.reason != "diverged":
            raise RuntimeError(result.message)

    ends: list[float] = []
    with ExitStack() as stack:
        if kind == "eager":
            stack.enter_context(patch("nas.training.loop.CUDAGraphStep", lambda step, _: step))
        began = time.monotonic()
        genotypes = candidates(dataset)
        train(genotypes[0], *short(dataset, recipe))
        BARRIERS[0].wait(max(60.0, seconds))
        start = time.monotonic()
        for genotype in genotypes:
            train(genotype, dataset, recipe)
            ends.append(time.monotonic() - start)
            if time.monotonic() - began > seconds or rehearse:
                break
    return ends


def meet_at(barrier: Any) -> None:
    BARRIERS.append(barrier)


def side_by_side(kind: str, count: int, seconds: float, rehearse: bool) -> list[list[float]]:
    """Call `train_in_turn` in fresh processes at once."""
    context = get_context("spawn")
    environment = {} if kind == "plain" else WORKER_ENVIRONMENT
    barrier = context.Barrier(count)
    with (
        variables(environment),
        ProcessPoolExecutor(count, context, initializer=meet_at, initargs=(barrier,)) as pool,
    ):
        calls = [pool.submit(train_in_turn, kind, seconds, rehearse) for _ in range(count)]
        return [call.result() for call in calls]


def throughput(seconds: float, rehearse: bool) -> None:
    """Measure candidates per hour; all processes train the same networks in the same order, so ratios are
    over those that both setups have trained."""
    until, plain = time.monotonic() + seconds, np.array([])
    many = 2 if rehearse else WORKERS
    setups = [
        ("plain loop", "plain", 1, False),
        ("one worker, no graph", "eager", 1, False),
        ("one worker, graph", "graph", 1, False),
        (f"{many} workers, no MPS", "graph", many, False),
        (f"{many} workers, MPS", "graph", many, True),
    ]
    for i, (name, kind, count, shared) in enumerate(setups):
        if shared and not rehearse:
            MPS.update(start_mps())
        if shared and not rehearse and not MPS:
            say(setup=name, note=f"skipped: {CONTROL} is not installed, does not start or runs already")
            continue
        share = (until - time.monotonic()) / (len(setups) - i)
        try:
            with variables(MPS):
                ends = side_by_side(kind, count, 0.6 * share, rehearse)
        except Exception as error:  # the other setups can still be measured
            say(setup=name, note=f"failed: {error}"[:2000])
            continue
        finally:
            stop_mps(MPS)
            MPS.clear()
        done = min(map(len, ends))
        mean = np.array([times[:done] for times in ends]).mean(0)
        plain = mean if kind == "plain" else plain
        common = min(done, len(plain))
        say(
            setup=name,
            networks=done,
            candidates_per_hour=float(3600 * count * done / mean[-1]) if done else None,
            times_plain=float(count * plain[common - 1] / mean[common - 1]) if common else None,
            seconds_of_each=[round(float(second), 3) for second in np.diff(mean, prepend=0)],
        )


def peak_growth(task: Task, dataset: Dataset, recipe: Recipe) -> tuple[int, candidate.Result]:
    """Train on the GPU; return the most bytes by which the memory in use grew, and the result."""
    torch.cuda.init()
    torch.zeros(1, device="cuda")
    torch.cuda.empty_cache()
    before = torch.cuda.mem_get_info()[0]
    free = [before]
    result = train_candidate(task, dataset, recipe, "cuda", on_batch=lambda: free.append(free_bytes()))
    return before - min(free), result


def free_bytes() -> int:
    return torch.cuda.mem_get_info()[0]


def measure_on_gpu(case: Case) -> dict[str, int]:
    """Return predicted and measured bytes of a training in this process, which must be a fresh one."""
    half = case.precision == "bfloat16"
    predicted = candidate_memory(case.genotype, case.dataset, case.recipe, "cuda", half=half)
    measured, result = peak_growth(Task(0, case.genotype, seed=0), case.dataset, case.recipe)
    if result.state != "complete" and result.reason != "diverged":
        raise RuntimeError(result.message)
    return {"predicted": predicted, "measured": measured, "allocated": torch.cuda.max_memory_allocated()}


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process with the environment of a worker."""
    with variables(WORKER_ENVIRONMENT), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        call: Future[Any] = pool.submit(function, *arguments)
        return call.result()


def memory(seconds: float, rehearse: bool) -> None:
    """Compare predicted with measured memory, in bfloat16 where a worker would choose it."""
    place = device(rehearse)
    for network in NETWORKS[:1] if rehearse else NETWORKS:
        case = Case(*network, hardware_precision(place), resumed=False, device=place)
        try:
            sizes = measured_apart(case) if rehearse else apart(measure_on_gpu, case)
        except Exception as error:  # the other networks can still be measured
            say(network=case.name, note=f"failed: {error}"[:2000])
            continue
        ratio = sizes["predicted"] / sizes["measured"]
        mib = {name: round(size / MIB) for name, size in sizes.items()}
        say(network=case.name, batch=case.batch, precision=case.precision, ratio=ratio, **mib)


def oom(seconds: float, rehearse: bool) -> None:
    """Train with room for the whole batch, for half of it and for neither, then with room again."""
    name, shape, batch = NETWORKS[0] if rehearse else ("resnet18", (3, 64, 64), 1024)
    case = Case(name, shape, batch, hardware_precision(device(rehearse)), False, device(rehearse))
    for row in apart(oom_on_cpu if rehearse else oom_on_gpu, case):
        say(**row)


def oom_on_gpu(case: Case) -> list[dict[str, Any]]:
    task, recipe = Task(0, case.genotype, seed=0), case.recipe
    half = replace(recipe, batch_size=recipe.batch_size // 2)
    train = partial(peak_growth, task, case.dataset)
    train(half)  # loads libraries and the data set
    small, large = train(half)[0], train(recipe)[0]
    rows = [{"room": "all", "small_mib": small // MIB, "large_mib": large // MIB}]
    for room, expected in ((small + large) // 2, "half the batch"), (small // 2, "oom"), (None, "the batch"):
        torch.cuda.empty_cache()
        size = free_bytes() - room if room else 0
        ballast = torch.empty(max(0, size), dtype=torch.uint8, device="cuda")
        result = train(recipe)[1]
        del ballast
        rows.append(outcome(f"{room // MIB} MiB" if room else "all again", expected, result))
    return rows


def oom_on_cpu(case: Case) -> list[dict[str, Any]]:
    """Rehearse with a limit of the address space, with room for oneDNN's code but not for the batches."""
    task, larger = Task(0, case.genotype, seed=0), replace(case, batch=32 * case.batch)
    first, noise = train_candidate(task, case.dataset, case.recipe), larger.dataset
    with open("/proc/self/statm") as sizes:
        used = int(sizes.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 128 * MIB, limits[1]))
    second = train_candidate(task, noise, larger.recipe)
    resource.setrlimit(resource.RLIMIT_AS, limits)
    return [outcome("all", "the batch", first), outcome("128 MiB", "oom", second)]


def outcome(room: str, expected: str, result: candidate.Result) -> dict[str, Any]:
    trained = "half the batch" if result.retries else "the batch"
    got = result.reason if result.state == "failed" and result.reason != "diverged" else trained
    said = None if got == expected else result.message[-1500:]
    return {"room": room, "expected": expected, "got": got, "as_expected": got == expected, "said": said}


def search(seconds: float, rehearse: bool) -> None:
    """Run a search as a user does, with workers on Ray."""
    import optuna
    import ray

    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            str(ROOT / "cli.py"),
            "search",
            "--space",
            "five_types",
            "--data",
            "digits",
        ]
        command += ["--trials", "2" if rehearse else "12", "--epochs", "1" if rehearse else "5"]
        command += ["--results-dir", folder, "--name", "gpu"]
        command += ["--workers", "1"] if rehearse else ["--gpus-per-worker", "0.25"]
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        SEARCHES.append(process)
        text = process.communicate()[0]
        took = time.monotonic() - start
    versions = {"ray": ray.__version__, "optuna": optuna.__version__}
    said = text[-1500:] if process.returncode else None
    say(search="five_types on digits", exit_code=process.returncode, seconds=took, **versions, said=said)


def devices(seconds: float, rehearse: bool) -> None:
    """Train one network on all GPUs."""
    import gpu_devices

    for row in gpu_devices.rows(images(rehearse), device(rehearse), rehearse):
        say(**row)


def end(*_: Any) -> None:
    """End the processes of a part that is cut: a search by itself, so that it ends its Ray; then the MPS
    daemon, which waits for them."""
    for process in SEARCHES:
        process.terminate()
        process.wait()
    for child in active_children():
        child.kill()
    stop_mps(MPS)
    os._exit(1)


PARTS = {part.__name__: part for part in (tests, throughput, memory, oom, search, devices)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end)
    PARTS[options.part](options.seconds, options.rehearse)


if __name__ == "__main__":
    main()
