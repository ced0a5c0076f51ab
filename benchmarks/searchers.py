"""Searchers on the table of NAS-Bench-201: accuracy and hypervolume by number of queries.

    python benchmarks/searchers.py nas-bench-201_cifar10.csv [--searchers evolution,random] [--seeds 100]

The table has the mean test accuracy on CIFAR-10 of each of the 15,625 cells (6 edges, 5
operations; Dong and Yang 2020) and the class of isomorphic cells it belongs to. A class is
one network: its digest. FLOPs are multiply-adds of the network of 15 cells, 16 channels.
Every query is proposed by `nas.searchers.propose`, duplicates removed, one at a time.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np

from nas.complexity import Cost
from nas.history import History
from nas.pareto import hypervolume
from nas.searchers import make_searcher, propose
from nas.trial import Trial

OPS = ("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
EDGES = ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
FLOPS = {"nor_conv_1x1": 15 * 262_144, "nor_conv_3x3": 15 * 2_359_296}
FIXED_FLOPS = 442_368 + 2 * (1_179_648 + 2_359_296 + 131_072) + 640
REFERENCE = (0.30, 230e6)
QUERIES = (25, 50, 100, 150, 200, 500)


@dataclass(frozen=True)
class Cell:
    """A cell: the operation on each edge. Its class of isomorphic cells is its digest."""

    ops: tuple[str, ...]
    digest: str


class Table:
    """The cells as a search space, and what each measured."""

    def __init__(self, path: Path) -> None:
        self.cells: dict[tuple[str, ...], Cell] = {}
        self.error: dict[Cell, float] = {}
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                ops = tuple(
                    op.partition("~")[0] for op in row["architecture"].replace("+", "").split("|") if op
                )
                cell = self.cells[ops] = Cell(ops, row["isomorphism_class"])
                self.error[cell] = 1 - float(row["cifar10_test_accuracy_200_epochs"]) / 100
        points = [(self.error[cell], flops(cell)) for cell in self.error]
        self.volume = hypervolume(points, REFERENCE)

    def build(self, choose: Callable[[str, Sequence[str]], str]) -> Cell:
        return self.cells[tuple(choose(edge, OPS) for edge in EDGES)]

    def sample(self, rng: np.random.Generator) -> Cell:
        return self.build(lambda _, options: options[rng.integers(len(options))])

    def mutate(self, cell: Cell, rng: np.random.Generator) -> Cell:
        ops = list(cell.ops)
        edge = rng.integers(len(ops))
        others = [op for op in OPS if op != ops[edge]]
        ops[edge] = others[rng.integers(len(others))]
        return self.cells[tuple(ops)]

    def crossover(self, a: Cell, b: Cell, rng: np.random.Generator) -> Cell:
        pairs = zip(a.ops, b.ops, strict=True)
        return self.cells[tuple(pair[rng.integers(2)] for pair in pairs)]

    def decisions(self, cell: Cell) -> dict[str, str]:
        return dict(zip(EDGES, cell.ops, strict=True))

    def domains(self) -> Mapping[str, tuple[str, ...]]:
        return dict.fromkeys(EDGES, OPS)

    def violations(self, cell: Cell) -> list[str]:
        return []

    def log_probability(self, cell: Cell) -> float:
        return -len(EDGES) * math.log(len(OPS))

    def enumerate(self) -> Iterator[Cell]:
        return (self.cells[ops] for ops in itertools.product(OPS, repeat=len(EDGES)))


def flops(cell: Cell) -> int:
    return FIXED_FLOPS + sum(FLOPS.get(op, 0) for op in cell.ops)


def search(
    table: Table, name: str, objectives: tuple[str, ...], seed: int, queries: int, uniform_share: float
) -> History:
    searcher, history = make_searcher(name, objectives), History(objectives)
    space: Any = table
    for number in range(queries):
        proposal = propose(searcher, space, history, seed=seed, number=number, uniform_share=uniform_share)
        assert proposal is not None
        cell: Any = proposal.genotype
        history.record(
            Trial(
                number=number,
                proposal=proposal,
                state="complete",
                error=table.error[cell],
                cost=Cost(params=0, flops=flops(cell), activations=0, peak_memory=0),
                decisions=table.decisions(cell),
                seed=seed,
                epochs=200,
            )
        )
    return history


def one_run(job: tuple[str, tuple[str, ...], int, int, float]) -> tuple[list[float], float]:
    """The figure after each of QUERIES, and the milliseconds of a query."""
    name, objectives, seed, queries, share = job
    start = time.perf_counter()
    history = search(TABLE, name, objectives, seed, queries, share)
    milliseconds = (time.perf_counter() - start) / queries * 1e3
    marks = [mark for mark in QUERIES if mark <= queries]
    points = [trial.values(("error", "flops")) for trial in history.trials]
    if len(objectives) == 1:
        return [100 * (1 - min(error for error, _ in points[:mark])) for mark in marks], milliseconds
    return [hypervolume(points[:mark], REFERENCE) / TABLE.volume for mark in marks], milliseconds


def report(title: str, objectives: tuple[str, ...], arguments: argparse.Namespace, digits: int) -> None:
    marks = [mark for mark in QUERIES if mark <= arguments.queries]
    print(f"\n{title}, mean of {arguments.seeds} seeds")
    print(f"| {'searcher':16} | " + " | ".join(f"{mark:>6}" for mark in marks) + " | ms/query |")
    print("|" + "---|" * (len(marks) + 2))
    for name in arguments.searchers.split(","):
        jobs = [
            (name, objectives, seed, arguments.queries, arguments.uniform_share)
            for seed in range(arguments.seeds)
        ]
        with Pool(arguments.processes) as pool:
            figures, times = zip(*pool.map(one_run, jobs, chunksize=1), strict=True)
        means = " | ".join(f"{value:6.{digits}f}" for value in np.mean(figures, axis=0))
        print(f"| {name:16} | {means} | {np.mean(times):8.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--searchers", default="random,evolution,optuna:tpe,optuna:nsgaii")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--uniform-share", type=float, default=0.0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    global TABLE
    TABLE = Table(arguments.table)
    report("Best test accuracy, % (error alone)", ("error",), arguments, 2)
    report("Share of the exact hypervolume (error, FLOPs)", ("error", "flops"), arguments, 4)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
