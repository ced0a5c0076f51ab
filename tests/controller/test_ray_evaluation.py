"""Workers on Ray under real faults: killed, hung, stopped, out of memory, interrupted."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from nas.controller.evaluators.ray_worker import Worker
from nas.errors import NasError
from nas.space.candidate import trained_under, under
from nas.space.load import load_space
from nas.training.recipe import Recipe
from nas.training.task import Result, Task

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves log files open
]

PATIENCE = 240
"""Seconds allowed; an idle machine takes a few."""


class Orders(NamedTuple):
    """Stands in for a recipe; a worker reads its precision."""

    script: dict[int, str]
    log: Path
    precision: str = "float32"


def obey(task, dataset, recipe, device, on_epoch, on_batch):
    """Do what the orders say for the number of the task, and log each execution."""
    script, log, *_ = recipe
    order = script.get(task.number, "")
    with open(log, "a") as file:
        file.write(f"{task.number} {os.getpid()} {task.attempt}\n")
    if order == "die" or (order == "die once" and task.attempt == 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "exit":
        os._exit(3)
    if order == "fault once" and task.attempt == 0:
        ctypes.string_at(0)  # a segmentation fault
    if order == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1000)  # another thread may take the signal, and this one runs on until it has
    if order == "hold":
        while not (lock := threading.Lock()).acquire(False):
            lock.release()
        sum(range(10**12))  # one call that never gives up the interpreter
    if order == "sleep":
        on_epoch(task.number, {"epoch": 1, "val_error": 0.5})
        time.sleep(1000)
    if order == "nap":
        start = time.monotonic()
        time.sleep(1)
        return Result(task.number, "complete", message=f"{start} {time.monotonic()}", error=0.5)
    if order == "oom":
        return Result(task.number, "failed", "oom", "stub")
    if order == "unpicklable":
        return threading.Lock()
    if order == "slow but alive":
        for _ in range(80):
            time.sleep(0.1)
            on_batch()
    environment = os.environ.get("OMP_NUM_THREADS", "")
    curve = ({"epoch": 1, "val_error": 0.25},)
    on_epoch(task.number, curve[0])
    return Result(
        task.number, "complete", message=f"{device} {environment}", error=float(dataset.mean()), curve=curve
    )


@pytest.fixture(scope="module")
def ray_session():
    from nas.controller.evaluators.ray_cluster import end_ray, start_ray

    start_ray(workers=2)
    yield
    end_ray()
    gc.collect()  # closes what Ray has left open here, where that is no error, and not in a later test


@pytest.fixture(scope="module")
def run(ray_session, tmp_path_factory):
    """Run tasks under orders on two workers; return results by number, executions and epochs."""
    from nas.controller.evaluators.ray import RayEvaluator

    def run(script, count=4, **options):
        log = tmp_path_factory.mktemp("orders") / "log"
        dataset = np.full(1000, 0.5)
        evaluator = RayEvaluator(dataset, Orders(script, log), workers=2, trainer=obey, **options)
        events = []

        def on_epoch(number, row):
            events.append((number, row["epoch"]))

        try:
            for number in range(count):
                evaluator.submit(Task(number, None, seed=number))
            results = {}
            end = time.monotonic() + PATIENCE
            while len(results) < count and time.monotonic() < end:
                for result in evaluator.wait(5, on_epoch=on_epoch):
                    assert result.number not in results
                    results[result.number] = result
        finally:
            evaluator.close()
        executions = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
        return results, executions, events

    return run


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pids, seconds=60):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_workers_are_long_lived_and_take_task_after_task(run):
    results, executions, events = run({}, count=20)
    assert {r.state for r in results.values()} == {"complete"}
    assert all(r.error == 0.5 and r.message == "cpu 1" for r in results.values())
    assert len({pid for _, pid, _ in executions}) <= 2
    assert Counter(number for number, _, _ in executions) == Counter(range(20))
    assert sorted(events) == [(number, 1) for number in range(20)]
    assert gone({pid for _, pid, _ in executions})


def precision_of_recipe(task, dataset, recipe, device, on_epoch, on_batch):
    return Result(task.number, "complete", message=recipe.precision, error=0.5)


def test_the_precision_of_the_first_worker_is_that_of_all(ray_session):
    from nas.controller.evaluators.ray import RayEvaluator
    from nas.training.precision import hardware_precision

    suited = []

    def resolve(precision):
        suited.append(precision)
        return "float32" if precision == "bfloat16" else "bfloat16"  # as another driver may have recorded

    recipe = Recipe(precision="auto")
    evaluator = RayEvaluator(None, recipe, workers=2, trainer=precision_of_recipe, resolve_precision=resolve)
    try:
        for number in range(6):
            evaluator.submit(Task(number, None, seed=number))
        results = []
        while len(results) < 6:
            results += evaluator.wait(5)
        assert suited == [hardware_precision("cpu")]
        assert {result.message for result in results} == {"float32", "bfloat16"} - {*suited}
    finally:
        evaluator.close()


def rate_of_candidate(task, dataset, recipe, device, on_epoch, on_batch):
    return Result(task.number, "complete", error=trained_under(task.genotype, recipe).lr)


def test_a_worker_gets_the_recipe_of_a_trial(ray_session):
    from nas.controller.evaluators.ray import RayEvaluator

    network = load_space("residual_vs_fractal").sample(0)
    evaluator = RayEvaluator(None, Recipe(lr=0.2, precision="float32"), workers=2, trainer=rate_of_candidate)
    try:
        for number, genotype in enumerate((network, under(network, {"lr": 0.5}))):
            evaluator.submit(Task(number, genotype, seed=0))
        rates = {}
        while len(rates) < 2:
            rates |= {result.number: result.error for result in evaluator.wait(5)}
        assert rates == {0: 0.2, 1: 0.5}
    finally:
        evaluator.close()


@pytest.mark.parametrize(("asked", "trained"), [("auto", "bfloat16"), ("float32", "float32")])
def test_a_worker_trains_in_the_precision_of_the_search(asked, trained):
    worker = Worker(0, None, 1.0, None, Recipe(precision=asked), "cpu", precision_of_recipe, "00" * 28)
    assert worker.train(Task(0, None, seed=0), "bfloat16").message == trained


@pytest.fixture(scope="module")
def after_faults(run):
    """Results and executions of tasks of which some kill their worker."""
    results, executions, _ = run(
        {1: "die once", 2: "fault once", 4: "die", 5: "exit", 6: "unpicklable"}, count=8
    )
    return results, Counter(number for number, _, _ in executions)


def test_killed_worker_is_replaced_and_its_task_tried_again(after_faults):
    results, executions = after_faults
    assert {results[n].state for n in range(4)} == {"complete"}
    assert [results[n].retries for n in range(4)] == [0, 1, 1, 0]
    assert [executions[n] for n in range(4)] == [1, 2, 2, 1]


def test_tasks_that_kill_every_worker_fail_after_two_retries(after_faults):
    results, executions = after_faults
    for number in (4, 5):
        failed = results[number]
        assert (failed.state, failed.reason, failed.retries) == ("failed", "worker_lost", 2)
        assert failed.message
        assert executions[number] == 3
    assert results[7].state == "complete"


def test_result_that_cannot_be_sent_is_a_failed_trial(after_faults):
    results, _ = after_faults
    assert (results[6].state, results[6].reason) == ("failed", "exception")
    assert "pickle" in results[6].message
    assert results[7].state == "complete"


HANGS = ("sleep", "stop", "hold")


@pytest.fixture(scope="module")
def after_hanging(run):
    """Results and executions of tasks of which three hang, each in its way."""
    results, executions, _ = run(dict(enumerate(HANGS, 2)), count=6, stall=5.0)
    assert all(results[n].state == "complete" for n in (0, 1, 5))
    return results, executions


@pytest.mark.parametrize("order", HANGS)
def test_hung_trial_is_killed_by_the_watchdog(after_hanging, order):
    results, executions = after_hanging
    hung = 2 + HANGS.index(order)
    assert (results[hung].state, results[hung].reason) == ("failed", "timeout")
    assert results[hung].message == "no batch trained in 5 s"
    assert 5 < results[hung].duration < PATIENCE
    assert len(results[hung].curve) == (1 if order == "sleep" else 0)
    assert gone({pid for number, pid, _ in executions if number == hung})


def test_slow_trial_that_makes_progress_lives_until_its_deadline(run):
    results, _, _ = run({0: "slow but alive"}, count=1, stall=5.0)
    assert results[0].state == "complete"
    results, _, _ = run({0: "slow but alive"}, count=1, stall=5.0, deadline=1.0)
    assert (results[0].reason, results[0].message) == ("timeout", "longer than 1 s")


def test_out_of_memory_gives_the_next_task_a_fresh_worker(run):
    results, executions, _ = run({0: "oom", 1: "oom"}, count=6)
    assert [results[n].reason for n in range(6)] == ["oom", "oom", "", "", "", ""]
    broken = {pid for number, pid, _ in executions if number < 2}
    assert broken.isdisjoint({pid for number, pid, _ in executions if number > 1})


def test_workers_are_packed_by_memory_and_a_task_that_cannot_fit_is_refused(run):
    import ray

    room = ray.cluster_resources()["memory"]
    shares = [0.7, 0.2, 0.7, 0.7, 1.5, 0.2]
    results, executions, _ = run(
        dict.fromkeys(range(6), "nap"), 6, memory=lambda task, half: shares[task.number] * room
    )
    assert (results[4].state, results[4].reason) == ("failed", "too_large")
    assert f"{1.5 * room / 2**30:.2f} GiB" in results[4].message
    assert 4 not in {number for number, _, _ in executions}
    times = {n: tuple(map(float, r.message.split())) for n, r in results.items() if r.state == "complete"}
    assert len(times) == 5
    for at, (start, end) in times.items():
        beside = [n for n, (first, last) in times.items() if n != at and first < end and start < last]
        assert all(shares[at] + shares[n] <= 1 for n in beside)
    assert times[0][1] <= times[2][0]
    assert times[2][1] <= times[5][0]  # though it would have fitted beside: nothing is overtaken


def test_wait_returns_at_once_when_nothing_runs(ray_session):
    from nas.controller.evaluators.ray import RayEvaluator

    evaluator = RayEvaluator(np.zeros(1), None, workers=1)
    start = time.monotonic()
    assert evaluator.wait(30) == []
    evaluator.close()
    evaluator.close()
    assert time.monotonic() - start < 25


def test_missing_gpu_is_an_error_with_a_way_out(ray_session):
    from nas.controller.evaluators.ray import RayEvaluator

    with pytest.raises(NasError, match="Ray sees no GPU"):
        RayEvaluator(np.zeros(1), None, gpus_per_worker=0.5)


def unfit(every):
    """Return a class of workers of which the first, or every one, cannot start, as on a GPU without CUDA."""

    class Unfit(Worker):
        def hello(self, measure):
            if every or self.number == 1:
                raise AssertionError("Torch not compiled with CUDA enabled")
            return super().hello(measure)

    return Unfit


def users(said):
    """Return the texts of the warnings for users."""
    return [str(warning.message) for warning in said if warning.category is UserWarning]


@pytest.mark.parametrize("every", [False, True])
def test_a_worker_that_cannot_start_is_left_out(ray_session, monkeypatch, tmp_path, every):
    from nas.controller.evaluators import ray_actors
    from nas.controller.evaluators.ray import RayEvaluator

    monkeypatch.setattr(ray_actors, "Worker", unfit(every))
    orders = Orders({}, tmp_path / "log")
    evaluator = RayEvaluator(np.zeros(1), orders, workers=2, trainer=obey)
    states, submitted, end = [], 0, time.monotonic() + 120
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            while len(states) < submitted or (not users(said) and time.monotonic() < end):
                if len(states) == submitted:  # the other worker may do many before this one has failed
                    evaluator.submit(Task(submitted, None, seed=submitted))
                    submitted += 1
                states += [result.state for result in evaluator.wait(5)]
    except NasError as error:
        states.append(str(error).splitlines()[0])
    finally:
        left = evaluator.slots
        evaluator.close()
    assert users(said) == [
        "a worker cannot start and is left out: AssertionError: Torch not compiled with CUDA enabled"
    ]
    assert left == 1
    message = "the worker cannot start: AssertionError: Torch not compiled with CUDA enabled"
    assert states == ([message] if every else ["complete"] * submitted)


DRIVER = """
    import os, signal, sys, time
    from pathlib import Path
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from nas.controller.evaluators.base import Result, Task
    from nas.controller.evaluators.ray import RayEvaluator
    placed = Path(sys.argv[1])
    def trainer(task, dataset, recipe, device, on_epoch, on_batch):
        while not placed.exists():  # or one worker might end both tasks before the other has started
            time.sleep(0.05)
        time.sleep(2)
        return Result(task.number, "complete", message=str(os.getpid()))
    evaluator = RayEvaluator(None, None, workers=2, trainer=trainer)
    for number in range(2):
        evaluator.submit(Task(number, None, 0))
    while not all(slot.place for slot in evaluator._crew.slots):
        evaluator.wait(0.1)
    placed.touch()
    results = []
    def work():
        while len(results) < 2:
            ended = evaluator.wait()
            assert ended, "a result was lost"
            results.extend(ended)
    try:
        print(*[slot.place.process for slot in evaluator._crew.slots], flush=True)  # and at once the signal
        work()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    work()
    print(*[result.state for result in results], flush=True)
    evaluator.close()
    time.sleep(600)
