"""Searchers side by side on tables of trained networks: accuracy and hypervolume by queries.

    python benchmarks/searchers.py digits nas-bench-macro_cifar10.json nas-bench-201_cifar10.csv
        [--searchers random,evolution] [--seeds 100] [--queries 200]
    python benchmarks/searchers.py --proposals 10000

A query is proposed by `nas.searchers.propose`, one at a time, no network twice; see tabulated.py for
the tables. With two objectives the figure is the share of the hypervolume of the whole table. With
--proposals it is instead the time of a proposal in the largest space that is shipped, by trials.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import zlib
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tabulated import Table, digits, nas_bench_201, nas_bench_macro

from nas.graph.cost import Cost, cost
from nas.pareto import hypervolume
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.space.genotype import expand
from nas.space.space import load_space
from nas.study.history import History
from nas.study.trial import Proposal, Trial

MARKS = (25, 50, 100, 150, 200, 500)
LARGE = "all_modules"


def load_table(name: str) -> Table:
    if name == "digits":
        return digits()
    return (nas_bench_macro if name.endswith(".json") else nas_bench_201)(Path(name))


def record(history: History, space: Any, proposal: Proposal, error: float, figures: Cost) -> None:
    number = len(history.trials)
    trial = Trial(
        number=number,
        proposal=proposal,
        state="complete",
        error=error,
        cost=figures,
        decisions=space.decisions(proposal.genotype),
        seed=0,
        epochs=1,
    )
    history.record(trial)


def one_run(job: tuple[str, str, tuple[str, ...], int, int]) -> tuple[list[float], float]:
    """The figure after each of MARKS, and the milliseconds of processor time of a query."""
    file, name, objectives, seed, queries = job
    table = TABLES.get(file) or TABLES.setdefault(file, load_table(file))
    searcher, history, space = make_searcher(name, objectives), History(objectives), table.space
    start = time.process_time()
    for number in range(queries):
        proposal = propose(searcher, space, history, seed=seed, number=number, uniform_share=0.0)  # type: ignore[arg-type]
        assert proposal is not None
        error, flops = table.measure(proposal.genotype)
        record(history, space, proposal, error, Cost(0, int(flops), 0, 0))
    milliseconds = (time.process_time() - start) / queries * 1e3
    points = [trial.values(("error", "flops")) for trial in history.trials]
    parts = [points[:mark] for mark in MARKS if mark <= queries]
    if len(objectives) == 1:
        return [100 * (1 - min(error for error, _ in part)) for part in parts], milliseconds
    return [hypervolume(part, table.reference) / table.volume for part in parts], milliseconds


TABLES: dict[str, Table] = {}


def report(file: str, objectives: tuple[str, ...], arguments: argparse.Namespace) -> None:
    table, marks = load_table(file), [mark for mark in MARKS if mark <= arguments.queries]
    if len(objectives) == 1:
        best = 100 * (1 - min(error for error, _ in table.points))
        what, digits_shown = f"best accuracy, % (of all {best:.2f})", 2
    else:
        error, flops = table.reference
        what, digits_shown = (
            f"share of the hypervolume (error, FLOPs; from {error:.1%}, {flops / 1e6:.3g} M)",
            4,
        )
    print(f"\n{table.title}: {what}, mean of {arguments.seeds} seeds\n")
    print("| searcher | " + " | ".join(map(str, marks)) + " | ms a query |")
    print("|" + "---|" * (len(marks) + 2))
    for name in arguments.searchers.split(","):
        jobs = [(file, name, objectives, seed, arguments.queries) for seed in range(arguments.seeds)]
        with get_context("fork").Pool(arguments.processes) as pool:
            figures, times = zip(*pool.map(one_run, jobs, chunksize=5), strict=True)
        means = " | ".join(f"{value:.{digits_shown}f}" for value in np.mean(figures, axis=0))
        print(f"| {name} | {means} | {np.mean(times):.2f} |", flush=True)


def report_proposals(count: int) -> None:
    """A search of a large space whose error is made up, and the median time of its proposals."""
    space, objectives, times = load_space(LARGE), ("error", "flops"), []
    searcher, history = make_searcher("evolution", objectives), History(objectives)
    print(
        f"{LARGE}, evolution: milliseconds of processor time\n\n| trials | proposal, median | worst in 100 |"
    )
    print("|---|---|---|")
    for number in range(count):
        start = time.thread_time()
        proposal = propose(searcher, space, history, seed=0, number=number)
        times.append(1e3 * (time.thread_time() - start))
        assert proposal is not None
        figures = cost(expand(proposal.genotype))
        options = zlib.crc32(str(sorted(space.decisions(proposal.genotype).items())).encode())
        error = 0.05 + 2 / figures.flops**0.2 + 0.05 * options / 2**32
        record(history, space, proposal, error, figures)
        if (number + 1) in (100, 1_000, 3_000, count):
            print(
                f"| {number + 1:,} | {statistics.median(times[-100:]):.2f} | {max(times[-100:]):.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tables", nargs="*", help="digits, or the file of a published table")
    parser.add_argument("--searchers", default="random,evolution,optuna:tpe,optuna:nsgaii")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--proposals", type=int, default=0)
    arguments = parser.parse_args()
    for file in arguments.tables:
        report(file, ("error",), arguments)
        report(file, ("error", "flops"), arguments)
    if arguments.proposals:
        report_proposals(arguments.proposals)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
