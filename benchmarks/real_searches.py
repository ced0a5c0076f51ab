"""Searches with real trainings: the default searcher beside evolution and random, judged by training anew.

    python benchmarks/real_searches.py PATH FOLDER [--seeds 3]

PATH is a folder with CIFAR-10 in the Hugging Face layout, of which 3,000 images are trained on and 4,000
validate, brought to 16 x 16. Each searcher trains 48 networks of `five_types` for each seed, six epochs each,
on one worker per core. Then the networks of its front, by expected and by measured errors, are trained once
more with another seed. A front is judged by those second trainings: the hypervolume that they dominate up to
the error of guessing and the most FLOPs of all runs, so that luck of a first training is worth nothing. Runs
are kept in FOLDER, and what it holds is not trained again; idle is the share of the workers' time that they
waited for a candidate.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import nas
from nas.analysis.time_use import IDLE, seconds_of, share, time_use
from nas.pareto import hypervolume
from nas.study.run import Run
from nas.study.trial import Trial

SEARCHERS = ("hypervolume", "evolution", "random")
TRIALS, EPOCHS = 48, 6
GUESSING = 0.9
"""The error of guessing one of ten classes."""


def run_of(searcher: str, seed: int, data: str, folder: Path) -> Run:
    """Return a run whose fronts have been trained once more."""
    name = f"{searcher}-{seed}"
    resume = (folder / name / "config.json").exists()
    where = {"name": name, "results_dir": folder, "resume": resume}
    settings = {} if resume else {"searcher": searcher, "seed": seed, "epochs": EPOCHS, "profile": True}
    nas.search("five_types", data=data, trials=TRIALS, **where, **settings)
    run = nas.open_run(name, folder)
    # Members are those before the second trainings, which the expected errors would learn from.
    numbers = {trial.number for trial in (*run.front(), *run.measured_front())}
    return nas.reseed(name, 1, trials=sorted(numbers), results_dir=folder)


def fronts(run: Run) -> dict[str, list[Trial]]:
    """Return the fronts as they were before the second trainings."""
    from nas.study.expected import expected

    known = expected(run.study, run.study.objectives, ())
    chosen = [trial for trial in run.study.networks if known and trial.digest in known.front]
    return {"expected": chosen, "measured": run.study.front()}


def judged(members: Sequence[Trial], again: Sequence[Trial], flops: float) -> tuple[float, float]:
    """Return the hypervolume of members by their second trainings, and the lowest error of those."""
    errors = {each.proposal.design["trial"]: each.error for each in again}
    points = np.array([[errors[trial.number], trial.flops] for trial in members], dtype=np.float64)
    corner = np.array([GUESSING, flops])
    return hypervolume(points, corner) / (GUESSING * flops), float(points[:, 0].min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data = f"parquet:{options.path}?size=16&limit=7000&validation=0.5714"
    runs: dict[str, list[Run]] = {searcher: [] for searcher in SEARCHERS}
    for seed in range(options.seeds):
        for searcher in SEARCHERS:
            runs[searcher].append(run_of(searcher, seed, data, options.folder))
            print(f"{searcher}, seed {seed}: done", flush=True)
    flops = max(trial.flops for each in runs.values() for run in each for trial in run.study.networks)
    print("| searcher | front | networks | hypervolume | lowest error, % | idle |\n" + "|---" * 6 + "|")
    for searcher, each in runs.items():
        idle = np.mean([share(seconds_of(time_use(run.profile)), IDLE) for run in each])
        found = [fronts(run) for run in each]
        for how in ("expected", "measured"):
            figures = np.array([judged(f[how], r.reseeded, flops) for f, r in zip(found, each, strict=True)])
            (volume, best), (spread, wide) = figures.mean(0), figures.std(0, ddof=1) / len(each) ** 0.5
            size = np.mean([len(f[how]) for f in found])
            print(
                f"| {searcher} | {how} | {size:.1f} | {volume:.4f} ± {spread:.4f} "
                f"| {100 * best:.1f} ± {100 * wide:.1f} | {idle:.1%} |"
            )


if __name__ == "__main__":
    main()