"""


def children(pid):
    """Return all processes below `pid`."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [grand for child in map(int, below) for grand in [child, *children(child)]]


def test_ctrl_c_in_the_terminal_reaches_the_driver_and_not_the_workers(start_driver, tmp_path):
    driver = start_driver(DRIVER, tmp_path / "placed")
    workers = [int(pid) for pid in driver.stdout.readline().split()]
    ray_processes = children(driver.pid)
    assert set(workers) <= set(ray_processes)
    os.killpg(driver.pid, signal.SIGINT)
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    assert driver.stdout.readline() == "interrupted\n"
    assert driver.stdout.readline() == "complete complete\n"
    assert gone(ray_processes)


def agents(pids):
    """Processes of Ray that wait a minute for the cluster to return before they end."""
    return {pid for pid in pids if "Agent" in Path(f"/proc/{pid}/cmdline").read_text()}


ENDED = """
    import os, time
    from nas.errors import ClusterLostError
    from nas.controller.evaluators.base import Task
    from nas.controller.evaluators.ray import RayEvaluator
    def trainer(task, dataset, recipe, device, on_epoch, on_batch):
        time.sleep(600)
    evaluator = RayEvaluator(None, None, workers=1, trainer=trainer)
    evaluator.submit(Task(0, None, 0))
    while not evaluator._crew.slots[0].task:
        evaluator.wait(0.1)
    print("trains", flush=True)
    try:
        evaluator.wait()
    except ClusterLostError as error:
        print(error.exit_code, flush=True)
    evaluator.close()
"""


