"""Coverage of the paired intervals on published tables of trainings, with their real seeds.

    python benchmarks/claims_tables.py FOLDER_OF_TABLES [REPETITIONS]

takes one place of the networks of a table (a block of NAS-Bench-Macro, an edge of NAS-Bench-201, a stage of
Channel-Bench) as the module type and all other places as the context. Contexts are drawn at random, one
training of each network is read, and the 95 % intervals of `nas.analyze` are compared with the mean change
over all contexts and seeds. It prints the coverage by table, place and number of contexts, and the share
of the intervals that the analysis itself calls approximate. It exits with 1 where coverage is below 93 %, or
below 90 % where most intervals are called so.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

import nas
from nas.stats.resampling import Floats

CONTEXTS = (20, 50)
Table = Mapping[tuple[str, ...], Floats]
"""Errors of the trainings of a network by its choices, one per place."""


def nas_bench_macro(folder: Path) -> Table:
    """Eight blocks: identity, MB3 or MB6."""
    entries = json.loads((folder / "nas-bench-macro_cifar10.json").read_text())
    return {tuple(code): 1 - np.array(entry["test_acc"]) / 100 for code, entry in entries.items()}


def channel_bench(folder: Path) -> Table:
    """Seven stages of one of four widths."""
    entries = json.loads((folder / "channel-bench-macro_resnet.json").read_text())
    return {tuple(code): 1 - np.array(entry["acc"]) / 100 for code, entry in entries.items()}


def nas_bench_201(folder: Path) -> Table:
    """Six edges with one of five operations."""
    with gzip.open(folder / "nas-bench-201_seeds_cifar10.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        parts = row["architecture"].replace("+", "").split("|")
        choices = tuple(part.split("~")[0] for part in parts if part)
        seeds = [row[f"val_acc_seed{at}"] for at in range(3)]
        found[choices] = 1 - np.array([float(value) for value in seeds if value]) / 100
    return found


def by_place(table: Table, place: int) -> tuple[list[str], list[dict[str, Floats]]]:
    """The types at a place, and for each context the trainings of each type."""
    contexts: dict[tuple[str, ...], dict[str, Floats]] = {}
    for choices, errors in table.items():
        contexts.setdefault(choices[:place] + choices[place + 1 :], {})[choices[place]] = errors
    types = sorted({choices[place] for choices in table})
    return types, [held for held in contexts.values() if len(held) == len(types)]


def covered(
    types: list[str], contexts: list[dict[str, Floats]], size: int, repetitions: int, place: int
) -> tuple[float, float]:
    """Coverage of all contrasts, and the share of them that are said to be approximate."""
    means = {kind: np.mean([held[kind].mean() for held in contexts]) for kind in types}
    hits, approximate = [], []
    for repetition in range(repetitions):
        rng = np.random.default_rng([place, size, repetition])
        drawn = rng.choice(len(contexts), size, replace=False)
        rows = [
            {"context": at, "type": kind, "error": rng.choice(contexts[at][kind])}
            for at in drawn
            for kind in types
        ]
        paired = nas.analyze(pd.DataFrame(rows), seed=repetition).paired
        assert paired is not None
        for c in paired.contrasts:
            hits.append(c.effect.low <= means[c.b] - means[c.a] <= c.effect.high)
            approximate.append(c.skewed)
    return float(np.mean(hits)), float(np.mean(approximate))


def main(folder: Path, repetitions: int) -> int:
    missed = 0
    readers = {
        "NAS-Bench-Macro": nas_bench_macro,
        "NAS-Bench-201": nas_bench_201,
        "Channel-Bench": channel_bench,
    }
    for name, read in readers.items():
        table = read(folder)
        for place in range(len(next(iter(table)))):
            types, contexts = by_place(table, place)
            for size in CONTEXTS:
                coverage, approximate = covered(types, contexts, size, repetitions, place)
                good = coverage >= (0.90 if approximate > 0.5 else 0.93)
                missed += not good
                pairs = len(list(combinations(types, 2)))
                figures = f"{pairs} contrasts, {size} contexts: {100 * coverage:.1f} %"
                end = "" if good else "  MISSED"
                said = f"{100 * approximate:.0f} % called approximate"
                print(f"{name}, place {place}, {figures}, {said}{end}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 400))
