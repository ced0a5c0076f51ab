"""Plan of a search that is not run: its networks, their costs and the expected time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.controller.config import SearchConfig
from nas.controller.evaluators import Workers
from nas.controller.evaluators.cores import usable_cores
from nas.controller.space_figures import space_figures
from nas.graph.cost import Cost, cost
from nas.schedulers import expected_epochs
from nas.searchers.base import propose
from nas.space.candidate import trained_under
from nas.space.genotype import Genotype, expand
from nas.study.history import History
from nas.training.recipe_text import augmentation

if TYPE_CHECKING:
    from nas.data import Dataset

SAMPLES = 64
"""Networks whose costs stand for the search."""
BATCHES = 4
"""Batches of training that are timed."""
QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}


@dataclass(frozen=True)
class Plan:
    """Expected costs and time of a search.

    costs: quantiles of the costs of `samples` networks, by figure. workers: networks that train at once, None
    where the GPUs decide. seconds: estimate for the whole search on CPU cores, None on GPUs. design: what a
    design plans, {} for other searchers.
    """

    costs: Mapping[str, Mapping[str, int]]
    samples: int
    workers: int | None
    seconds: float | None
    design: Mapping[str, Any]


def plan(config: SearchConfig, dataset: Dataset, workers: Workers) -> Plan:
    """Count the costs of sampled networks, and time some batches of the median one on this machine."""
    samples = _samples(config)
    costs = [cost(expand(genotype, dataset.input_shape, dataset.num_classes)) for genotype in samples]
    cores = 1 if workers.count == 0 else workers.count or usable_cores()
    median = sorted(range(len(samples)), key=lambda i: costs[i].flops)[len(samples) // 2]
    slots, seconds = workers.count, None
    if not workers.gpus_per_worker:
        slots, rounds = cores, -(-_trainings(config) // cores)
        seconds = _training_seconds(config, dataset, samples[median]) * rounds
        seconds = min(seconds, config.seconds or seconds)
    design = config.searcher.summary(config.space, config.seed, config.trials)
    return Plan(_quantiles(costs), len(samples), slots, seconds, design)


def _trainings(config: SearchConfig) -> int:
    """Return the most trainings of the search, which ends when all networks of its space are tried."""
    networks = None if config.searcher.plans_every_trial else config.space.networks()
    return config.trials if networks is None else min(config.trials, len(networks))


def describe(config: SearchConfig, dataset: Dataset, planned: Plan) -> dict[str, Any]:
    """Return settings and plan as JSON data.

    `networks`: how many different ones the space holds, None where they are too many to count. `limits`: each
    constraint, with the share of uniform draws that it rules out.
    """
    networks = config.space.networks()
    return {
        "config": config.run_config(dataset).to_dict(),
        "space_size": asdict(config.space.size()),
        "networks": None if networks is None else len(networks),
        "seeds": [{"name": s.name, "changes": s.changes, "same_as": s.same_as} for s in config.warm_starts],
        "decisions": len(config.space.domains()),
        "stem": config.space.spec.stem,
        "limits": space_figures(config.space).limits,
        "images": {"train": len(dataset.train_labels), "validation": len(dataset.val_labels)},
        "duplicates": dataset.duplicates.count,
        "augmentation": augmentation(config.recipe),
        "samples": planned.samples,
        **({"design": dict(planned.design)} if planned.design else {}),
        "costs": planned.costs,
        "workers": planned.workers,
        "seconds": planned.seconds,
    }


def _samples(config: SearchConfig) -> list[Genotype]:
    """Return networks whose costs stand for the search: the first of a design, else uniform samples."""
    rng = np.random.default_rng(config.seed)
    if not config.searcher.plans_every_trial:
        return [config.space.sample(rng) for _ in range(SAMPLES)]
    numbers = range(min(SAMPLES, config.trials))
    proposals = (
        propose(config.searcher, config.space, History(config.objectives), seed=config.seed, number=number)
        for number in numbers
    )
    return [proposal.genotype for proposal in proposals if proposal is not None]


def _quantiles(costs: list[Cost]) -> dict[str, dict[str, int]]:
    columns = {name: [asdict(figure)[name] for figure in costs] for name in asdict(costs[0])}
    return {
        name: {label: round(float(np.quantile(values, share))) for label, share in QUANTILES.items()}
        for name, values in columns.items()
    }


def _training_seconds(config: SearchConfig, dataset: Dataset, genotype: Genotype) -> float:
    """Return the seconds of one training on one core, from a few batches of it."""
    import torch

    from nas.codegen.build import build
    from nas.training.loop import train

    recipe = replace(trained_under(genotype, config.recipe), epochs=1)
    part = _first_batches(dataset, recipe.batch_size * BATCHES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = build(genotype, part.input_shape, part.num_classes)
        train(network, part, recipe, seed=0)  # the first run prepares what later ones reuse
        start = time.perf_counter()
        train(network, part, recipe, seed=0)
        seconds = time.perf_counter() - start
    finally:
        torch.set_num_threads(threads)
    whole, timed = len(dataset.train_labels), len(part.train_labels)
    epochs = expected_epochs(config.fidelity) if config.fidelity else config.recipe.epochs
    return seconds * epochs * whole / timed


def _first_batches(dataset: Dataset, count: int) -> Dataset:
    """Return the first training images, at most `count`, with validation images in proportion."""
    val = max(1, len(dataset.val_labels) * count // len(dataset.train_labels))
    return dataset.first(count, val)
