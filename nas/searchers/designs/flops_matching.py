"""Networks brought to equal FLOPs by scaling all widths alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Shape
from nas.space.genotype import Genotype, expand

TOLERANCE = 0.03
"""FLOPs that differ by no more are equal."""

HALVINGS = 10
WIDEST = 8.0
"""Factor of the width beyond which types are called incomparable."""

NUDGES, ROUNDS = (-2, -1, 1, 2), 4
"""Channels by which single widths are moved, and how often, where no common factor meets the FLOPs."""

NEAR = 0.3
"""FLOPs further off are not worth a nudge."""

Widths = Mapping[int, int]


def at_flops(genotype: Genotype, target: int, input_shape: Shape, num_classes: int) -> Genotype | None:
    """The genotype with its widths scaled until its FLOPs are within 3 % of `target`, itself if
    they are already; None where no widths meet it. Equal widths stay equal, so that a shortcut
    keeps its kind."""

    def miss(widths: Widths) -> float:
        """FLOPs above the target as a share of it."""
        try:
            graph = expand(widened(genotype, widths), input_shape, num_classes)
        except NasError:
            return float("inf")
        return cost(graph).flops / target - 1

    widths = {width: width for width in _widths(genotype)}
    found = widths if abs(miss(widths)) <= TOLERANCE else _nudged(_scaled(list(widths), miss), miss)
    return widened(genotype, found) if abs(miss(found)) <= TOLERANCE else None


def widened(genotype: Genotype, widths: Widths) -> Genotype:
    """The genotype with each width replaced by another."""

    def wider(part: Any) -> Any:
        return replace(part, width=widths[part.width]) if hasattr(part, "width") else part

    nodes = tuple(replace(node, module=wider(node.module)) for node in genotype.nodes)
    return replace(genotype, stem=wider(genotype.stem), nodes=nodes)


def _widths(genotype: Genotype) -> list[int]:
    parts: list[Any] = [genotype.stem, *(node.module for node in genotype.nodes)]
    return sorted({part.width for part in parts if hasattr(part, "width")})


def _scaled(widths: list[int], miss: Any) -> Widths:
    """The best of the widths that bisection of one common factor meets."""
    low, high = 1 / WIDEST, WIDEST
    tried = []
    for _ in range(HALVINGS):
        factor = sqrt(low * high)
        tried.append({width: max(1, round(width * factor)) for width in widths})
        low, high = (low, factor) if miss(tried[-1]) > 0 else (factor, high)
    return min(tried, key=lambda each: abs(miss(each)))


def _nudged(widths: Widths, miss: Any) -> Widths:
    """Single widths moved by a few channels for as long as that comes nearer."""
    for _ in range(ROUNDS):
        if not TOLERANCE < abs(miss(widths)) < NEAR:
            break
        near = [{**widths, old: max(1, new + by)} for old, new in widths.items() for by in NUDGES]
        widths = min([widths, *near], key=lambda each: abs(miss(each)))
    return widths
