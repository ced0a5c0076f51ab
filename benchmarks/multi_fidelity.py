"""Successive halving against training every network fully: compute to reach the same front.

    python benchmarks/multi_fidelity.py [--made-up] [--trials 144] [--fidelity 1,3,9] [--seeds 24]

For each searcher and seed two searches are run: one trains `--trials` networks up to the last rung, the
other halves, over twice as many candidates. Compute is counted, not timed: FLOPs of the network x
epochs, summed over all that was trained. A search stands where the front of its complete networks stands,
which it chose by their errors of validation; its hypervolume is that of errors which it does not see. Of as
many networks as a search trains the best are also the luckiest, and luck is worth nothing to who trains them
anew. So there is a table for each of

anew        the test errors to be expected of another training of these networks (luck.py)
test        those of the very training, with luck in its first weights and the order of its images
validation  the errors that the search chose by, with luck in the images of validation too

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from multiprocessing import get_context
from typing import Any

import numpy as np
from simulated import JUDGES, Found, Job, search

from nas.pareto import Floats, hypervolume, reference_point
from nas.schedulers import expected_epochs
from nas.stats.resampling import rank_correlation

SHARES = (0.9, 0.95, 0.99, 1.0)
PART = 1 / 3
"""Of the compute of the full search, after which the two are compared."""


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
    print(f"\njudged by: {judge}\n")
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
    parser.add_argument("--own-share", type=float, help="in place of the one that luck.py measures")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    rungs = tuple(map(int, options.fidelity.split(",")))
    kinds = [(name, seed) for name in options.searchers.split(",") for seed in range(options.seeds)]
    jobs = [
        Job(*kind, options.trials, rungs, halves, options.made_up, options.own_share)
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