@pytest.mark.parametrize(
    ("parts", "signum"),
    [
        (("gcs_server", "raylet"), signal.SIGTERM),
        (("gcs_server",), signal.SIGKILL),
    ],
)
def test_a_driver_ends_with_its_own_exit_code_when_ray_is_ended(start_driver, parts, signum):
    """A signal to all processes of a job ends Ray, too, which would end the driver with 1."""
    driver = start_driver(ENDED)
    assert driver.stdout.readline() == "trains\n"
    ray_processes = children(driver.pid)
    lasting = agents(ray_processes)
    names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in ray_processes}
    for pid, name in names.items():
        if name in parts:  # of which one may end with the other
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
    said, _ = driver.communicate(timeout=PATIENCE)
    assert (said, driver.returncode) == ("6\n", 0)
    assert gone(set(ray_processes) - lasting)


def test_a_node_that_ends_before_ray_leaves_the_driver_running(start_driver):
    """Ray ends a process that owns an object on a lost node, such as the data that the driver sent."""
    driver = start_driver(ENDED.replace("evaluator.wait()\n", "time.sleep(8)\n"))
    assert driver.stdout.readline() == "trains\n"
    [raylet] = [
        pid for pid in children(driver.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet"
    ]
    os.kill(raylet, signal.SIGTERM)
    driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0


def test_killed_driver_leaves_no_process_behind(start_driver, tmp_path):
    driver = start_driver(DRIVER, tmp_path / "placed")
    driver.stdout.readline()
    ray_processes = children(driver.pid)
    assert len(ray_processes) > 3
    lasting = agents(ray_processes)
    assert len(lasting) <= 2
    driver.kill()
    driver.communicate()
    assert gone(set(ray_processes) - lasting)
