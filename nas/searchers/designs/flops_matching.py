"""Scaling of all widths alike, to bring networks to equal FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Shape
from nas.space.genotype import Genotype, expand

TOLERANCE = 0.03
"""Relative difference below which FLOPs count as equal."""

BISECTIONS = 10
MAX_FACTOR = 8.0
"""Largest factor of the widths that is tried."""

STEPS, ROUNDS = (-2, -1, 1, 2), 4
"""Channels by which single widths are changed, and how often, where no common factor meets the FLOPs."""

MAX_MISS = 0.3
"""Relative difference of FLOPs beyond which single widths are not changed."""

Widths = Mapping[int, int]
"""New widths by the old ones."""

Miss = Callable[[Widths], float]
"""Relative difference of FLOPs from a target, by widths."""


def at_flops(genotype: Genotype, target: int, input_shape: Shape, num_classes: int) -> Genotype | None:
    """Return the genotype with its widths scaled so that its FLOPs are within 3 % of `target`.

    It is returned as it is if they are already, and None if no widths meet the target. Equal widths stay
    equal, so that shortcuts keep their kind."""

    def miss(widths: Widths) -> float:
        """Return the relative difference of FLOPs from the target; infinity for widths that cannot be
        built."""
        try:
            graph = expand(widened(genotype, widths), input_shape, num_classes)
        except NasError:
            return float("inf")
        return cost(graph).flops / target - 1

    widths: Widths = {width: width for width in _widths(genotype)}
    if abs(miss(widths)) > TOLERANCE:
        widths = _adjust(_scale(list(widths), miss), miss)
    return widened(genotype, widths) if abs(miss(widths)) <= TOLERANCE else None


def widened(genotype: Genotype, widths: Widths) -> Genotype:
    """Return the genotype with each width replaced by another."""

    def wider(part: Any) -> Any:
        return replace(part, width=widths[part.width]) if hasattr(part, "width") else part

    nodes = tuple(replace(node, module=wider(node.module)) for node in genotype.nodes)
    return replace(genotype, stem=wider(genotype.stem), nodes=nodes)


def _widths(genotype: Genotype) -> list[int]:
    parts: list[Any] = [genotype.stem, *(node.module for node in genotype.nodes)]
    return sorted({part.width for part in parts if hasattr(part, "width")})


def _scale(widths: list[int], miss: Miss) -> Widths:
    """Return the best widths met by bisecting one common factor."""
    low, high = 1 / MAX_FACTOR, MAX_FACTOR
    tried: list[Widths] = []
    for _ in range(BISECTIONS):
        factor = sqrt(low * high)
        tried.append({width: max(1, round(width * factor)) for width in widths})
        low, high = (low, factor) if miss(tried[-1]) > 0 else (factor, high)
    return min(tried, key=lambda candidate: abs(miss(candidate)))


def _adjust(widths: Widths, miss: Miss) -> Widths:
    """Return the widths with single ones changed by a few channels for as long as that helps."""
    for _ in range(ROUNDS):
        if not TOLERANCE < abs(miss(widths)) < MAX_MISS:
            break
        near = [{**widths, old: max(1, new + step)} for old, new in widths.items() for step in STEPS]
        widths = min([widths, *near], key=lambda candidate: abs(miss(candidate)))
    return widths
