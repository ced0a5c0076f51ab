"""What a trial costs besides its training, and what is lost between trainings.

    python benchmarks/controller_overhead.py [--trials 10000] [--naps 1000] [--tune 100] [--searcher random]

1. Trivial trials on 2 Ray workers: proposal, cost count, dispatch, result and the SQLite
   commit are included, start-up is not. Time between two results for each thousand of
   trials, what the driver did in it, and the memory that it holds.
2. Naps: trials that sleep for a second, on as many workers as --workers says. The wall time
   from the first dispatch to the last result is set against naps / workers seconds.
3. Beside both `ray.tune.Tuner` with reused actors and equal trainables on as many slots,
   which records in its own way; its start-up is included, so more trials tell more.

How long a proposal takes depends on the searcher; `random` draws, and looks at no result.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig
from nas.controller.evaluators.ray import RayEvaluator
from nas.controller.loop import run_search
from nas.searchers import make_searcher
from nas.space.load import load_space
from nas.study.study import Study
from nas.training.profile import DRIVER, Times
from nas.training.recipe import Recipe
from nas.training.task import Result, Task, ignore

WORKERS = 2
STARTED = 50
"""First trials, in which the workers start; not counted."""
THOUSAND = 1000


def trivial(task: Task, *_: Any) -> Result:
    return Result(task.number, "complete", error=(task.seed % 997) / 1000)


def nap(task: Task, *_: Any) -> Result:
    time.sleep(1)
    return trivial(task)


def run(
    trials: int,
    workers: int,
    searcher: str,
    trainer: Any,
    on_trial: Callable[[], None],
    on_times: Callable[[Times], None] = ignore,
) -> None:
    """A search on Ray whose workers are all started before its first trial counts."""
    space = load_space("residual_vs_fractal")
    domains = {path: list(options) for path, options in space.domains().items()}
    with tempfile.TemporaryDirectory() as folder:
        evaluator = RayEvaluator(None, None, workers=workers, trainer=trainer)
        with Study.create(Path(folder) / "study.db", objectives=("error", "flops"), domains=domains) as study:
            planner = make_searcher(searcher, study.objectives)
            config = SearchConfig(space, planner, Recipe(epochs=1), trials)
            callbacks = Callbacks(on_trial=lambda *_: on_trial(), on_times=on_times)
            run_search(config, study, evaluator, callbacks=callbacks)
            assert len(study.complete) == trials
        evaluator.close()


def resident() -> float:
    """Memory of this process in KB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def trivial_trials(trials: int, searcher: str) -> dict[str, Any]:
    """Milliseconds between two results on 2 workers that always have work. cpu: the driver's own
    time, which other programs on the machine lengthen less."""
    marks: list[tuple[float, float, float]] = []
    memory = [resident()]

    def on_trial() -> None:
        if len(marks) % THOUSAND == 0:
            memory[0] = resident()
        marks.append((1e3 * time.perf_counter(), 1e3 * time.process_time(), memory[0]))

    phases: Counter[str] = Counter()

    def on_times(times: Times) -> None:
        if times.worker == DRIVER and len(marks) > STARTED:
            phases.update({phase: 1e3 * seconds / trials for phase, seconds in times.phases.items()})

    run(trials + STARTED, WORKERS, searcher, trivial, on_trial, on_times)
    ends = np.array(marks[STARTED - 1 :])
    wall, cpu = np.diff(ends[:, :2].T)
    print("trials           median      mean       p99       cpu    memory")
    for start in range(0, trials, THOUSAND):
        part = slice(start, start + THOUSAND)
        figures = (np.median(wall[part]), wall[part].mean(), np.quantile(wall[part], 0.99), cpu[part].mean())
        text = "".join(f"{value:7.1f} ms" for value in figures)
        print(f"{start:6,} on    {text}{ends[part][-1, 2] / 1024:7.0f} MB")
    print(", ".join(f"{phase} {value:.2f}" for phase, value in phases.items()), "ms a trial, means")
    first, last = (float(np.median(part)) for part in (wall[:THOUSAND], wall[-THOUSAND:]))
    grown = (ends[-1, 2] - ends[0, 2]) / max(1, trials - trials % THOUSAND)
    return {
        "trials": trials,
        "median_ms": float(np.median(wall)),
        "mean_ms": float(wall.mean()),
        "cpu_ms": float(cpu.mean()),
        "last_to_first_thousand": last / first,
        "grown_kb_a_trial": float(grown),
        **{f"{phase}_ms": value for phase, value in phases.items()},
    }


def naps(count: int, workers: int, searcher: str) -> float:
    """Wall time as a multiple of ideal, of trials that sleep a second. A first round, in which the
    workers start, is not counted."""
    ends: list[float] = []
    run(count + workers, workers, searcher, nap, lambda: ends.append(time.perf_counter()))
    return (ends[-1] - ends[workers - 1]) / (count / workers)


def tune_seconds(trials: int, slots: int, seconds: float) -> float:
    """Wall time of `ray.tune.Tuner` on trainables that sleep so long."""
    import ray
    from ray import tune

    class Sleeper(tune.Trainable):
        def setup(self, config):
            self.value = config["value"]

        def step(self):
            time.sleep(seconds)
            return {"error": self.value, "done": True}

        def reset_config(self, new_config):
            self.value = new_config["value"]
            return True

        def save_checkpoint(self, checkpoint_dir):
            return None

    ray.init(address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            Sleeper,
            param_space={"value": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True, max_concurrent_trials=slots),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        start = time.perf_counter()
        results = tuner.fit()
        total = time.perf_counter() - start
    ray.shutdown()
    assert len(results) == trials
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--naps", type=int, default=200, help="trials of one second; 0 leaves them out")
    parser.add_argument("--tune", type=int, default=100, help="trials of ray.tune; 0 leaves it out")
    parser.add_argument("--workers", type=int, default=WORKERS, help="that take naps; they need no core")
    parser.add_argument("--searcher", default="evolution")
    options = parser.parse_args()
    figures: dict[str, Any] = {"searcher": options.searcher}
    if options.trials:
        figures |= trivial_trials(options.trials, options.searcher)
        text = "median {median_ms:.1f} ms a trial, mean {mean_ms:.1f}, cpu {cpu_ms:.1f}; "
        print((text + "the driver grows by {grown_kb_a_trial:.1f} KB a trial").format(**figures))
    if options.naps:
        figures["naps"] = naps(options.naps, options.workers, options.searcher)
        print(f"{options.naps} naps of 1 s on {options.workers} workers: {figures['naps']:.3f} times ideal")
    if options.tune:
        figures["tune_mean_ms"] = 1e3 * tune_seconds(options.tune, WORKERS, 0) / options.tune
        print(f"ray.tune: {figures['tune_mean_ms']:.1f} ms a trivial trial, start of the workers included")
    if options.tune and options.naps:
        ideal = options.tune / options.workers
        figures["tune_naps"] = tune_seconds(options.tune, options.workers, 1) / ideal
        print(
            f"ray.tune: {options.tune} naps of 1 s on {options.workers} workers: "
            f"{figures['tune_naps']:.3f} times ideal"
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
