"""A balanced sample: equally many networks of every module type, FLOPs bin and depth.

The bins divide the FLOPs that all types have in common, so that every bin can hold every type
(Radosavovic et al., "On network design spaces for visual recognition", 2019). Within a cell FLOPs and depth
still vary; the analysis adjusts for both (`nas.stats.adjusted`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import NasError
from nas.graph.cost import cost
from nas.searchers.base import SearcherSettings
from nas.searchers.designs.base import TRIES, Design, module_types, of_type
from nas.searchers.designs.paired import SUPPOSED_SD
from nas.space.decisions import pick
from nas.space.genotype import Genotype, expand
from nas.stats import power
from nas.stats.adjusted import adjusted_effect
from nas.stats.resampling import Floats
from nas.study.trial import Proposal

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

FLOPS_BINS = 5
DEPTHS = 3
"""Classes of depth, where a space has more than so many depths."""

PILOT = 150
"""Networks of each type drawn to place the bins; cells that none of them is in stay empty."""

SUPPORT = (0.05, 0.95)
"""Quantiles of each type's FLOPs between which it is said to occur."""

ROUNDS = 2
"""Networks planned for each cell."""

STREAM = 4
"""Keeps the generators apart from those of other searchers."""

Cell = tuple[str, int, int]
"""Module type, FLOPs bin, class of depth."""

Network = tuple[Genotype, int]
"""A genotype with its FLOPs."""


@dataclass
class _Source:
    """Networks of one type as they are drawn, sorted into cells; `draws` counts them all."""

    networks: Iterator[Network]
    draws: int = 0
    cells: dict[Cell, list[Network]] = field(default_factory=dict)


