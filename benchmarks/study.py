"""Trains the study of module types (docs/studies/protocol.md) and analyses what is there.

    python benchmarks/study.py train NAME --data SPEC [--processes 2]
    python benchmarks/study.py analyze NAME

NAME is one of SETTINGS. `train` appends one row per training to results/published/module_types/NAME.csv, and
goes on where it stopped. One training of each network comes first, context by context, so that an unfinished
study is a smaller one; then second seeds, the longer schedule and the grid of recipes. `analyze` writes what
each budget allows to say beside it. study_page.py makes the tables and the picture of its pages.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from safetensors.torch import load

import nas
from nas.analysis.text.ranking import analysis_text
from nas.codegen.build import build
from nas.data import Dataset, load_data
from nas.errors import NasError
from nas.searchers.designs.base import Context
from nas.searchers.designs.flops_matching import at_flops
from nas.space.genotype import Genotype
from nas.space.load import load_space
from nas.space.space import SearchSpace
from nas.training.candidate import train_candidate
from nas.training.loop import evaluate
from nas.training.recipe import WORKER_ENVIRONMENT, default_recipe
from nas.training.task import Task

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "results" / "published" / "module_types"
TYPES = ("plain", "residual", "bottleneck", "resnext", "fractal")
TWIN, BARE = "residual_again", "residual_without_norm"
"""Negative control: the residual networks with other seeds. Positive control: the same without batch norm."""
CONTEXTS, REPEATED, LONGER, TUNED = 60, 10, 10, 10
"""Contexts in all; with a second seed; on the longer schedule; on the grid of recipes."""
EPOCHS, LONG_EPOCHS = 12, 48
RATES, DECAYS = (0.1, 0.2, 0.4), (5e-4 / 3, 5e-4, 15e-4)
PRECISION = "bfloat16"
"""Of all trainings, on whatever processor: rows in different precisions could not be compared."""
SEED, CONTEXT_STREAM = 2026, 11
SHOWN = 500
"""Validation images that are scored after each epoch; the error that counts is of all, after the last."""


@dataclass(frozen=True)
class Setting:
    """images: of training and validation, None for what the data have; budgets: FLOPs."""

    images: tuple[int, int] | None
    budgets: tuple[int, int, int]


SETTINGS = {
    "digits": Setting(None, (60_000, 200_000, 600_000)),
    "cifar10": Setting((2_000, 10_000), (500_000, 1_500_000, 4_500_000)),
    "cifar100": Setting((5_000, 10_000), (500_000, 1_500_000, 4_500_000)),
    "cifar10_small": Setting((20_000, 10_000), (125_000, 375_000, 1_125_000)),
}


class Job(NamedTuple):
    """One training. budget: FLOPs that the network was scaled to; 0 at the shape of the context."""

    name: str
    data: str
    context: int
    type: str
    budget: int
    genotype: Genotype
    seed: int
    epochs: int = EPOCHS
    lr: float = RATES[1]
    weight_decay: float = DECAYS[1]

    def key(self) -> tuple[str, ...]:
        """Return what tells this training from all others of its study."""
        figures = (self.context, self.type, self.budget, self.seed, self.epochs, self.lr, self.weight_decay)
        return tuple(map(str, figures))


KEY = ("context", "type", "budget", "seed", "epochs", "lr", "weight_decay")
COLUMNS = (*KEY, "error", "state", "reason", "flops", "params", "digest", "network")


@cache
def dataset_of(name: str, data: str) -> Dataset:
    torch.set_num_threads(1)
    whole, images = load_data(data), SETTINGS[name].images
    if images is None:
        return whole
    there = len(whole.train_images), len(whole.val_images)
    if any(have < needed for have, needed in zip(there, images, strict=True)):
        message = f"the study needs {images} training and validation images, and {there} are there"
        raise NasError(message, hint="set the share for validation, such as parquet:PATH?validation=0.4")
    return whole.first(*images)


Networks = dict[tuple[str, int], Genotype]
"""The networks of a context, by type and budget."""


def networks(space: SearchSpace, budgets: tuple[int, ...], context: Context) -> Networks | None:
    """Return the networks of a context by type and budget; None if one cannot be scaled to its budget."""
    found = {}
    for kind in (*TYPES, BARE):
        shaped = context.network("residual" if kind == BARE else kind)
        if kind == BARE:
            nodes = (replace(node, module=replace(node.module, norm="none")) for node in shaped.nodes)
            shaped = replace(shaped, nodes=tuple(nodes))
        found[kind, 0] = shaped
        for budget in budgets:
            scaled = at_flops(shaped, budget, space.input_shape, space.num_classes)
            if scaled is None:
                return None
            found[kind, budget] = scaled
    return found | {(TWIN, budget): found["residual", budget] for budget in (0, *budgets)}


def contexts(space: SearchSpace, budgets: tuple[int, ...]) -> Iterator[Networks]:
    """Yield contexts drawn at random, no two of the same networks."""
    seen = set()
    for attempt in count():
        drawn = networks(space, budgets, Context(space, TYPES, SEED, CONTEXT_STREAM, attempt))
        digests = drawn and tuple(genotype.digest for genotype in drawn.values())
        if drawn and digests not in seen:
            seen.add(digests)
            yield drawn


def jobs(name: str, data: str) -> Iterator[Job]:
    """Yield all trainings of a study."""
    dataset, budgets = dataset_of(name, data), SETTINGS[name].budgets
    space = load_space("five_types").with_input(dataset.input_shape, dataset.num_classes)
    by_context = [
        [Job(name, data, number, kind, budget, g, seed=0) for (kind, budget), g in drawn.items()]
        for number, drawn in zip(range(CONTEXTS), contexts(space, budgets), strict=False)
    ]
    for plain in by_context:
        yield from plain
    for number, plain in enumerate(by_context):
        judged = [job for job in plain if job.budget in (0, budgets[1])]
        if number < REPEATED:
            yield from (job._replace(seed=1) for job in plain)
        if number < LONGER:
            yield from (job._replace(epochs=LONG_EPOCHS) for job in judged)
        if number < TUNED:
            for rate, decay in ((r, d) for r in RATES for d in DECAYS if (r, d) != (RATES[1], DECAYS[1])):
                yield from (job._replace(lr=rate, weight_decay=decay) for job in judged)


def train_row(job: Job) -> dict[str, Any]:
    """Train one network, and score it on all validation images."""
    dataset = dataset_of(job.name, job.data)
    usual = replace(default_recipe(dataset, job.epochs), precision=PRECISION)
    recipe = replace(usual, lr=job.lr, weight_decay=job.weight_decay)
    twin = job.type == TWIN
    seed = 2 * (1000 * job.context + job.seed) + twin
    result = train_candidate(Task(0, job.genotype, seed), dataset.first(None, SHOWN), recipe)
    row = dict(zip(KEY, job.key(), strict=True))
    figures = nas.cost(nas.expand(job.genotype, dataset.input_shape, dataset.num_classes))
    row |= {"error": "", "state": result.state, "reason": result.reason, "network": str(job.genotype)}
    row |= {"flops": figures.flops, "params": figures.params, "digest": job.genotype.digest + "-again" * twin}
    if result.weights:
        network = build(job.genotype, dataset.input_shape, dataset.num_classes)
        network.load_state_dict(load(result.weights))
        row["error"] = f"{evaluate(network, dataset.val_images, dataset.val_labels, dataset).error:.6f}"
    return row


def train(name: str, data: str, processes: int) -> None:
    os.environ.update(WORKER_ENVIRONMENT)  # of the processes to come: an allocator reads it when it starts
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.csv"
    known = set()
    if path.exists():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        known = set(map(tuple, table[list(KEY)].itertuples(index=False)))
    left = [job for job in jobs(name, data) if job.key() not in known]
    print(f"{name}: {len(known):,} trainings are there, {len(left):,} are left", flush=True)
    with path.open("a", newline="") as file, get_context("spawn").Pool(processes) as pool:
        writer = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            writer.writeheader()
            file.flush()  # else a run that is stopped before its first training cannot go on
        for row in pool.imap(train_row, left):
            writer.writerow(row)
            file.flush()


def analyze(name: str) -> None:
    """Write the analysis at each budget: the trainings at the shape of a context, and those scaled to it."""
    table = pd.read_csv(FOLDER / f"{name}.csv", dtype={"digest": str, "reason": str})
    for budget in SETTINGS[name].budgets:
        rows = table[table.budget.isin([0, budget])].copy()
        rows["budget"] = float(budget)
        analysis = nas.analyze(rows.drop(columns=["reason", "network"]))
        text = analysis_text(analysis, width=110)
        (FOLDER / f"{name}_{budget}.txt").write_text(text + "\n", encoding="utf-8")
        analysis.frame().to_csv(FOLDER / f"{name}_{budget}_contrasts.csv", index=False)
        print(f"== {name}, {budget:,} FLOPs\n{text}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("train", "analyze"))
    parser.add_argument("name", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--data", default="digits", help="as of nas search --data")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.what == "train":
        train(options.name, options.data, options.processes)
    else:
        analyze(options.name)
