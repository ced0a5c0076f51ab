"""Costs of the networks of a space for images of a size, and the limits of it that bind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Graph
from nas.space.decisions import pick
from nas.space.genotype import expand
from nas.space.space import SearchSpace
from nas.training.memory import ALLOCATOR_OVERHEAD, FLOAT, batch_memory

DRAWS = 200
BATCH = 64
"""Images per batch, as the recipe has for data sets of less than 20,000."""


@dataclass(frozen=True)
class SpaceFigures:
    """Figures of uniform draws of a space, whatever its constraints.

    draws: networks drawn. figures: minimum, median and maximum over those that can be built, for one image;
    memory is that of a training step in bytes, for `BATCH` images in float32 on a CPU. limits: bounds of each
    constraint, and the share of draws that it alone rules out. fits: share of draws that can be built and
    meet all limits. fault: why a draw cannot be built, "" if all can.
    """

    draws: int
    figures: dict[str, dict[str, int]]
    limits: dict[str, dict[str, Any]]
    fits: float
    fault: str = ""


def space_figures(space: SearchSpace, draws: int = DRAWS, seed: int = 0) -> SpaceFigures:
    """Return the figures of a space for its images."""
    graphs, fault = _drawn(space, draws, seed)
    costs = [cost(graph) for graph in graphs]
    columns = {
        "flops": [network.flops for network in costs],
        "params": [network.params for network in costs],
        "memory": [_step_memory(graph) for graph in graphs],
    }
    for name in space.spec.constraints.keys() - columns.keys():
        columns[name] = [space.limited(graph)[name][0] for graph in graphs]
    broken = np.zeros(len(graphs), dtype=bool)
    limits = {}
    for name, limit in space.spec.constraints.items():
        bounds = limit.bounds()
        low, high = bounds.get("min", -np.inf), bounds.get("max", np.inf)
        outside = np.array([not low <= figure <= high for figure in columns[name]], dtype=bool)
        limits[name] = {**bounds, "ruled_out": float(outside.mean()) if graphs else 0.0}
        broken |= outside
    spreads = {name: _spread(column) for name, column in columns.items()} if graphs else {}
    return SpaceFigures(draws, spreads, limits, float((~broken).sum()) / draws, fault)


def _drawn(space: SearchSpace, draws: int, seed: int) -> tuple[list[Graph], str]:
    """Return the networks that can be built, and why one cannot."""
    rng, graphs, fault = np.random.default_rng(seed), list[Graph](), ""
    for _ in range(draws):
        genotype = space.build(lambda _, options: pick(options, rng))
        try:
            graphs.append(expand(genotype, space.input_shape, space.num_classes))
        except NasError as error:
            fault = fault or str(error)
    return graphs, fault


def _step_memory(graph: Graph) -> int:
    weights = 2 * FLOAT * cost(graph).params  # and their momentum
    return round(weights + batch_memory(graph, BATCH, spread=ALLOCATOR_OVERHEAD["cpu"]))


def _spread(column: Sequence[int]) -> dict[str, int]:
    return {"min": min(column), "median": round(float(np.median(column))), "max": max(column)}
