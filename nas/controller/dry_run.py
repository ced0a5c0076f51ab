"""What a search would do, and about how long it would take."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.controller.config import Setup
from nas.graph.cost import Cost, cost
from nas.schedulers import expected_epochs
from nas.searchers import propose
from nas.space.genotype import Genotype, expand
from nas.study.history import History

if TYPE_CHECKING:
    from nas.data import Dataset

SAMPLES = 64
"""Uniform samples whose costs stand for the space."""
BATCHES = 4
"""Batches of training that are timed."""
QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}


@dataclass(frozen=True)
class Plan:
    """costs: quantiles of `samples` networks, by name; seconds: estimate for the whole search on
    CPU cores, None where it would train on GPUs; design: what a design plans."""

    costs: Mapping[str, Mapping[str, int]]
    samples: int
    workers: int
    seconds: float | None
    design: Mapping[str, Any]


def plan(setup: Setup, workers: int | None = None, *, gpu: bool = False) -> Plan:
    """Sample the space, and time some batches of the median candidate on this machine."""
    shape, classes = setup.dataset.input_shape, setup.dataset.num_classes
    samples = _samples(setup)
    figures = [cost(expand(genotype, shape, classes)) for genotype in samples]
    workers = workers or (1 if workers == 0 else os.cpu_count() or 1)
    median = sorted(range(len(samples)), key=lambda at: figures[at].flops)[len(samples) // 2]
    seconds = None if gpu else _candidate_seconds(setup, samples[median]) * -(-setup.trials // workers)
    design = setup.planner.summary(setup.space, setup.seed, setup.trials)
    return Plan(_quantiles(figures), len(samples), workers, seconds, design)


def _samples(setup: Setup) -> list[Genotype]:
    """Networks whose costs stand for the search: of a design the first, else uniform samples."""
    rng = np.random.default_rng(setup.seed)
    if not setup.planner.plans_every_trial:
        return [setup.space.sample(rng) for _ in range(SAMPLES)]
    numbers = range(min(SAMPLES, setup.trials))
    proposals = (
        propose(setup.planner, setup.space, History(setup.objectives), seed=setup.seed, number=number)
        for number in numbers
    )
    return [proposal.genotype for proposal in proposals if proposal is not None]


def _quantiles(figures: list[Cost]) -> dict[str, dict[str, int]]:
    columns = {name: [asdict(figure)[name] for figure in figures] for name in asdict(figures[0])}
    return {
        name: {label: round(float(np.quantile(values, at))) for label, at in QUANTILES.items()}
        for name, values in columns.items()
    }


def _candidate_seconds(setup: Setup, genotype: Genotype) -> float:
    """Time of one candidate on one core, from a few batches of the real training."""
    import torch

    from nas.codegen.build import build
    from nas.training.loop import train

    part = _first_batches(setup.dataset, setup.recipe.batch_size * BATCHES)
    recipe = replace(setup.recipe, epochs=1)
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
    whole, timed = len(setup.dataset.train_labels), len(part.train_labels)
    epochs = expected_epochs(setup.fidelity) if setup.fidelity else setup.recipe.epochs
    return seconds * epochs * whole / timed


def _first_batches(dataset: Dataset, count: int) -> Dataset:
    """Training and validation images in proportion, `count` of the former at most."""
    val = max(1, len(dataset.val_labels) * count // len(dataset.train_labels))
    return dataset.first(count, val)


def describe(setup: Setup, planned: Plan) -> dict[str, Any]:
    """The plan as JSON."""
    size = setup.space.size()
    dataset = setup.dataset
    return {
        "config": setup.run_config().to_dict(),
        "space_size": asdict(size),
        "seeds": [{"name": s.name, "changes": s.changes, "same_as": s.same_as} for s in setup.seeds],
        "decisions": len(setup.space.domains()),
        "images": {"train": len(dataset.train_labels), "validation": len(dataset.val_labels)},
        "duplicates": dataset.duplicates.count,
        "samples": planned.samples,
        **({"design": dict(planned.design)} if planned.design else {}),
        "costs": planned.costs,
        "workers": planned.workers,
        "seconds": planned.seconds,
    }
