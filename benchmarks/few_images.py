"""Expected errors where few validation images make a measured error luck, against the errors of a table.

    python benchmarks/few_images.py digits TABLES/nas-bench-201_cifar10.csv [--images 100,1000]
        [--counts 12,60] [--repeats 12]

Networks of a table are drawn at random; the error of each is counted on so many images, a binomial draw
about its error in the table, which is the truth. Printed of a model that does not know the number of images
and of one that does: how often intervals of 95 % hold the truth, of all networks and of those on the front by
expected errors; the root mean square error of expected errors, as a multiple of that of measured ones; and of
the networks that are on the front with a probability above 95 %, how many are on the true front.

benchmarks/second_trainings.py asks the same of networks that were trained twice.
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import numpy as np
from searchers import load_table

import nas.surrogate
from nas.pareto import front
from nas.study.expected import HALF, SURE, memberships

DRAWN = 600
"""Draws from a table that the networks are taken from."""


def networks(name: str) -> list[Any]:
    """Different networks of a table, drawn at random."""
    table, rng = load_table(name), np.random.default_rng(0)
    drawn = {genotype.digest: genotype for genotype in (table.space.sample(rng) for _ in range(DRAWN))}
    figures = ((genotype, table.measure(genotype)) for genotype in drawn.values())
    return [
        SimpleNamespace(decisions=table.space.decisions(genotype), error=error, flops=int(flops))  # type: ignore[arg-type]
        for genotype, (error, flops) in figures
    ]


def judged(pool: list[Any], count: int, images: int, seed: int) -> dict[str, list[float]]:
    """The figures of both models on one sample; numbers of sure and right places come last."""
    rng = np.random.default_rng([seed, count, images])
    chosen = [pool[i] for i in rng.permutation(len(pool))[:count]]
    truth, flops = np.array([(item.error, item.flops) for item in chosen], float).T
    measured = rng.binomial(images, truth) / images
    seen = [SimpleNamespace(**{**vars(item), "error": e}) for item, e in zip(chosen, measured, strict=True)]
    on_front = np.isin(np.arange(count), front(np.column_stack([truth, flops])))
    found = {}
    for name, known in (("unknown", None), ("known", images)):
        model = nas.surrogate.fit(seen, images=known)
        assert model
        mean, sd = model.predict(seen)
        points = np.column_stack([mean, flops])
        held, sure = np.abs(truth - mean) <= HALF * sd, memberships(points, sd) > SURE
        gain = ((mean - truth) ** 2).mean() / max(((measured - truth) ** 2).mean(), 1e-12)
        found[name] = [held.mean(), held[front(points)].mean(), gain, sure.sum(), on_front[sure].sum()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--images", default="100,1000")
    parser.add_argument("--counts", default="12,60")
    parser.add_argument("--repeats", type=int, default=12)
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    print("| table | images | networks | model | held | on the front | rms error | sure and right |")
    print("|---|---|---|---|---|---|---|---|")
    for table in options.tables:
        pool = networks(table)
        for images in map(int, options.images.split(",")):
            for count in counts:
                samples = [judged(pool, count, images, seed) for seed in range(options.repeats)]
                for name in samples[0]:
                    held, near, gain, sure, right = np.array([sample[name] for sample in samples]).T
                    print(
                        f"| {table} | {images:,} | {count} | {name} | {held.mean():.0%} | {near.mean():.0%} "
                        f"| {np.sqrt(gain.mean()):.2f} | {right.sum():.0f} of {sure.sum():.0f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
