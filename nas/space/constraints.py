"""The constraints of a space: the figures of a network that they limit, and by how much it breaks them."""

from __future__ import annotations

from collections.abc import Mapping

from nas.graph.cost import cost, depth
from nas.graph.graph import Graph
from nas.modules.base import measures
from nas.space.spec import Limits

Figures = Mapping[str, tuple[int, Limits]]
"""Each constrained figure of a network, with its limits."""


def limited(limits: Mapping[str, Limits], graph: Graph) -> dict[str, tuple[int, Limits]]:
    """Return each constrained figure of a network, with its limits; a network that has no such figure, as no
    module of it does, is not limited."""
    figures = {"flops": cost(graph).flops, "params": cost(graph).params} if limits else {}
    if "depth" in limits:
        figures["depth"] = depth(graph)
    for name, (least, most) in measures(graph).items() if limits.keys() - figures.keys() else ():
        low = limits[name].min if name in limits else None
        figures[name] = least if low is not None and least < low else most
    return {name: (figures[name], limit) for name, limit in limits.items() if name in figures}


def broken(figures: Figures) -> list[str]:
    """Say which constraints do not hold."""
    violations = []
    for name, (figure, limit) in figures.items():
        if limit.min is not None and figure < limit.min:
            violations.append(f"{name} {figure:,} is below {limit.min:,}")
        if limit.max is not None and figure > limit.max:
            violations.append(f"{name} {figure:,} is above {limit.max:,}")
    return violations


def excess(figures: Figures) -> float:
    """Return the relative excess over the constraints, summed: 0 if they hold."""
    total = 0.0
    for figure, limit in figures.values():
        total += max(0.0, (figure - limit.max) / max(1, limit.max)) if limit.max is not None else 0.0
        total += max(0.0, 1 - figure / limit.min) if limit.min else 0.0
    return total
