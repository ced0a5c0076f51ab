"""How often the intervals of `nas.surrogate` hold, on tables of trained networks.

    python benchmarks/calibration.py digits TABLES/nas-bench-macro_cifar10.json
        TABLES/nas-bench-201_cifar10.csv [--seeds 10] [--counts 25,50,100,200]

The model is fitted to networks drawn at random and predicts up to a thousand others. Of each table and number
of networks: how often intervals of 80 and 95 % hold the error of a training, the rank correlation of expected
and measured errors, and the same of the nearest network by decisions, which any model has to beat.
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from searchers import load_table

import nas.surrogate
from nas.pareto import Floats

OTHERS = 1_000
WIDTHS = {0.8: 1.282, 0.95: 1.960}


def networks(name: str) -> tuple[list[Any], Any]:
    """All networks of a table, each once, with their errors; and the options of its space."""
    table = load_table(name)
    genotypes = list({genotype.digest: genotype for genotype in table.space.enumerate()}.values())
    trainings = []
    for genotype in genotypes:
        error, flops = table.measure(genotype)
        decisions = table.space.decisions(genotype)  # type: ignore[arg-type]
        trainings.append(SimpleNamespace(decisions=decisions, flops=int(flops), error=error))
    return trainings, table.space.domains()


def figures(trainings: list[Any], domains: Any, count: int, seed: int) -> list[float]:
    order = np.random.default_rng(seed).permutation(len(trainings))
    seen = [trainings[i] for i in order[:count]]
    others = [trainings[i] for i in order[count : count + OTHERS]]
    model = nas.surrogate.fit(seen, domains)
    assert model
    mean, spread = model.predict_training(others)
    errors = np.array([item.error for item in others])
    covered = [float((np.abs(errors - mean) < width * spread).mean()) for width in WIDTHS.values()]
    return [*covered, correlation(mean, errors), correlation(nearest(model, seen, others), errors)]


def nearest(model: nas.surrogate.ErrorModel, seen: list[Any], others: list[Any]) -> Floats:
    rows, asked = (
        model.encoder.encode([item.decisions for item in items], [item.flops for item in items])[:, :-1]
        for items in (seen, others)
    )
    distances = (rows**2).sum(axis=1) - 2 * asked @ rows.T
    return np.array([seen[i].error for i in distances.argmin(axis=1)])


def correlation(a: Floats, b: Floats) -> float:
    return float(spearmanr(a, b).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tables", nargs="+", help="digits, or the file of a published table")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--counts", default="25,50,100,200")
    arguments = parser.parse_args()
    print("| table | networks | 80 % | 95 % | rank correlation | of the nearest network |")
    print("|---|---|---|---|---|---|")
    for name in arguments.tables:
        trainings, domains = networks(name)
        for count in map(int, arguments.counts.split(",")):
            rows = [figures(trainings, domains, count, seed) for seed in range(arguments.seeds)]
            first, second, ours, theirs = np.mean(rows, axis=0)
            shown = f"{first:.0%} | {second:.0%} | {ours:.2f} | {theirs:.2f}"
            print(f"| {name.rpartition('/')[2]} | {count} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
