"""Searches that are killed, stopped, starved and hung, and resumed until they are done.

    python benchmarks/chaos.py [--rounds 20] [--trials 600] [--seed 0] [--folder DIR]

Each round starts the driver of one study on two Ray workers, and ends it by a fault drawn at
random: SIGKILL, SIGTERM or SIGINT after a random time, a SIGKILL to Ray's raylet or head (GCS), or a
disk that is full after a random number of bytes. Meanwhile workers are killed, by others (SIGKILL) and
by themselves (SIGKILL, a segmentation fault), but never in the last attempt at a trial, which would
rightly end as lost with its worker, by chance. Some networks diverge and some hang (SIGSTOP), whenever
they are trained.
A last round without faults of the driver finishes the study. Then:

- every trial is recorded once: complete, or failed as its network must; none is running;
- no trial was trained again after it was recorded: the log of executions does not grow for it;
- what was trained twice was in flight when a driver or a worker ended;
- the front of the study is that computed anew from the rows of the database, and the weights
  that are kept are those of the front.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

WORKERS = 2
STALL = 15.0
"""Seconds without progress after which a worker counts as hung; a training takes a quarter of one."""
DIVERGES, HANGS, DIES, FAULTS_SEGMENT = 23, 97, 31, 43
"""Every so manieth trial does so; a death only when it is first trained."""
ENDS = ("SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT", "raylet", "gcs_server", "disk full")
EXIT = {
    "SIGKILL": -signal.SIGKILL,
    "SIGTERM": 143,
    "SIGINT": 130,
    "raylet": 6,
    "gcs_server": 6,
    "disk full": 6,
}


def fate(number: int) -> str:
    """What becomes of a trial, however often it is tried."""
    if number % HANGS == HANGS - 1:
        return "timeout"
    return "diverged" if number % DIVERGES == DIVERGES - 1 else ""


def train(task: Any, dataset: Any, recipe: Any, device: str, on_epoch: Any, on_batch: Any) -> Any:
    """Takes the place of training; `recipe` is the path of the log of executions."""
    import ctypes

    from nas.training.task import Result

    write(recipe, "start", task.number, os.getpid(), task.attempt)
    time.sleep(0.05 + 0.2 * random.random())
    while fate(task.number) == "timeout":  # the kernel continues what a dying group has stopped
        os.kill(os.getpid(), signal.SIGSTOP)
    if task.attempt == 0 and task.number % DIES == DIES - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if task.attempt == 0 and task.number % FAULTS_SEGMENT == FAULTS_SEGMENT - 1:
        ctypes.string_at(0)
    write(recipe, "end", task.number, os.getpid(), task.attempt)
    if fate(task.number):
        return Result(task.number, "failed", "diverged", "the loss was nan after 1 epochs")
    row = {"epoch": 1, "val_error": task.seed % 997 / 997}
    error, weights = row["val_error"], b"weights of %d" % task.number
    return Result(task.number, "complete", error=error, curve=(row,), weights=weights)


def write(log: Path, event: str, number: int, process: int, attempt: int) -> None:
    with open(log, "a") as file:
        file.write(f"{event} {number} {process} {attempt}\n")


def drive(folder: Path, trials: int, limit: int) -> int:
    """The driver: search until the study has so many trials; writes at most `limit` bytes if any."""
    from nas.controller.config import SearchConfig
    from nas.controller.evaluators.ray import RayEvaluator
    from nas.controller.loop import run_search
    from nas.errors import NasError
    from nas.searchers import make_searcher
    from nas.space.load import load_space
    from nas.study.study import Study
    from nas.training.recipe import Recipe

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
    path, space, objectives = folder / "study.db", load_space("all_modules"), ("error", "flops")
    (folder / "weights").mkdir(exist_ok=True)
    if path.exists():
        study = Study.open(path)
    else:
        study = Study.create(path, objectives=objectives, domains=space.domains())
    evaluator = RayEvaluator(None, folder / "log", workers=WORKERS, trainer=train, stall=STALL)  # type: ignore[arg-type]
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        config = SearchConfig(space, make_searcher("evolution", objectives), Recipe(epochs=1), trials)
        run_search(config, study, evaluator, weights_dir=folder / "weights")
    except NasError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        evaluator.close()
    return 0


def one_round(folder: Path, trials: int, end: str, rng: random.Random) -> int:
    """Start the driver and end it so; "" lets it finish. Returns its exit status."""
    limit = size(folder / "study.db") + rng.randrange(20_000, 200_000) if end == "disk full" else 0
    command = [sys.executable, __file__, "--drive", str(folder), str(trials), str(limit)]
    begun = size(folder / "log")
    with open(folder / "driver.txt", "ab") as output:
        driver = subprocess.Popen(command, stderr=output, stdout=output, start_new_session=True)
    while driver.poll() is None and size(folder / "log") == begun:
        time.sleep(0.02)
    until = time.monotonic() + rng.uniform(0.0, 4.0)
    while driver.poll() is None and (end in ("", "disk full") or time.monotonic() < until):
        time.sleep(rng.uniform(0.1, 1.0))
        if rng.random() < 0.2:
            kill_one(folder, rng)
    if driver.poll() is None and end in ("SIGTERM", "SIGINT"):
        os.killpg(driver.pid, getattr(signal, end))
    elif driver.poll() is None and end in ("raylet", "gcs_server"):
        kill_part(driver.pid, end)
    elif driver.poll() is None:
        driver.kill()
    status = driver.wait()
    while left := [process for process in last_lines(folder) if alive(process)]:
        for process in left:  # ends by itself, as its driver is dead; but one that is stopped cannot
            if state(process) == "T":
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    return status


def kill_part(driver: int, name: str) -> None:
    """Kill the process of Ray that has this name, below a driver."""
    for process in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == name:
                process.kill()


def last_lines(folder: Path) -> dict[int, list[str]]:
    """The last line of each worker in the log of executions, the latest line first."""
    lines: dict[int, list[str]] = {}
    for line in reversed(read(folder / "log")):
        lines.setdefault(int(line[2]), line)
    return lines


def kill_one(folder: Path, rng: random.Random) -> None:
    """Kill a worker that is in the middle of a trial, unless it is the last attempt at it."""
    from nas.controller.evaluators.ray import MAX_RETRIES

    living = [process for process in list(last_lines(folder))[:WORKERS] if alive(process)]
    if not living:
        return
    process = rng.choice(living)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)  # what the log says of it stays true until it is killed
        event, _, _, attempt = last_lines(folder)[process]
        spared = event != "start" or int(attempt) >= MAX_RETRIES
        os.kill(process, signal.SIGCONT if spared else signal.SIGKILL)


def alive(process: int) -> bool:
    return state(process) not in ("", "Z")


def state(process: int) -> str:
    """The kernel's letter for it: Z of a zombie, T of one that is stopped; "" where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def read(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


