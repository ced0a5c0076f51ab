"""Successive halving against training every network fully: compute to reach the same front.

    python benchmarks/multi_fidelity.py [--made-up] [--trials 144] [--fidelity 1,3,9] [--seeds 24]

For each searcher and seed two searches are run: one trains `--trials` networks up to the last rung, the
other halves, over twice as many candidates. Compute is counted, not timed: FLOPs of the network x
epochs, summed over all that was trained. The figure is the compute after which the complete networks of a
search reach a share of the hypervolume that the full search ends with. Besides: the rank correlation of the
errors at two rungs over all networks, and what a halving would take that knew the front of the full search
beforehand.

The errors are those of tables/cifar.csv, in which every network of a small space was trained for real
(train_table.py), with a cycle of the rate up to each rung; so a network has the same error in either search,
as it would have if each trained it. With `--made-up` they are those of made-up learning curves in a larger
space, in which a network has a final error that its FLOPs and decisions explain but for a part, larger ones
learn more slowly, and every epoch has its noise: to choose a rule on others than those it is judged by.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tabulated import CIFAR, read_errors

from nas.complexity import cost
from nas.controller import run_search
from nas.data import Dataset
from nas.evaluation import LocalEvaluator, OnEpoch, Part, Result, Task
from nas.fidelity import Halving, expected_epochs
from nas.genotype import Genotype, expand
from nas.history import History
from nas.pareto import front, hypervolume_history, reference_point
from nas.progress import Event, Progress
from nas.recipe import Recipe, staged
from nas.rungs import Rungs
from nas.searchers import make_searcher
from nas.space import SearchSpace, load_space, parse_space
from nas.statistics import rank_correlation
from nas.trial import Trial

OBJECTIVES = ("error", "flops")
SHARES = (0.9, 0.95, 0.99, 1.0)
CANDIDATES = 2
"""Candidates of the search that halves, as a multiple of the other's."""
PART = 1 / 3
"""Of the compute of the full search, after which the two are compared."""
IMAGES = 4000
"""Images of validation, of which the halving knows how exact an error is."""
WIDE = """
name: wide_range
description: Plain and residual blocks over a range of two orders of magnitude in FLOPs.
vary: block
input: 3x16x16
stem: {type: conv, width: [4, 8, 16]}
modules:
  plain: {}
  residual: {shortcut: [A, B]}
stages:
  - {depth: [1, 2], width: [4, 8, 16]}
  - {depth: [1, 2], width: [4, 8, 16, 32, 64], stride: 2}
  - {depth: [1, 2], width: [8, 16, 32, 64, 128], stride: 2}
head: {type: pool}
"""

Curve = Callable[[Genotype], Sequence[float]]
"""The errors of a network after each epoch."""


@dataclass(frozen=True)
class Job:
    searcher: str
    seed: int
    trials: int
    rungs: tuple[int, ...]
    halves: bool
    made_up: bool


@dataclass(frozen=True)
class Found:
    """points: (compute so far, error, FLOPs) of each complete trial, as they came; curves: the errors
    of each after every epoch; compute: of the whole search; states: how many came to each rung."""

    points: list[tuple[float, float, float]]
    curves: list[list[float]]
    compute: float
    states: dict[int, int]


def search(job: Job) -> Found:
    """One search in this process, one candidate at a time, so that it is the same every time."""
    space, curve = made_up(job.seed, job.rungs[-1]) if job.made_up else table()
    history, spent, points = History(OBJECTIVES), [0.0], []

    def on_event(event: Event) -> None:
        if event.kind == "epoch":
            spent[0] += event.cost.flops

    def on_trial(trial: Trial, progress: Progress) -> None:
        if trial.complete and trial.error is not None:
            points.append((spent[0], trial.error, float(trial.flops)))

    recipe = staged(Recipe(epochs=job.rungs[-1]), job.rungs)
    nothing = np.zeros((0, *space.input_shape), np.uint8), np.zeros(0, np.int64)
    dataset = Dataset("none", ("none",), *nothing, *nothing, load_test=lambda: NotImplemented)
    with tempfile.TemporaryDirectory() as folder:
        run_search(
            history,
            space,
            make_searcher(job.searcher, OBJECTIVES),
            LocalEvaluator(dataset, recipe, trainer=partial(looked_up, curve)),
            trials=job.trials * (CANDIDATES if job.halves else 1),
            seed=job.seed,
            epochs=recipe.epochs,
            rungs=Rungs(Halving(job.rungs, IMAGES), Path(folder), history, space) if job.halves else None,
            on_trial=on_trial,
            on_event=on_event,
        )
    came = {rung: sum(len(trial.curve) >= rung for trial in history.trials) for rung in job.rungs}
    curves = [[row["val_error"] for row in trial.curve] for trial in history.complete]
    return Found(points, curves, spent[0], came)


