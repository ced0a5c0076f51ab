"""Trains every network of tables/digits.yaml on the digits and writes tables/digits.csv.

    python benchmarks/digits_table.py [--processes 2]

The table is what benchmarks/searchers.py looks up instead of training: a row for each distinct
network, with its digest, its validation error (575 images) and its modules. Four epochs, one
seed, one thread; a training that diverges counts as guessing. What the file has already is not
trained again. The whole takes about five minutes of an idle machine with two cores.
"""

import argparse
import csv
import os
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from nas.data import Dataset, load_data
from nas.evaluation import Task, train_candidate
from nas.genotype import Genotype
from nas.recipe import WORKER_ENVIRONMENT, default_recipe
from nas.space import load_space

FOLDER = Path(__file__).parent / "tables"
SPACE = load_space(FOLDER / "digits.yaml")
TABLE = FOLDER / "digits.csv"
COLUMNS = ("digest", "error", "network")
EPOCHS = 4
GUESSING = 0.9


@cache
def digits() -> Dataset:
    import torch

    torch.set_num_threads(1)
    return load_data("digits")


def row(genotype: Genotype) -> tuple[str, float, str]:
    recipe = replace(default_recipe(digits(), EPOCHS), precision="float32")
    result = train_candidate(Task(0, genotype, seed=0), digits(), recipe)
    if result.state == "failed" and result.reason != "diverged":
        raise RuntimeError(f"{genotype}: {result.message}")
    return genotype.digest, GUESSING if result.error is None else result.error, str(genotype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    os.environ.update(WORKER_ENVIRONMENT)
    known = {}
    fresh = not TABLE.exists()
    if not fresh:
        with TABLE.open(newline="") as file:
            known = {line["digest"]: line for line in csv.DictReader(file)}
    left = {g.digest: g for g in SPACE.enumerate() if g.digest not in known}
    with TABLE.open("a", newline="") as file, get_context("spawn").Pool(arguments.processes) as pool:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(COLUMNS)
        for digest, error, network in pool.imap_unordered(row, left.values()):
            writer.writerow((digest, f"{error:.5f}", network))
            file.flush()


if __name__ == "__main__":
    main()
