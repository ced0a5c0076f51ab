"""What a trial costs besides its training: 1,000 trivial trials on 2 Ray workers.

Proposal, cost count, dispatch, result and the SQLite commit are included; start-up is
not. Beside it, `ray.tune.Tuner` with reused actors on an equally trivial trainable, which
records in its own way.

    python benchmarks/controller_overhead.py [--trials 1000] [--tune 100]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from nas.controller import run_search
from nas.evaluation import Result
from nas.ray_evaluation import RayEvaluator
from nas.searchers import make_searcher
from nas.space import load_space
from nas.study import Study

WORKERS = 2
STARTED = 50
"""First trials, in which the workers start; not counted."""


def trainer(task, dataset, recipe, device, on_epoch, on_batch):
    return Result(task.number, "complete", error=(task.seed % 997) / 1000)


def controller(trials: int, searcher: str) -> dict[str, float]:
    """Milliseconds between two results on 2 workers that always have work; cpu: the
    driver's own time, which other programs on the machine do not lengthen."""
    space = load_space("residual_vs_fractal")
    domains = {path: list(options) for path, options in space.domains().items()}
    ends: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        evaluator = RayEvaluator(None, None, workers=WORKERS, trainer=trainer)
        with Study.create(path, objectives=("error", "flops"), domains=domains) as study:
            run_search(
                study,
                space,
                make_searcher(searcher, study.objectives),
                evaluator,
                trials=trials + STARTED,
                seed=0,
                epochs=1,
                on_trial=lambda *_: ends.append((time.perf_counter(), time.process_time())),
            )
            assert len(study.complete) == trials + STARTED
        evaluator.close()
    steps, cpu = 1000 * np.diff(np.array(ends[STARTED - 1 :]).T)
    quantiles = {"median_ms": np.median(steps), "p99_ms": np.quantile(steps, 0.99)}
    return {"mean_ms": steps.mean(), **quantiles, "cpu_ms": cpu.mean()}


def tune_trainable(trials: int) -> float:
    """Milliseconds a trial of `ray.tune.Tuner` on the same number of slots."""
    import ray
    from ray import tune

    class Trivial(tune.Trainable):
        def setup(self, config):
            self.value = config["value"]

        def step(self):
            return {"error": self.value, "done": True}

        def reset_config(self, new_config):
            self.value = new_config["value"]
            return True

        def save_checkpoint(self, checkpoint_dir):
            return None

    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            Trivial,
            param_space={"value": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True, max_concurrent_trials=WORKERS),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        start = time.perf_counter()
        results = tuner.fit()
        total = time.perf_counter() - start
    ray.shutdown()
    assert len(results) == trials
    return 1000 * total / trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=100, help="trials of ray.tune; 0 leaves it out")
    parser.add_argument("--searcher", default="evolution")
    options = parser.parse_args()
    figures = {"trials": options.trials, "searcher": options.searcher}
    figures |= controller(options.trials, options.searcher)
    text = "controller  {mean_ms:6.1f} ms a trial, median {median_ms:.1f}, p99 {p99_ms:.1f}, cpu {cpu_ms:.1f}"
    print(text.format(**figures))
    if options.tune:
        figures |= {"tune_trials": options.tune, "tune_mean_ms": tune_trainable(options.tune)}
        print(f"ray.tune    {figures['tune_mean_ms']:6.1f} ms a trial, start of the workers included")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
