"""Trains every network of a small space and writes its table of errors.

    python benchmarks/train_table.py digits
    python benchmarks/train_table.py cifar --data 'parquet:PATH?size=16' [--again 160]

The space is tables/NAME.yaml, the table tables/NAME.csv, which other benchmarks look up instead of
training: a row for each distinct network, with its digest, its validation errors, that on the test images
and its modules. One seed, one thread; a training that diverges counts as guessing. What the file has
already is not trained again. With `--again` so many of the networks, drawn at random, are trained once more,
with another seed, and their rows are in tables/NAME_again.csv: what an error owes to luck.

digits: 575 validation images, four epochs, of which the last is kept; five minutes of two cores.
cifar: PATH is a folder with CIFAR-10 in the Hugging Face layout, of which 3,000 images are trained on and
4,000 validate, brought to 16 x 16; nine epochs, all of them kept, with a cycle of the rate up to each of the
rungs 1, 3 and 9; two hours of two cores.
"""

import argparse
import csv
import os
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load
from tabulated import Row, read_rows

from nas.codegen.build import build
from nas.data import Dataset, load_data
from nas.space.genotype import Genotype
from nas.space.load import load_space
from nas.training.candidate import train_candidate
from nas.training.loop import evaluate
from nas.training.recipe import WORKER_ENVIRONMENT, default_recipe, staged
from nas.training.task import Task

FOLDER = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Setting:
    """images: of training and of validation, all where None; rungs: epochs, the last of them of the whole
    training; kept: epochs whose validation error is written, the last ones."""

    images: tuple[int, int] | None
    rungs: tuple[int, ...]
    kept: int


SETTINGS = {"digits": Setting(None, (4,), 1), "cifar": Setting((3000, 4000), (1, 3, 9), 9)}


class Job(NamedTuple):
    """restarts: whether the rate has a cycle up to each rung, and not one in all."""

    name: str
    data: str
    genotype: Genotype
    restarts: bool = True
    seed: int = 0


@cache
def dataset_of(name: str, data: str) -> Dataset:
    torch.set_num_threads(1)
    whole, images = load_data(data), SETTINGS[name].images
    return whole.first(*images) if images else whole


def train_row(job: Job) -> Row:
    setting, dataset = SETTINGS[job.name], dataset_of(job.name, job.data)
    epochs = setting.rungs[-1]
    recipe = replace(default_recipe(dataset, epochs), precision="float32")
    recipe = staged(recipe, setting.rungs) if job.restarts else recipe
    result = train_candidate(Task(0, job.genotype, job.seed), dataset, recipe)
    if result.state == "failed" and result.reason != "diverged":
        raise RuntimeError(f"{job.genotype}: {result.message}")
    guessing = 1 - 1 / dataset.num_classes
    errors = [row["val_error"] for row in result.curve]
    errors += [guessing] * (epochs - len(errors))
    test_error = error_on_test(job.genotype, result.weights, dataset) if result.weights else guessing
    return Row(job.genotype.digest, errors[-setting.kept :], test_error, str(job.genotype))


def error_on_test(genotype: Genotype, weights: bytes, dataset: Dataset) -> float:
    network = build(genotype, dataset.input_shape, dataset.num_classes)
    network.load_state_dict(load(weights))
    return evaluate(network, *dataset.test(), dataset).error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=tuple(SETTINGS))
    parser.add_argument("--data", default="digits", help="as of nas search --data")
    parser.add_argument("--again", type=int, help="how many networks to train with another seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    os.environ.update(WORKER_ENVIRONMENT)  # of the processes to come: an allocator reads it when it starts
    space = load_space(FOLDER / f"{options.name}.yaml")
    networks = list({each.digest: each for each in space.enumerate()}.values())
    table, seed = FOLDER / f"{options.name}.csv", 0
    if options.again:
        table, seed = FOLDER / f"{options.name}_again.csv", 1
        drawn = np.random.default_rng(0).permutation(len(networks))[: options.again]
        networks = [networks[at] for at in drawn]
    known = read_rows(table)
    jobs = [Job(options.name, options.data, each, seed=seed) for each in networks if each.digest not in known]
    with table.open("a", newline="") as file, get_context("spawn").Pool(options.processes) as pool:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(Row._fields)
        for row in pool.imap_unordered(train_row, jobs):
            errors = " ".join(f"{error:.5f}" for error in row.errors)
            writer.writerow(row._replace(errors=errors, test_error=f"{row.test_error:.5f}"))
            file.flush()


if __name__ == "__main__":
    main()
