"""Successive halving against training every network fully: compute to reach the same front.

    python benchmarks/multi_fidelity.py [--made-up] [--trials 144] [--fidelity 1,3,9] [--seeds 24]

For each searcher and seed two searches are run: one trains `--trials` networks up to the last rung, the
other halves, over twice as many candidates. Compute is counted, not timed: FLOPs of the network x
epochs, summed over all that was trained. A search stands where the front of its complete networks stands,
which it chose by their errors of validation; its hypervolume is that of their errors on the test images,
which it does not see. Of as many networks as a search trains the best are also the luckiest on the images
it validates by, and that luck is worth nothing to who takes the front; a second table counts it, by the
hypervolume of the errors of validation.

The figures are the compute after which a search reaches a share of the hypervolume that the full search ends
with: how many times less halving takes than the full search until it first is there, and than the whole
full search, as who runs it cannot know that it is there. Besides: the rank correlation of the errors at
two rungs over all networks, and what a halving would take that knew the front of the full search beforehand.

The errors are those of tables/cifar.csv, in which every network of a small space was trained for real
(train_table.py), with a cycle of the rate up to each rung; so a network has the same error in either search,
as it would have if each trained it. With `--made-up` they are those of made-up learning curves in a larger
space, in which a network has a final error that its FLOPs and decisions explain but for a part, larger ones
learn more slowly, and every epoch has its noise, which in place of test errors is left out: to choose a rule
on others than those it is judged by.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from made_up import made_up
from numpy.typing import NDArray
from tabulated import Lookup, cifar

from nas.controller import run_search
from nas.data import Dataset
from nas.evaluation import OnEpoch, Part, Result, Task
from nas.fidelity import Halving, expected_epochs
from nas.history import History
from nas.local_evaluation import LocalEvaluator
from nas.pareto import Floats, front, hypervolume, reference_point
from nas.progress import Event, Progress
from nas.recipe import Recipe, staged
from nas.rungs import Rungs
from nas.searchers import make_searcher
from nas.statistics import rank_correlation
from nas.trial import Trial

OBJECTIVES = ("error", "flops")
SHARES = (0.9, 0.95, 0.99, 1.0)
CANDIDATES = 2
"""Candidates of the search that halves, as a multiple of the other's."""
PART = 1 / 3
"""Of the compute of the full search, after which the two are compared."""
JUDGES = ("test", "validation")
"""The errors that hypervolumes are of."""
IMAGES = 4000
"""Images of validation, of which the halving knows how exact an error is."""


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
    """spent: the compute when each complete trial came; flops: of each; errors: of each, (trials, 2) as in
    JUDGES; curves: the errors of each after every epoch; networks: their digests; compute: of the whole
    search; epochs: to how many each network came that was tried."""

    spent: Floats
    flops: Floats
    errors: Floats
    curves: Floats
    networks: Sequence[str]
    compute: float
    epochs: Mapping[str, int]

    def points(self, judge: str) -> Floats:
        """Error and FLOPs of each complete trial, (trials, 2)."""
        return np.column_stack([self.errors[:, JUDGES.index(judge)], self.flops])

    def front(self, trials: int | None = None) -> NDArray[np.intp]:
        """Those of the first complete trials, all where None, that a search would hand over."""
        return front(self.points("validation")[:trials])


def search(job: Job) -> Found:
    """One search in this process, one candidate at a time, so that it is the same every time."""
    space, lookup = made_up(job.seed, job.rungs[-1]) if job.made_up else cifar()
    history, compute, spent = History(OBJECTIVES), [0.0], []

    def on_event(event: Event) -> None:
        if event.kind == "epoch":
            compute[0] += event.cost.flops

    def on_trial(trial: Trial, progress: Progress) -> None:
        if trial.complete:
            spent.append((compute[0], trial))

    recipe = staged(Recipe(epochs=job.rungs[-1]), job.rungs)
    nothing = np.zeros((0, *space.input_shape), np.uint8), np.zeros(0, np.int64)
    dataset = Dataset("none", ("none",), *nothing, *nothing, load_test=lambda: NotImplemented)
    with tempfile.TemporaryDirectory() as folder:
        run_search(
            history,
            space,
            make_searcher(job.searcher, OBJECTIVES),
            LocalEvaluator(dataset, recipe, trainer=partial(looked_up, lookup)),
            trials=job.trials * (CANDIDATES if job.halves else 1),
            seed=job.seed,
            epochs=recipe.epochs,
            rungs=Rungs(Halving(job.rungs, IMAGES), Path(folder), history, space) if job.halves else None,
            on_trial=on_trial,
            on_event=on_event,
        )
    rows = [lookup(trial.genotype) for _, trial in spent]
    return Found(
        np.array([at for at, _ in spent]),
        np.array([float(trial.flops) for _, trial in spent]),
        np.array([(row.test_error, row.errors[-1]) for row in rows]),
        np.array([row.errors for row in rows]),
        [row.digest for row in rows],
        compute[0],
        {trial.digest: len(trial.curve) for trial in history.trials},
    )


def looked_up(
    lookup: Lookup, task: Task, _: Dataset, recipe: Recipe, device: str, on_epoch: OnEpoch, on_batch: object
) -> Result:
    """In place of a training: the errors of a curve."""
    part, rows = task.part or Part(0, recipe.epochs), []
    errors = lookup(task.genotype).errors
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


