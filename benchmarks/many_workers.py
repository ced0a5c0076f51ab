"""What a result costs the driver, as the number of workers grows.

    python benchmarks/many_workers.py [--workers 10,100,300,1000] [--seconds 30] [--results 600] [--limit 2]

The driver is that of a search: `RayEvaluator` on a real Ray, with its board. The workers are stubs, all in
one process that sleeps where they would train (a thousand of them `--seconds`, more or less; fewer less long)
and reports as they do: epochs, and signs of life. So a thousand of them fit on two cores. Counted is the
driver's own time between results, of its main thread and of the whole process with Ray's threads, once every
worker has had a result. Ends with 1 if a result takes the main thread more than `--limit` ms.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from typing import Any

import ray

from nas.controller.evaluators import ray as evaluators
from nas.controller.evaluators.ray_board import Board, Reporter
from nas.controller.evaluators.ray_worker import Place
from nas.space.load import load_space
from nas.training.task import Result, Task

EPOCHS = 10
SPACE = "residual_vs_fractal"


class Host:
    """The actor that stands for all workers."""

    def __init__(self, board: Any, every: float, seconds: float) -> None:
        self.board, self.every, self.seconds = board, every, seconds

    async def hello(self) -> Place:
        return Place("node", 0, "cpu", 0.0, "float32", time.monotonic())

    async def train(self, worker: int, task: Task) -> Result:
        reporter = Reporter(self.board, worker, task.number, self.every)
        rows = [{"epoch": i + 1, "train_loss": 1.0, "val_loss": 1.0, "val_error": 0.5} for i in range(EPOCHS)]
        seconds = self.seconds * random.uniform(0.5, 1.5)
        for row in rows:
            await asyncio.sleep(seconds / EPOCHS)
            reporter.batch()
            reporter.epoch(task.number, row)
        return Result(task.number, "complete", error=0.5, curve=tuple(rows), duration=seconds)


class Call:
    """Has `remote`, as the method of an actor."""

    def __init__(self, remote: Any) -> None:
        self.remote = remote


class Stub:
    """Stands for the handle of a worker."""

    def __init__(self, host: Any, number: int) -> None:
        self.hello = Call(lambda measure: host.hello.remote())
        self.train = Call(lambda task, precision: host.train.remote(number, task))


class StubActors:
    """Stands for `ray_actors.Actors`."""

    seconds = 30.0

    def __init__(self, *arguments: Any) -> None:
        self.board: Any = ray.remote(num_cpus=0)(Board).remote()
        self.host: Any = ray.remote(num_cpus=0, max_concurrency=5000)(Host).remote(
            self.board, arguments[-1], self.seconds
        )

    def start(self, number: int) -> Stub:
        return Stub(self.host, number)

    def end(self, actor: Stub) -> None:
        pass

    def all_started(self) -> None:
        pass


def measure(workers: int, results: int) -> dict[str, float]:
    """Return the driver's milliseconds per result, and how busy that keeps a core."""
    space, numbers, counts = load_space(SPACE), itertools.count(), {"results": 0, "epochs": 0}
    evaluator = evaluators.RayEvaluator(None, None, workers=workers)  # type: ignore[arg-type]
    networks = [space.sample(i) for i in range(50)]

    def submit(count: int) -> None:
        for number in itertools.islice(numbers, count):
            evaluator.submit(Task(number, networks[number % len(networks)], seed=number))

    def on_epoch(*_: Any) -> None:
        counts["epochs"] += 1

    def run(count: int) -> None:
        until = counts["results"] + count
        while counts["results"] < until:
            done = evaluator.wait(1.0, on_epoch=on_epoch)
            assert all(result.state == "complete" for result in done)
            counts["results"] += len(done)
            submit(len(done))

    submit(workers)
    run(2 * workers)
    before, epochs = (time.monotonic(), time.thread_time(), time.process_time()), counts["epochs"]
    first = counts["results"]
    run(max(results, workers))
    wall, main, whole = (
        now - then
        for now, then in zip((time.monotonic(), time.thread_time(), time.process_time()), before, strict=True)
    )
    done = counts["results"] - first
    ray.kill(evaluator._crew.actors.host)
    evaluator.close()
    return {
        "workers": workers,
        "results": done,
        "results_a_second": done / wall,
        "epochs_a_result": (counts["epochs"] - epochs) / done,
        "main_ms": 1e3 * main / done,
        "process_ms": 1e3 * whole / done,
        "core_share": whole / wall,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", default="10,100,300,1000")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--results", type=int, default=600)
    parser.add_argument("--limit", type=float, default=2.0)
    options = parser.parse_args()
    evaluators.Actors = StubActors  # type: ignore[assignment, misc]
    StubActors.seconds = options.seconds
    rows = []
    print("workers  results/s  main thread  whole process  of a core", flush=True)
    for workers in map(int, options.workers.split(",")):
        # Fewer workers train for less, so that there are about as many results in a second.
        StubActors.seconds = max(1.0, options.seconds * workers / 1000)
        row = measure(workers, options.results)
        rows.append(row)
        line = f"{workers:7}  {row['results_a_second']:9.1f}  {row['main_ms']:8.2f} ms"
        print(f"{line}  {row['process_ms']:10.2f} ms  {row['core_share']:9.0%}", flush=True)
    print(json.dumps(rows))
    return int(max(row["main_ms"] for row in rows) > options.limit)


if __name__ == "__main__":
    sys.exit(main())