def looked_up(
    curve: Curve, task: Task, _: Dataset, recipe: Recipe, device: str, on_epoch: OnEpoch, on_batch: object
) -> Result:
    """In place of a training: the errors of a curve."""
    part, rows = task.part or Part(0, recipe.epochs), []
    errors = curve(task.genotype)
    for epoch in range(part.done + 1, part.until + 1):
        rows.append({"epoch": epoch, "val_error": errors[epoch - 1]})
        on_epoch(task.number, rows[-1])
    complete = part.until == recipe.epochs
    return Result(
        task.number,
        "complete" if complete else "stopped",
        error=rows[-1]["val_error"],
        curve=tuple(rows),
        checkpoint=None if complete else b"nothing",
    )


@cache
def table() -> tuple[SearchSpace, Curve]:
    errors = read_errors(CIFAR)
    return load_space(CIFAR), lambda genotype: errors[genotype.digest]


def made_up(seed: int, epochs: int) -> tuple[SearchSpace, Curve]:
    space = parse_space(WIDE, "WIDE")

    def normal(*key: object) -> float:
        return float(np.random.default_rng(zlib.crc32(repr((seed, *key)).encode())).normal())

    def curve(genotype: Genotype) -> list[float]:
        graph = expand(genotype, space.input_shape, space.num_classes)
        decisions = space.decisions(genotype)
        size = np.log2(cost(graph).flops / 2e4) / 8  # from 0 to little more than 1 in this space
        explained = sum(normal(path, option) for path, option in decisions.items()) / len(decisions) ** 0.5
        final = 0.8 - 0.3 * min(size, 1.2) + 0.03 * explained + 0.015 * normal(graph.digest)
        slow = [(1 - np.log(epoch) / np.log(epochs)) * (0.06 + 0.12 * size) for epoch in range(1, epochs + 1)]
        noise = [0.02 * normal(graph.digest, epoch) for epoch in range(epochs)]
        return [float(np.clip(final + a + b, 0.02, 0.95)) for a, b in zip(slow, noise, strict=True)]

    return space, curve


def compute_to(points: Sequence[tuple[float, float, float]], volumes: Any, target: float) -> float:
    """Compute after which a search has reached a hypervolume; NaN where it never does."""
    reached = np.flatnonzero(np.asarray(volumes) >= target * (1 - 1e-12))
    return points[reached[0]][0] if len(reached) else float("nan")


def volumes_of(full: Found, halved: Found) -> list[Any]:
    """The hypervolume of either after each of its points."""
    corner = reference_point([point[1:] for point in full.points])
    return [hypervolume_history([point[1:] for point in each.points], corner) for each in (full, halved)]


def compared(full: Found, halved: Found, volumes: Sequence[Any]) -> dict[float, tuple[float, float]]:
    """For each share of the hypervolume that the full search ends with, the compute of either."""
    return {
        share: (
            compute_to(full.points, volumes[0], share * volumes[0][-1]),
            compute_to(halved.points, volumes[1], share * volumes[0][-1]),
        )
        for share in SHARES
    }


def after_part(full: Found, halved: Found, volumes: Sequence[Any]) -> tuple[float, float]:
    """The hypervolume of either after PART of the compute of the full search, to that of its end."""
    done = [sum(spent <= PART * full.compute for spent, *_ in each.points) for each in (full, halved)]
    shares = [float(each[count - 1]) if count else 0.0 for each, count in zip(volumes, done, strict=True)]
    return shares[0] / volumes[0][-1], shares[1] / volumes[0][-1]


