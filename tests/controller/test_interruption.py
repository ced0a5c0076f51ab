"""Searches that are interrupted, killed or run out of disk, and are resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter

import numpy as np
import pytest

from nas.controller.config import SearchConfig
from nas.controller.evaluators.local import LocalEvaluator
from nas.controller.loop import run_search
from nas.controller.signals import DRAIN
from nas.searchers import make_searcher
from nas.space.load import load_space
from nas.study.study import Study
from nas.training.recipe import Recipe
from nas.training.task import Result

pytestmark = pytest.mark.slow

PATIENCE = 120
"""Seconds allowed; an idle machine takes a few."""
TRIALS = 100
KILLS = 20

DRIVER = """
    import os, resource, signal, sys, time
    from pathlib import Path
    from nas.controller.callbacks import Callbacks
    from nas.controller.config import SearchConfig
    from nas.controller.loop import run_search
    from nas.training.recipe import Recipe
    from nas.errors import NasError
    from nas.controller.evaluators.base import Result
    from nas.controller.evaluators.local import LocalEvaluator
    from nas.searchers import make_searcher
    from nas.space.load import load_space
    from nas.study.study import Study

    signal.signal(signal.SIGINT, signal.default_int_handler)
    path, seconds, limit, kind = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

    def trainer(task, dataset, recipe, device, on_epoch, on_batch):
        with open(path.with_name("log"), "a") as log:
            log.write(f"{task.number}\\n")
        time.sleep(seconds)
        row = {"epoch": 1, "text": "x" * 2000}
        return Result(task.number, "complete", error=task.number / 1000, curve=(row,))

    space = load_space("residual_vs_fractal")
    if not path.exists():
        Study.create(path, objectives=("error", "flops"), domains=space.domains()).close()
    while kind == "forks" and sys.stdin.readline() and (child := os.fork()):
        print(child, flush=True)  # one driver with all modules loaded for each line of stdin
        os.waitpid(child, 0)
        print("ended", flush=True)
    study = Study.open(path)
    if kind == "ray":
        from nas.controller.evaluators.ray import RayEvaluator
        evaluator = RayEvaluator(None, None, workers=2, trainer=trainer)
    else:
        evaluator = LocalEvaluator(None, None, trainer=trainer)
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    searcher = make_searcher("random", study.objectives)
    try:
        run_search(
            SearchConfig(space, searcher, Recipe(epochs=1), trials=100), study, evaluator,
            callbacks=Callbacks(on_trial=lambda trial, progress: print(trial.number, flush=True)),
        )
    except NasError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        evaluator.close()
"""


@pytest.fixture
def drive(start_driver):
    """Start a search in a process; `seconds` is what a training takes, `limit` the bytes of a file."""

    def drive(path, seconds=0.0, limit=0, kind=""):
        pipes = dict.fromkeys(("stdin", "stderr"), subprocess.PIPE)
        return start_driver(DRIVER, path, seconds, limit, kind, **pipes)

    return drive


def wait_until_training(driver, path):
    end = time.monotonic() + PATIENCE
    while not path.with_name("log").exists():
        assert driver.poll() is None, driver.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)


def started(path):
    """Return how often each trial was trained."""
    log = path.with_name("log")
    return Counter(map(int, log.read_text().split())) if log.exists() else Counter()


def finish_and_check(path):
    """Resume to the end: every number complete once. Return how often each was trained."""

    def trainer(task, dataset, recipe, device, on_epoch, on_batch):
        with open(path.with_name("log"), "a") as log:
            log.write(f"{task.number}\n")
        return Result(task.number, "complete", error=task.number / 1000)

    space = load_space("residual_vs_fractal")
    with Study.open(path) as study:
        config = SearchConfig(space, make_searcher("random", study.objectives), Recipe(epochs=1), TRIALS)
        run_search(config, study, LocalEvaluator(None, None, trainer=trainer))
        assert sorted(trial.number for trial in study.trials) == list(range(TRIALS))
        assert all(trial.complete for trial in study.trials)
    return started(path)


@pytest.mark.parametrize("kind", ["", "ray"])
def test_first_ctrl_c_drains_and_the_study_can_be_resumed(drive, tmp_path, kind):
    path = tmp_path / "study.db"
    driver = drive(path, seconds=1.0, kind=kind)
    driver.stdout.readline()
    os.killpg(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 130, errors
    assert "stopped by SIGINT" in errors
    with Study.open(path) as study:
        recorded = len(study.trials)
    assert recorded == len(started(path)) <= 4
    assert set(finish_and_check(path).values()) == {1}


@pytest.mark.parametrize("kind", ["", "ray"])
def test_second_ctrl_c_stops_at_once(drive, tmp_path, kind):
    path = tmp_path / "study.db"
    driver = drive(path, seconds=600.0, kind=kind)
    wait_until_training(driver, path)
    start = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(0.5)
    assert driver.poll() is None
    os.killpg(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 130, errors
    assert time.monotonic() - start < PATIENCE


@pytest.mark.parametrize(("kind", "send"), [("", os.kill), ("ray", os.kill), ("ray", os.killpg)])
def test_sigterm_drains_for_a_short_time(drive, tmp_path, kind, send):
    path = tmp_path / "study.db"
    driver = drive(path, seconds=600.0, kind=kind)
    wait_until_training(driver, path)
    start = time.monotonic()
    send(driver.pid, signal.SIGTERM)
    _, errors = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 143, errors
    assert "stopped by SIGTERM" in errors
    assert DRAIN - 1 < time.monotonic() - start < PATIENCE


def test_killed_driver_loses_no_recorded_trial(drive, tmp_path):
    path = tmp_path / "study.db"
    rng = np.random.default_rng(0)
    recorded: dict[int, int] = {}  # how often each had been trained when its record was known
    parent = drive(path, seconds=0.03, kind="forks")
    for _ in range(KILLS):
        begun = started(path)
        print(file=parent.stdin, flush=True)
        driver = int(parent.stdout.readline())
        while started(path) == begun:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(driver, signal.SIGKILL)
        while parent.stdout.readline() != "ended\n":
            pass
        executions = started(path)
        assert recorded == {number: executions[number] for number in recorded}
        with Study.open(path) as study:
            found = [trial.number for trial in study.trials]
        assert set(recorded) <= set(found)
        assert len(found) == len(set(found))
        recorded = {number: executions[number] for number in found}
    executions = finish_and_check(path)
    assert recorded == {number: executions[number] for number in recorded}
    assert sum(executions.values()) <= TRIALS + KILLS


def test_full_disk_leaves_a_valid_database_that_can_be_resumed(drive, tmp_path):
    path = tmp_path / "study.db"
    driver = drive(path, limit=250_000)
    output, errors = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 6, errors
    assert 0 < len(output.split()) < TRIALS
    with Study.open(path) as study:
        assert len(study.trials) == len(output.split())
    assert max(finish_and_check(path).values()) <= 2
