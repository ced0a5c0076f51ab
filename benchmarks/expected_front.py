"""The front of a noisy search chosen by measured and by expected errors, judged by mean test errors.

    python benchmarks/expected_front.py TABLES [--seeds 50] [--queries 200] [--searcher evolution]

The protocol of NAS-Bench-201 (CIFAR-10): a query shows the validation error of one of three trainings, drawn
at random (nas-bench-201_seeds_cifar10.csv.gz in TABLES). The front of all queries is judged by the mean test
errors of its members (nas-bench-201_cifar10.csv): the hypervolume that they dominate up to the median error,
as a share of that of all networks. Printed are the mean over seeds with its standard error, of measured
errors, of expected ones (`nas.study.expected`), of the means over all trainings of each network, and of mean
test errors themselves; and how often intervals of 95 % hold the mean validation error of the three trainings.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from searchers import record
from tabulated import Cells, Point

from nas.graph.cost import Cost
from nas.pareto import Floats, front, hypervolume
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.study.expected import HALF, expected_errors
from nas.study.history import History

MOST_FLOPS = 230e6
"""FLOPs up to which hypervolumes are measured, a little beyond those of all cells."""


@cache
def load(folder: Path) -> tuple[Cells, list[Point], dict[tuple[str, ...], Floats]]:
    """Return the cells, their mean test errors and FLOPs, and the validation errors of their trainings."""
    cells, errors = Cells(folder / "nas-bench-201_cifar10.csv"), {}
    with gzip.open(folder / "nas-bench-201_seeds_cifar10.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            parts = row["architecture"].replace("+", "").split("|")
            known = [row[f"val_acc_seed{i}"] for i in range(3)]
            ops = tuple(part.partition("~")[0] for part in parts if part)
            errors[ops] = np.array([1 - float(value) / 100 for value in known if value])
    return cells, [cells.measure(genotype) for _, genotype in cells.genotypes()], errors


def one_run(job: tuple[Path, str, int, int]) -> list[float]:
    """Return the judged share of the hypervolume by each choice, and the coverage of the intervals."""
    folder, name, queries, seed = job
    cells, points, errors = load(folder)
    searcher, history = make_searcher(name, ("error", "flops")), History()
    rng = np.random.default_rng(seed)
    for number in range(queries):
        proposal = propose(searcher, cells.space, history, seed=seed, number=number, uniform_share=0.0)
        assert proposal is not None
        shown = float(rng.choice(errors[cells.published(proposal.genotype)]))
        record(history, cells.space, proposal, shown, Cost(0, cells.flops(proposal.genotype), 0, 0))
    trials = history.trials
    flops = np.array([trial.flops for trial in trials], float)
    measured = np.array([trial.error for trial in trials], float)
    judged = np.array([cells.measure(trial.proposal.genotype) for trial in trials])
    known = expected_errors(trials)
    assert known is not None
    mean, sd = known
    truth = np.array([errors[cells.published(trial.proposal.genotype)].mean() for trial in trials])
    corner = np.median(points, axis=0)[0], MOST_FLOPS
    whole = hypervolume(points, corner)
    shares = [
        hypervolume(judged[front(np.column_stack([by, flops]))], corner) / whole
        for by in (measured, mean, truth, judged[:, 0])
    ]
    return [*shares, float((np.abs(truth - mean) <= HALF * sd).mean())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--searcher", default="evolution")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    jobs = [
        (arguments.tables, arguments.searcher, arguments.queries, seed) for seed in range(arguments.seeds)
    ]
    with get_context("fork").Pool(arguments.processes) as pool:
        figures = np.array(pool.map(one_run, jobs, chunksize=1))
    names = (
        *("by measured error", "by expected error", "by the mean of all trainings", "by mean test error"),
        "coverage of 95 % intervals",
    )
    print(f"{arguments.searcher}, {arguments.queries} queries, {arguments.seeds} seeds")
    for name, column in zip(names, figures.T, strict=True):
        print(f"{name}: {column.mean():.4f} ± {column.std(ddof=1) / np.sqrt(len(column)):.4f}")


if __name__ == "__main__":
    main()