def foresight(full: Found, rungs: Sequence[int]) -> float:
    """How many times less a halving would take that promotes its share at each rung but trains the front of
    the full search alone to the end."""
    spent, errors, flops = np.array(full.points).T
    members = front(np.column_stack([errors, flops]))
    each = np.diff(spent, prepend=0.0)[: members.max() + 1]
    others = expected_epochs(rungs[:-1]) / rungs[-1]
    takes = np.where(np.isin(np.arange(len(each)), members), 1.0, others)
    return float(each.sum() / (each @ takes))


def show_compute(
    found: Mapping[tuple[str, int], tuple[Found, Found]], rungs: Sequence[int]
) -> dict[str, Any]:
    ratios: dict[str, list[float]] = {}
    notes = []
    print("\n| searcher | share of the hypervolume | full | halving | times less, median | reached |")
    print("|---|---|---|---|---|---|")
    for searcher in dict.fromkeys(name for name, _ in found):
        pairs = [pair for (name, _), pair in found.items() if name == searcher]
        volumes = [volumes_of(*pair) for pair in pairs]
        computes = [compared(*pair, each) for pair, each in zip(pairs, volumes, strict=True)]
        for share in SHARES:
            spent = np.array([compute[share] for compute in computes])
            known = np.isfinite(spent[:, 1])
            each = np.where(known, spent[:, 0] / spent[:, 1], 0.0)  # never reached: no times less
            ratios[f"{searcher} {share:.0%}"] = each.tolist()
            means = [f"{mean:.3g}" for mean in spent[known].mean(axis=0)] if known.any() else ["", ""]
            reached = f"{known.sum()} of {len(pairs)}"
            print(f"| {searcher} | {share:.0%} | {' | '.join(means)} | {np.median(each):.2f} | {reached} |")
        ratios[f"{searcher} foresight"] = [foresight(full, rungs) for full, _ in pairs]
        took = np.mean([halved.compute / full.compute for full, halved in pairs])
        came = [f"{np.mean([halved.states[rung] for _, halved in pairs]):.0f} to {rung}" for rung in rungs]
        less = np.median(ratios[f"{searcher} foresight"])
        parts = np.mean([after_part(*p, each) for p, each in zip(pairs, volumes, strict=True)], axis=0)
        ratios[f"{searcher} after a third, full and halving"] = parts.tolist()
        notes += [
            f"\n{searcher}: halving took {took:.2f} of the compute in all; networks that came to each number",
            f"of epochs: {', '.join(came)}. To know the front beforehand would take {less:.2f} times less.",
            f"After a third of the compute it had {parts[1]:.1%} of the hypervolume, full {parts[0]:.1%}.",
        ]
    print("\n".join(notes))
    return {"times_less": ratios}


def show_ranks(fulls: Sequence[Found], rungs: Sequence[int]) -> dict[str, Any]:
    curves = np.unique([curve for full in fulls for curve in full.curves], axis=0)  # each network once
    print(f"\n| epochs | rank correlation, {len(curves)} networks trained fully |")
    print("|---|---|")
    ranks = {}
    for short, long in combinations(rungs, 2):
        x, y = curves[:, short - 1], curves[:, long - 1]
        rho, low, high = rank_correlation(x, y, 1000, np.random.default_rng(0))
        ranks[f"{short} and {long}"] = [rho, low, high]
        print(f"| {short} and {long} | {rho:.2f} [{low:.2f}, {high:.2f}] |")
    return {"rank_correlation": ranks, "networks": len(curves)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=144, help="networks that the full search trains")
    parser.add_argument("--fidelity", default="1,3,9")
    parser.add_argument("--searchers", default="random,evolution")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--made-up", action="store_true", help="errors from made-up learning curves")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    rungs = tuple(map(int, options.fidelity.split(",")))
    kinds = [(name, seed) for name in options.searchers.split(",") for seed in range(options.seeds)]
    jobs = [
        Job(*kind, options.trials, rungs, halves, options.made_up)
        for kind in kinds
        for halves in (False, True)
    ]
    with get_context("spawn").Pool(options.processes) as pool:
        results = pool.map(search, jobs, chunksize=1)
    pairs = dict(zip(kinds, zip(results[::2], results[1::2], strict=True), strict=True))
    figures = show_compute(pairs, rungs) | show_ranks([full for full, _ in pairs.values()], rungs)
    print(json.dumps(figures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