class Balanced(Design):
    """The design: rounds over all cells that are not empty, in random order."""

    name = "balanced"

    def __init__(self, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self._key: tuple[SearchSpace, int] | None = None
        self._plan: list[tuple[Cell, Network]] = []
        self._planned: Iterator[tuple[Cell, Network]] = iter(())

    def proposal(self, space: SearchSpace, seed: int, number: int) -> Proposal | None:
        self._prepare(space, seed)
        while len(self._plan) <= number:
            found = next(self._planned, None)
            if found is None:
                return None
            self._plan.append(found)
        (kind, flops_bin, depth), (genotype, _) = self._plan[number]
        design = {"design": self.name, "type": kind, "flops_bin": flops_bin, "depth": depth}
        return Proposal(genotype, self.name, uniform=True, design=design)

    def default_trials(self, space: SearchSpace, seed: int) -> int:
        self._prepare(space, seed)
        return ROUNDS * len(self._open)

    def summary(self, space: SearchSpace, seed: int, trials: int) -> dict[str, Any]:
        self._prepare(space, seed)
        types = module_types(space)
        planned = sum(self.proposal(space, seed, number) is not None for number in range(trials))
        each, overlap = planned // len(types), _overlap(types, self._plan[:planned])
        draws = sum(source.draws for source in self._sources.values())
        drawn = sum(len(held) for s in self._sources.values() for held in s.cells.values())
        found = {
            "design": self.name,
            "types": list(types),
            "cells": len(self._open),
            "empty_cells": len(types) * FLOPS_BINS * self._depths - len(self._open),
            "networks_of_type": each,
            "flops": [round(edge) for edge in self._edges],
            "acceptance": drawn / draws,
            "overlap": overlap,
            "detectable": _detectable(each, overlap, len(types)),
        }
        return found | {"lines": _lines(found, planned)}

    def _prepare(self, space: SearchSpace, seed: int) -> None:
        """Draw the pilot, place the bins, and start the plan."""
        if self._key is not None and self._key[0] is space and self._key[1] == seed:
            return
        self._key, self._plan = (space, seed), []
        types = module_types(space)
        pilots = {kind: _pilot(space, kind, [seed, STREAM, at]) for at, kind in enumerate(types)}
        self._edges = _common_bins(space, pilots)
        depths = np.unique([len(genotype.nodes) for held in pilots.values() for genotype, _ in held])
        self._depths = min(DEPTHS, len(depths))
        cuts = [part[0] for part in np.array_split(depths, self._depths)[1:]]
        self._sources = {}
        for kind, held in pilots.items():
            source = _Source(_networks(space, kind, [seed, STREAM, types.index(kind)]))
            self._sources[kind] = source
            for _ in held:
                self._draw(kind, source, cuts)
        self._open = sorted(cell for source in self._sources.values() for cell in source.cells)
        self._planned = self._rounds(seed, cuts)

    def _draw(self, kind: str, source: _Source, cuts: list[int]) -> bool:
        """Take one network of a type into its cell; False where there are no more."""
        drawn = next(source.networks, None)
        if drawn is None:
            return False
        source.draws += 1
        genotype, flops = drawn
        at = int(np.searchsorted(self._edges, flops, side="right")) - 1
        if 0 <= at < FLOPS_BINS:
            cell = kind, at, int(np.searchsorted(cuts, len(genotype.nodes), side="right"))
            source.cells.setdefault(cell, []).append(drawn)
        return True

    def _rounds(self, seed: int, cuts: list[int]) -> Iterator[tuple[Cell, Network]]:
        """Yield one network of every cell that is not exhausted, round after round."""
        cells, turn = list(self._open), 0
        while cells:
            order = np.random.default_rng([seed, STREAM, len(self._sources), turn]).permutation(len(cells))
            for cell in [cells[at] for at in order]:
                source, tries = self._sources[cell[0]], 0
                while len(source.cells[cell]) <= turn and tries < TRIES and self._draw(cell[0], source, cuts):
                    tries += 1
                if len(source.cells[cell]) <= turn:
                    cells.remove(cell)
                    continue
                yield cell, source.cells[cell][turn]
            turn += 1


def _networks(space: SearchSpace, kind: str, entropy: list[int]) -> Iterator[Network]:
    """Different networks of one type with their FLOPs, each decision uniform, within the
    constraints; ends after many draws that bring none."""
    rng, seen, rejected = np.random.default_rng(entropy), set[str](), 0
    while rejected < TRIES:
        genotype = of_type(space, kind, lambda _, options: pick(options, rng))
        rejected += 1
        if space.violations(genotype) or genotype.digest in seen:
            continue
        seen.add(genotype.digest)
        rejected = 0
        yield genotype, cost(expand(genotype, space.input_shape, space.num_classes)).flops


def _pilot(space: SearchSpace, kind: str, entropy: list[int]) -> list[Network]:
    found = [drawn for drawn, _ in zip(_networks(space, kind, entropy), range(PILOT), strict=False)]
    if not found:
        raise NasError(f"no network of {kind} alone meets the constraints", where=space.name)
    return found


def _common_bins(space: SearchSpace, pilots: dict[str, list[Network]]) -> Floats:
    """Edges of bins of equal width in log FLOPs, over the range that all types share."""
    ranges = [np.quantile([flops for _, flops in held], SUPPORT) for held in pilots.values()]
    low, high = max(each[0] for each in ranges), min(each[1] for each in ranges)
    if low >= high:
        named = [
            f"{kind} {a / 1e6:.3g}M to {b / 1e6:.3g}M" for kind, (a, b) in zip(pilots, ranges, strict=True)
        ]
        hint = f"{', '.join(named)}; --searcher paired scales the widths itself"
        raise NasError("the module types have no FLOPs in common", where=space.name, hint=hint)
    return np.asarray(np.exp(np.linspace(np.log(low), np.log(high * (1 + 1e-9)), FLOPS_BINS + 1)))


def _overlap(types: Sequence[str], plan: Sequence[tuple[Cell, Network]]) -> float:
    """Effective overlap of the two types that are least comparable, as the analysis will find it."""
    kinds = [cell[0] for cell, _ in plan]
    if not set(types) <= set(kinds):
        return 0.0
    shares = np.eye(len(types))[[types.index(kind) for kind in kinds]]
    cost = np.log([float(flops) for _, (_, flops) in plan])
    depth = np.array([float(len(genotype.nodes)) for _, (genotype, _) in plan])
    pairs = combinations(range(len(types)), 2)
    return min(adjusted_effect(shares, cost, (cost, depth), *pair).overlap for pair in pairs)


def _detectable(each: int, overlap: float, types: int) -> list[dict[str, float]]:
    """Effects that so many networks of each type show, for each supposed SD, alone and after Holm over all
    contrasts; a difference of two networks has twice the variance of one."""
    tests, networks = types * (types - 1) // 2, int(each * overlap)
    rows = [
        {
            "sd": sd,
            "effect": power.detectable(networks, sd * sqrt(2)),
            "after_holm": power.detectable(networks, sd * sqrt(2), tests),
        }
        for sd in SUPPOSED_SD
    ]
    return [row for row in rows if all(map(isfinite, row.values()))]


def _lines(found: dict[str, Any], planned: int) -> list[str]:
    low, high = found["flops"][0] / 1e6, found["flops"][-1] / 1e6
    lines = [
        f"{planned} networks in {found['cells']} cells of module type x {FLOPS_BINS} FLOPs bins x depth, "
        f"{low:.3g}M to {high:.3g}M FLOPs",
        f"{found['acceptance']:.0%} of the networks drawn lie in a cell; {found['empty_cells']} cells are "
        f"empty; the effective overlap of any two types is {found['overlap']:.0%} or more",
    ]
    for row in found["detectable"]:
        lines.append(
            f"if networks of equal FLOPs and depth have an SD of {100 * row['sd']:g} points, an effect of "
            f"{100 * row['effect']:.2f} points is found in 4 of 5 studies, of {100 * row['after_holm']:.2f} "
            "if Holm asks most of it"
        )
    return lines