class Row(NamedTuple):
    """A trial as it stands in the database; `origin`: the trial whose result it is, itself as a rule."""

    state: str
    reason: str
    origin: int
    values: tuple[float, ...]


def rows(folder: Path) -> dict[int, Row]:
    """The trials by number, read from the database without our code."""
    found: dict[int, Row] = {}
    if not (folder / "study.db").exists():
        return found
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        query = "SELECT number, state, reason, coalesce(duplicate_of, number), error, flops FROM trials"
        for number, state, reason, origin, *values in connection.execute(query):
            assert number not in found, f"trial {number} is recorded twice"
            found[number] = Row(state, reason, origin, tuple(values))
    return found


def front(points: dict[int, tuple[float, ...]]) -> set[int]:
    """Those that no other point dominates, by comparing all pairs."""

    def beaten(point: tuple[float, ...]) -> bool:
        return any(
            all(a <= b for a, b in zip(other, point, strict=True)) and other != point
            for other in points.values()
        )

    return {number for number, point in points.items() if not beaten(point)}


def check(folder: Path, trials: int) -> dict[str, int]:
    """Assert what must hold of a finished study; returns its figures."""
    from nas.controller.record import kept_weights
    from nas.study.study import Study

    found = rows(folder)
    assert sorted(found) == list(range(trials)), "a trial is missing"
    assert {row.state for row in found.values()} <= {"complete", "failed"}, "a trial is running"
    wrong = {number: row for number, row in found.items() if row.reason != fate(row.origin)}
    assert not wrong, f"another outcome than that of the network: {wrong}"
    complete = {number: row.values for number, row in found.items() if row.state == "complete"}
    with Study.open(folder / "study.db") as study:
        of_study = {trial.number for trial in study.front()}
        copies = {f"{trial.number}.safetensors" for trial in study.trials if trial.duplicate_of is not None}
        near = kept_weights(study) - copies
    assert of_study == front(complete), "the front is another"
    # Drafts of a killed driver are swept when a run is claimed, which the drivers here do not.
    kept = {path.name for path in (folder / "weights").glob("*.safetensors")}
    assert kept == near, "other weights are kept"
    return {"complete": len(complete), "failed": trials - len(complete), "front": len(of_study)}


def chaos(folder: Path, rounds: int, trials: int, seed: int, say: Any = lambda line: None) -> dict[str, int]:
    """Rounds of faults, then one to the end; asserts what must hold and returns figures."""
    rng = random.Random(seed)
    executed: Counter[int] = Counter()
    settled: dict[int, int] = {}  # how often each had been trained when its record was known
    for at in range(1, rounds + 2):
        end = rng.choice(ENDS) if at <= rounds else ""
        status = one_round(folder, trials, end, rng)
        expected = (0, EXIT[end]) if end else (0,)
        assert status in expected, f"the driver ended by {end} with {status}, see {folder / 'driver.txt'}"
        executed = Counter(int(line[1]) for line in read(folder / "log") if line[0] == "start")
        recorded = rows(folder)
        again = [number for number, count in settled.items() if executed[number] != count]
        assert not again, f"trained again after they were recorded: {again}"
        settled = {number: executed[number] for number in recorded}
        say(f"round {at:>2}  {end or 'to the end':<10} exit {status:>3}  {len(recorded):>4} recorded")
    return {"rounds": rounds, "executions": executed.total(), **check(folder, trials)}


def main() -> None:
    if sys.argv[1:2] == ["--drive"]:
        sys.exit(drive(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        figures = chaos(folder, options.rounds, options.trials, options.seed, say=print)
    print(*(f"{name} {count}" for name, count in figures.items()), sep=", ", end="; ")
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
