"""A study of ten thousand trials in which workers die, networks diverge and trainings hang.

    python benchmarks/load.py [--trials 10000] [--folder DIR]

A run folder as `nas search` writes it is filled by two Ray workers that train for no time. Of every
hundred trials one kills its worker (SIGKILL) when it is first tried, and one diverges; of every two
hundred one hangs (SIGSTOP) until the driver kills it. Then:

- every trial is recorded once, with the outcome that it must have;
- the memory of the driver and of the workers is told for each thousand of trials;
- commands are timed on the folder, each as a process of its own, from its start to its end:
  `nas search --resume`, which finds nothing to do and shows the outcome, `nas pareto`, `nas analyze`;
  and opening the run from Python, in a process that has loaded nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

WORKERS = 2
STALL = 4.0
"""Seconds without progress after which a worker counts as hung."""
DIES, DIVERGES, HANGS = 100, 100, 200
"""One of so many trials does so."""
THOUSAND = 1000
SPACE = "all_modules"


def fate(number: int) -> str:
    """What happens in a trial: it dies once, or its network always diverges or hangs."""
    if number % HANGS == 24:
        return "timeout"
    if number % DIVERGES == 49:
        return "diverged"
    return "dies" if number % DIES == 74 else ""


def train(task: Any, dataset: Any, recipe: Any, device: str, on_epoch: Any, on_batch: Any) -> Any:
    """Takes the place of training."""
    from nas.training.task import Result

    while fate(task.number) == "timeout":  # the kernel continues what a dying group has stopped
        os.kill(os.getpid(), signal.SIGSTOP)
    if fate(task.number) == "dies" and task.attempt == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if fate(task.number) == "diverged":
        return Result(task.number, "failed", "diverged", "the loss was nan after 1 epochs")
    error = task.seed % 997 / 997
    row = {"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_error": error, "process": os.getpid()}
    return Result(task.number, "complete", error=error, curve=(row,), weights=b"weights of %d" % task.number)


def load(folder: Path, trials: int, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Fill the run `load` in a results folder, and assert that each trial has the outcome it must have."""
    from nas.controller.begin import write_run
    from nas.controller.callbacks import Callbacks
    from nas.controller.config import prepare
    from nas.controller.evaluators.ray import RayEvaluator
    from nas.controller.loop import run_search
    from nas.study import run_folder
    from nas.study.study import Study

    config, dataset = prepare(SPACE, trials=trials, searcher="random", recipe={"epochs": 1})
    files = run_folder.create_run(folder, config.space.name, "load")
    write_run(files, config, dataset)
    evaluator = RayEvaluator(dataset, config.recipe, workers=WORKERS, trainer=train, stall=STALL)
    memory: dict[int, float] = {}
    workers: dict[int, int] = {}
    start = time.monotonic()

    def on_trial(trial: Any, progress: Any) -> None:
        for row in trial.curve:
            workers.pop(row["process"], None)  # so that the latest are the last
            workers[row["process"]] = trial.number
        if progress.done % THOUSAND == 0 or progress.done == trials:
            memory[progress.done] = resident(os.getpid())
            figures = ", ".join(f"{resident(process):.0f}" for process in list(workers)[-WORKERS:])
            milliseconds = 1000 * (time.monotonic() - start) / progress.done
            say(
                f"{progress.done:>6,} trials  driver {memory[progress.done]:.0f} MB, workers {figures}; "
                f"{milliseconds:.1f} ms a trial so far"
            )

    try:
        with Study.open(files.database) as study:
            callbacks = Callbacks(on_trial=on_trial)
            run_search(config, study, evaluator, callbacks=callbacks, weights_dir=files.weights)
    finally:
        evaluator.close()
    seconds = time.monotonic() - start
    return {**check(files.database, trials), "seconds": seconds, "memory": memory}


def check(database: Path, trials: int) -> dict[str, int]:
    """Assert that a study holds each trial with the outcome it must have; returns how many had which."""
    from nas.study.study import Study

    counts = dict.fromkeys(("complete", "diverged", "timeout", "dies"), 0)
    with Study.open(database) as study:
        assert sorted(trial.number for trial in study.trials) == list(range(trials)), "a trial is missing"
        for trial in study.trials:
            expected = fate(trial.number)
            counts[expected or "complete"] += 1
            reason = "" if expected == "dies" else expected
            assert trial.reason == reason, f"trial {trial.number} is {trial.reason}, and should be {reason}"
            assert trial.retries == (expected == "dies"), f"trial {trial.number}: {trial.retries} retries"
    return counts


def resident(process: int) -> float:
    """Memory of a process in MB, 0 where it has ended."""
    statm = Path(f"/proc/{process}/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def commands(folder: Path) -> dict[str, float]:
    """Seconds of each command on the finished run."""
    run = str(folder / "load")
    nas = [sys.executable, "-c", "from nas.cli import main; main()"]
    resume = [*nas, "search", "--resume", "--name", "load", "--results-dir", str(folder)]
    opening = f"import nas; print(len(nas.open_run({run!r}).study.trials))"
    asked = {
        "nas search --resume": resume,
        "nas pareto": [*nas, "pareto", run],
        "nas analyze": [*nas, "analyze", run],
        "nas.open_run": [sys.executable, "-c", opening],
    }
    found = {}
    for name, command in asked.items():
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found[name] = time.perf_counter() - start
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        out = sys.stdout
        with redirect_stdout(sys.stderr):  # Ray tells of every death
            figures = load(folder, options.trials, say=lambda line: print(line, file=out, flush=True))
        memory = figures.pop("memory")
        print(", ".join(f"{name} {value:.0f}" for name, value in figures.items()))
        first, last = min(memory), max(memory)
        if last > first:
            grown = 1024 * (memory[last] - memory[first]) / (last - first)
            print(f"the driver grows by {grown:.1f} KB a trial")
        for name, seconds in commands(folder).items():
            print(f"{name:<20} {seconds:.2f} s")


if __name__ == "__main__":
    main()
