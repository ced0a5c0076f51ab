"""The front of a noisy search chosen by measured and by expected errors, judged by mean test errors.

    python benchmarks/expected_front.py TABLES/nas-bench-201_cifar10.csv [--seeds 50] [--queries 200]
        [--searcher evolution]

The protocol of NAS-Bench-201 (CIFAR-10): a query shows the validation error of one of three trainings, drawn
at random (nas-bench-201_seeds_cifar10.csv.gz beside the table). The front of all queries is judged by the
mean test errors of its members: the hypervolume that they dominate, as a share of that of all networks,
measured from 30 % and 230 M FLOPs, and from the median error. Printed are the mean over seeds with its
standard error, of the front by measured errors, by expected ones (`nas.study.expected`), by the means over
all trainings of each network, and by mean test errors themselves; and how often intervals of 95 % hold the
mean validation error of the three trainings.
"""

from __future__ import annotations

import argparse
import os
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from searchers import TABLES, load_table, record

from nas.graph.cost import Cost
from nas.pareto import front, hypervolume
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.study.expected import HALF, expected_errors
from nas.study.history import History


class Job(NamedTuple):
    table: str
    searcher: str
    queries: int
    seed: int


def one_run(job: Job) -> list[float]:
    """Return the judged shares of the hypervolume, from both corners by each choice, and the coverage of the
    intervals."""
    table = TABLES[job.table]
    assert table.trainings
    searcher, history = make_searcher(job.searcher, ("error", "flops")), History()
    rng = np.random.default_rng(job.seed)
    for number in range(job.queries):
        proposal = propose(searcher, table.space, history, seed=job.seed, number=number, uniform_share=0.0)  # type: ignore[arg-type]
        assert proposal is not None
        shown = float(rng.choice(table.trainings(proposal.genotype)))
        flops = int(table.measure(proposal.genotype)[1])
        record(history, table.space, proposal, shown, Cost(0, flops, 0, 0))
    trials = history.trials
    judged = np.array([table.measure(trial.proposal.genotype) for trial in trials])
    measured = np.array([trial.error for trial in trials], float)
    known = expected_errors(trials)
    assert known is not None
    mean, sd = known
    truth = np.array([np.mean(table.trainings(trial.proposal.genotype)) for trial in trials])
    shares = []
    for corner in (table.reference, (np.median(table.points, axis=0)[0], table.reference[1])):
        whole = hypervolume(table.points, corner)
        for by in (measured, mean, truth, judged[:, 0]):
            chosen = front(np.column_stack([by, judged[:, 1]]))
            shares.append(hypervolume(judged[chosen], corner) / whole)
    return [*shares, float((np.abs(truth - mean) <= HALF * sd).mean())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--searcher", default="evolution")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    TABLES[arguments.table] = load_table(arguments.table)
    jobs = [
        Job(arguments.table, arguments.searcher, arguments.queries, seed) for seed in range(arguments.seeds)
    ]
    with get_context("fork").Pool(arguments.processes) as pool:
        figures = np.array(pool.map(one_run, jobs, chunksize=1))
    choices = ("measured error", "expected error", "the mean of all trainings", "mean test error")
    names = [f"from {corner}, by {choice}" for corner in ("30 %", "the median error") for choice in choices]
    names.append("coverage of 95 % intervals")
    print(f"{arguments.searcher}, {arguments.queries} queries, {arguments.seeds} seeds")
    for name, column in zip(names, figures.T, strict=True):
        print(f"{name}: {column.mean():.4f} ± {column.std(ddof=1) / np.sqrt(len(column)):.4f}")


if __name__ == "__main__":
    main()
