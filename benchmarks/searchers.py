"""Searchers side by side on tables of trained networks, by queries.

    python benchmarks/searchers.py digits TABLES/nas-bench-macro_cifar10.json TABLES/nas-bench-201_cifar10.csv
        [--protocols accuracy,front,noisy,latency:pixel3] [--searchers random,evolution] [--seeds 100]
        [--queries 200] [--workers 8]
    python benchmarks/searchers.py --proposals 10000 [--searchers hypervolume]

A query is proposed by `nas.searchers.propose`, no network twice, while `--workers` less one are in training;
see tabulated.py for the tables, and peers.py for the searchers `local` and `qnehvi`. The protocols:

accuracy        the error is the only objective, without noise: best accuracy so far.
front           error and FLOPs, without noise: share of the hypervolume of the whole table.
latency:DEVICE  error and measured latency, without noise: share of the hypervolume.
noisy           that of the literature: the searcher sees the validation error of one training drawn at
                random, the judge takes the mean test accuracy of the network with the lowest error seen,
                and in `noisy, expected` of that with the lowest error that `nas.surrogate` expects.

Each figure is a mean over seeds with its standard error. With --proposals it is instead the time of a
proposal in the largest space that is shipped, by trials.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import zlib
from collections import deque
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers import missing
from tabulated import Table, channel_bench, digits, nas_bench_201, nas_bench_macro

import nas.surrogate
from nas.graph.cost import Cost, cost
from nas.pareto import hypervolume
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.study.history import History
from nas.study.trial import Proposal, Trial
from nas.training.latency import Latency

MARKS = (25, 30, 50, 100, 150, 200, 500)
LARGE = "all_modules"
SEARCHERS = "hypervolume,evolution,random,local,optuna:tpe,optuna:nsgaii,optuna:gp,qnehvi"
PERCENT = ("accuracy", "noisy", "noisy, expected")
"""Protocols whose figures are in per cent; the others are shares."""


class Job(NamedTuple):
    file: str
    searcher: str
    protocol: str
    seed: int
    queries: int
    workers: int = 1

    @property
    def objectives(self) -> tuple[str, ...]:
        if self.protocol.startswith("latency"):
            return "error", "latency"
        return ("error", "flops") if self.protocol == "front" else ("error",)

    @property
    def marks(self) -> list[int]:
        return [mark for mark in MARKS if mark <= self.queries]


def load_table(name: str) -> Table:
    if name == "digits":
        return digits()
    if "channel" in name:
        return channel_bench(Path(name))
    return (nas_bench_macro if name.endswith(".json") else nas_bench_201)(Path(name))


def record(
    history: History, space: Any, proposal: Proposal, error: float, figures: Cost, **more: Any
) -> None:
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
        **more,
    )
    history.record(trial)


def one_run(job: Job) -> tuple[dict[str, list[float]], float]:
    """The figures after each of the marks, by protocol, and the milliseconds of processor time of a query."""
    table = TABLES.get(job.file) or TABLES.setdefault(job.file, load_table(job.file))
    history, space = History(job.objectives), table.space
    searcher, draws = make_searcher(job.searcher, job.objectives), np.random.default_rng([job.seed, 201])
    taken, training = 0.0, deque[Proposal]()
    for number in range(job.queries):
        start = time.process_time()
        proposal = propose(searcher, space, history, seed=job.seed, number=number, uniform_share=0.0)  # type: ignore[arg-type]
        taken += time.process_time() - start
        assert proposal is not None
        assert not history.seen(proposal.genotype.digest)
        history.mark_running(number, proposal.genotype.digest, proposal.genotype)
        training.append(proposal)
        while len(training) >= job.workers or (training and number == job.queries - 1):
            train(table, job, history, training.popleft(), draws)
    return judged(table, job, history.trials), 1e3 * taken / job.queries


def train(table: Table, job: Job, history: History, proposal: Proposal, draws: np.random.Generator) -> None:
    """Look up what the network comes to."""
    error, flops = table.measure(proposal.genotype)
    if job.protocol == "noisy":
        assert table.trainings
        error = float(draws.choice(table.trainings(proposal.genotype)))
    more = {}
    if job.protocol.startswith("latency"):
        seconds = latency(table, proposal.genotype, job.protocol)
        more = {"latency": Latency(seconds, seconds, seconds, 1, 1, 1, "device")}
    record(history, table.space, proposal, error, Cost(0, int(flops), 0, 0), **more)


def judged(table: Table, job: Job, trials: Any) -> dict[str, list[float]]:
    if job.protocol == "noisy":
        true = [100 * (1 - table.measure(trial.genotype)[0]) for trial in trials]
        seen, expected = [], []
        for mark in job.marks:
            seen.append(true[int(np.argmin([trial.error for trial in trials[:mark]]))])
            model = nas.surrogate.fit(trials[:mark], table.space.domains())
            assert model
            expected.append(true[int(np.argmin(model.predict(trials[:mark])[0]))])
        return {"noisy": seen, "noisy, expected": expected}
    points = [trial.values(("error", job.objectives[-1])) for trial in trials]
    parts = [points[:mark] for mark in job.marks]
    if job.protocol == "accuracy":
        return {job.protocol: [100 * (1 - min(part)[0]) for part in parts]}
    reference, volume = whole(table, job.protocol)
    return {job.protocol: [hypervolume(part, reference) / volume for part in parts]}


def latency(table: Table, genotype: Any, protocol: str) -> float:
    assert table.latency
    return table.latency(genotype, protocol.partition(":")[2])


def whole(table: Table, protocol: str) -> tuple[tuple[float, float], float]:
    """From where hypervolumes are measured, and that of the whole table."""
    if protocol == "front":
        return table.reference, table.volume
    if (table.title, protocol) not in WHOLE:
        genotypes = list(table.space.enumerate())
        points = [(table.measure(g)[0], latency(table, g, protocol)) for g in genotypes]
        reference = table.reference[0], 1.05 * max(seconds for _, seconds in points)
        WHOLE[table.title, protocol] = reference, hypervolume(points, reference)
    return WHOLE[table.title, protocol]


TABLES: dict[str, Table] = {}
WHOLE: dict[tuple[str, str], tuple[tuple[float, float], float]] = {}


def report(file: str, protocol: str, arguments: argparse.Namespace) -> None:
    table = TABLES.setdefault(file, load_table(file))
    if protocol == "noisy" and table.trainings is None:
        return
    if protocol.startswith("latency") and table.latency is None:
        return
    marks = Job(file, "", protocol, 0, arguments.queries).marks
    best = 100 * (1 - min(error for error, _ in table.points))
    print(f"\n{table.title}: {protocol}, {arguments.seeds} seeds; best accuracy of all {best:.2f}, ", end="")
    print(f"hypervolume from {table.reference[0]:.1%}, {table.reference[1] / 1e6:.3g} M\n")
    print("| searcher | " + " | ".join(map(str, marks)) + " | ms a query |")
    print("|" + "---|" * (len(marks) + 2))
    for name in arguments.searchers.split(","):
        if missing(name):
            print(f"| {name} | skipped: {missing(name)} is not installed |")
            continue
        jobs = [
            Job(file, name, protocol, seed, arguments.queries, arguments.workers)
            for seed in range(arguments.seeds)
        ]
        with get_context("fork").Pool(arguments.processes) as pool:
            figures, times = zip(*pool.map(one_run, jobs, chunksize=1), strict=True)
        for kind in figures[0]:
            values = np.array([figure[kind] for figure in figures])
            errors = (
                values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.zeros(len(marks))
            )
            shown = " | ".join(cell(kind, *pair) for pair in zip(values.mean(axis=0), errors, strict=True))
            print(f"| {name}{kind[len(protocol) :]} | {shown} | {np.mean(times):.1f} |", flush=True)


def cell(kind: str, mean: float, error: float) -> str:
    return f"{mean:.2f} ± {error:.2f}" if kind in PERCENT else f"{mean:.4f} ± {error:.4f}".replace("0.", ".")


def report_proposals(name: str, count: int) -> None:
    """A search of a large space whose error is made up, and the median time of its proposals."""
    space, objectives, times = load_space(LARGE), ("error", "flops"), []
    searcher, history = make_searcher(name, objectives), History(objectives)
    print(f"{LARGE}, {name}: milliseconds of processor time\n\n| trials | proposal, median | worst in 100 |")
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
        if (number + 1) in (100, 200, 1_000, 3_000, count):
            print(
                f"| {number + 1:,} | {statistics.median(times[-100:]):.2f} | {max(times[-100:]):.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tables", nargs="*", help="digits, or the file of a published table")
    parser.add_argument("--protocols", default="accuracy,front,noisy")
    parser.add_argument("--searchers", default=SEARCHERS)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--proposals", type=int, default=0)
    arguments = parser.parse_args()
    for file in arguments.tables:
        for protocol in arguments.protocols.split(","):
            report(file, protocol, arguments)
    if arguments.proposals:
        for name in arguments.searchers.split(","):
            report_proposals(name, arguments.proposals)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
