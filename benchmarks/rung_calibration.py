"""How often the intervals hold in which the model expects the errors at the last rung, from earlier ones.

    python benchmarks/rung_calibration.py [--seeds 6] [--counts 30,60,120]

So many networks of tables/cifar.csv, drawn at random, come to the first of the rungs 1, 3 and 9. Of each
fifth by FLOPs the share with the lowest errors goes on. The figures are of the others, by the last rung they
came to, and of up to 300 networks that were not trained: how often intervals of 80 and 95 % hold
the error at the last rung, the rank correlation of expected and measured errors, and that of the error at
the rung.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
from luck import cifar
from scipy.stats import spearmanr

from nas.graph.cost import cost
from nas.pareto import Floats
from nas.space.genotype import expand
from nas.surrogate.rung_model import RungModel

RUNGS = (1, 3, 9)
BANDS, OTHERS = 5, 300
WIDTHS = (1.282, 1.960)


def networks() -> tuple[list[Any], Any]:
    """All networks of the table, each once, and the options of its space."""
    space, lookup = cifar()
    found = []
    for number, genotype in enumerate({each.digest: each for each in space.enumerate()}.values()):
        flops = cost(expand(genotype, space.input_shape, space.num_classes)).flops
        errors = lookup(genotype).errors
        found.append(
            SimpleNamespace(number=number, decisions=space.decisions(genotype), flops=flops, errors=errors)
        )
    return found, space.domains()


def reached(started: list[Any]) -> list[int]:
    """The epochs that each network comes to."""
    epochs, came = np.full(len(started), RUNGS[0]), list(range(len(started)))
    for now, later in pairwise(RUNGS):
        by_size = sorted(came, key=lambda i: started[i].flops)
        bands = np.array_split(by_size, max(1, min(BANDS, len(came) * now // later)))
        by_error = (sorted(band.tolist(), key=lambda i: started[i].errors[now - 1]) for band in bands)
        came = [i for band in by_error for i in band[: len(band) * now // later]]
        epochs[came] = later
    return [int(epoch) for epoch in epochs]


def result(item: Any, epochs: int) -> Any:
    """A network as it stood at a rung."""
    curve = [{"val_error": error} for error in item.errors[:epochs]]
    return SimpleNamespace(**vars(item), epochs=epochs, curve=curve)


def figures(items: list[Any], domains: Any, count: int, seed: int) -> Floats:
    """The figures, (rungs, 4): of networks not trained, of those at the first rung, at the second."""
    order = np.random.default_rng(seed).permutation(len(items))
    started = [items[i] for i in order[:count]]
    fresh = [items[i] for i in order[count : count + OTHERS]]
    epochs = reached(started)
    rungs = [(rung, i) for i in range(count) for rung in RUNGS if rung <= epochs[i]]
    model = RungModel(RUNGS[-1], domains).fit([result(started[i], rung) for rung, i in rungs])
    rows = []
    for rung in (0, *RUNGS[:-1]):
        asked = (
            [item for item, epoch in zip(started, epochs, strict=True) if epoch == rung] if rung else fresh
        )
        mean, spread = model.predict_end(asked, [item.number for item in asked], noisy=True)
        final = np.array([item.errors[-1] for item in asked])
        covered = [(np.abs(final - mean) < width * spread).mean() for width in WIDTHS]
        at_rung = [item.errors[rung - 1] for item in asked] if rung else np.full(len(asked), np.nan)
        rows.append([*covered, spearmanr(mean, final).statistic, spearmanr(at_rung, final).statistic])
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--counts", default="30,60,120")
    arguments = parser.parse_args()
    items, domains = networks()
    print("| networks | came to | 80 % | 95 % | rank correlation | of the error at the rung |")
    print("|---|---|---|---|---|---|")
    for count in map(int, arguments.counts.split(",")):
        means = np.mean([figures(items, domains, count, seed) for seed in range(arguments.seeds)], axis=0)
        for rung, (first, second, ours, theirs) in zip((0, *RUNGS[:-1]), means, strict=True):
            print(
                f"| {count} | {rung} epochs | {first:.0%} | {second:.0%} | {ours:.2f} | {theirs:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