def volumes_of(found: Found, judge: str, corner: Floats) -> Floats:
    """The hypervolume after each complete trial, of the front by the errors of validation."""
    points, counts = found.points(judge), range(1, len(found.flops) + 1)
    return np.array([hypervolume(points[found.front(count)], corner) for count in counts])


@dataclass(frozen=True)
class Pair:
    """A full search and one that halves, and the hypervolume of either after each of its trials."""

    full: Found
    halved: Found
    volumes: tuple[Floats, Floats]

    def computes(self, share: float) -> tuple[float, float]:
        """The compute after which either has a share of what the full search ends with; NaN: never."""
        target = share * self.volumes[0][-1] * (1 - 1e-12)
        reached = [np.flatnonzero(volumes >= target) for volumes in self.volumes]
        spent = zip((self.full, self.halved), reached, strict=True)
        first, second = (float(found.spent[at[0]]) if len(at) else float("nan") for found, at in spent)
        return first, second

    def after_part(self) -> tuple[float, float]:
        """The hypervolume of either after PART of the compute of the full search, to that of its end."""
        searches = zip((self.full, self.halved), self.volumes, strict=True)
        full, halved = (
            np.append(0.0, volumes)[(found.spent <= PART * self.full.compute).sum()]
            for found, volumes in searches
        )
        return float(full / self.volumes[0][-1]), float(halved / self.volumes[0][-1])


def judged(full: Found, halved: Found, judge: str) -> Pair:
    corner = reference_point(full.points(judge))
    return Pair(full, halved, (volumes_of(full, judge, corner), volumes_of(halved, judge, corner)))


def foresight(full: Found, rungs: Sequence[int]) -> float:
    """How many times less a halving would take that promotes its share at each rung but trains the front of
    the full search alone to the end."""
    members = full.front()
    each = np.diff(full.spent, prepend=0.0)[: members.max() + 1]
    others = expected_epochs(rungs[:-1]) / rungs[-1]
    takes = np.where(np.isin(np.arange(len(each)), members), 1.0, others)
    return float(each.sum() / (each @ takes))


def show_compute(pairs: Mapping[str, Sequence[Pair]], judge: str) -> dict[str, Any]:
    """A table for a judge; the ratios by searcher and share."""
    figures: dict[str, Any] = {}
    print(f"\nby the errors of {judge}\n")
    print("| searcher | share of the hypervolume | times less, median | than the whole search | reached |")
    print("|---|---|---|---|---|")
    for searcher, of_searcher in pairs.items():
        for share in SHARES:
            spent = np.array([pair.computes(share) for pair in of_searcher])
            whole = np.array([pair.full.compute for pair in of_searcher])
            ratios = np.nan_to_num([spent[:, 0] / spent[:, 1], whole / spent[:, 1]])  # never: no times less
            figures[f"{searcher} {share:.0%}"] = ratios.tolist()
            first, second = (f"{median:.2f}" for median in np.median(ratios, axis=1))
            reached = f"{np.isfinite(spent[:, 1]).sum()} of {len(of_searcher)}"
            print(f"| {searcher} | {share:.0%} | {first} | {second} | {reached} |")
        parts = np.mean([pair.after_part() for pair in of_searcher], axis=0)
        figures[f"{searcher} after a third, full and halving"] = parts.tolist()
    for searcher in pairs:
        full, halving = figures[f"{searcher} after a third, full and halving"]
        print(f"\n{searcher}: after a third of the compute halving had {halving:.1%}, full {full:.1%}.")
    return {judge: figures}


def show_searches(pairs: Mapping[str, Sequence[Pair]], rungs: Sequence[int]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for searcher, of_searcher in pairs.items():
        took = np.mean([pair.halved.compute / pair.full.compute for pair in of_searcher])
        less = [foresight(pair.full, rungs) for pair in of_searcher]
        tried = [epochs for pair in of_searcher for epochs in pair.halved.epochs.values()]
        leading = [each for pair in of_searcher for each in epochs_of_front(pair)]
        print(
            f"\n{searcher}: halving took {took:.2f} of the compute in all. To know the front beforehand",
            f"would take {np.median(less):.2f} times less. How far it brought",
        )
        for what, epochs in {"a network": tried, "one of the front of the full search": leading}.items():
            shares = {rung: float(np.mean([each == rung for each in epochs])) for rung in (0, *rungs)}
            figures[f"{searcher}, {what}"] = shares
            told = [f"{share:.0%} to {rung}" for rung, share in shares.items() if share]
            print(f"  {what}: {', '.join(told)} epochs")
        figures[f"{searcher} foresight"] = less
    return figures


def epochs_of_front(pair: Pair) -> list[int]:
    """How far halving brought each network of the front of the full search, by validation; 0: not met."""
    return [pair.halved.epochs.get(pair.full.networks[each], 0) for each in pair.full.front()]


def show_ranks(fulls: Sequence[Found], rungs: Sequence[int]) -> dict[str, Any]:
    curves = np.unique(np.concatenate([full.curves for full in fulls]), axis=0)  # each network once
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
    found = dict(zip(kinds, zip(results[::2], results[1::2], strict=True), strict=True))
    figures: dict[str, Any] = {}
    for judge in JUDGES:
        pairs: dict[str, list[Pair]] = {}
        for (searcher, _), searches in found.items():
            pairs.setdefault(searcher, []).append(judged(*searches, judge))
        figures |= show_compute(pairs, judge)
    figures |= show_searches(pairs, rungs) | show_ranks([full for full, _ in found.values()], rungs)
    print(json.dumps(figures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
