"""The balanced design: equally many networks of every module type, FLOPs bin and depth.

The bins divide the range of FLOPs that all types share, so that every bin can hold every type (Radosavovic et
al., "On network design spaces for visual recognition", 2019). Within a cell FLOPs and depth still vary; the
analysis adjusts for both (`nas.stats.adjusted`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nas.errors import NasError
from nas.searchers.base import SearcherSettings
from nas.searchers.designs.base import TRIES, Design, module_types
from nas.searchers.designs.paired import SUPPOSED_SD
from nas.space.decisions import pick
from nas.space.genotype import Genotype
from nas.stats import power
from nas.stats.adjusted import AdjustedEffect, adjusted_effect
from nas.stats.resampling import Floats
from nas.study.trial import Proposal

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

FLOPS_BINS = 5
DEPTHS = 3
"""Classes of depth, at most."""

PILOT = 150
"""Networks of each type drawn to place the bins. Cells without any of them stay empty."""

SUPPORT = (0.05, 0.95)
"""Quantiles that bound the range of FLOPs of a type."""

ROUNDS = 2
"""Networks planned for each cell."""

STREAM = 4
"""Stream of the random generators, separate from those of other searchers."""

Cell = tuple[str, int, int]
"""Module type, FLOPs bin, class of depth."""


class Network(NamedTuple):
    """A genotype with its FLOPs. uniform: whether it is a random draw that fits the constraints."""

    genotype: Genotype
    flops: int
    uniform: bool = True


@dataclass
class _Source:
    """Networks of one type, sorted into cells as they are drawn. `draws` counts them all."""

    networks: Iterator[Network]
    draws: int = 0
    cells: dict[Cell, list[Network]] = field(default_factory=dict)


class Balanced(Design):
    """Plans rounds over all cells that are not empty, each in random order."""

    name = "balanced"

    def __init__(self, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self._key: tuple[SearchSpace, int] | None = None
        self._plan: list[tuple[Cell, Network]] = []
        self._planned: Iterator[tuple[Cell, Network]] = iter(())

    def proposal(self, space: SearchSpace, seed: int, number: int) -> Proposal | None:
        self._prepare(space, seed)
        while len(self._plan) <= number:
            planned = next(self._planned, None)
            if planned is None:
                return None
            self._plan.append(planned)
        (kind, flops_bin, depth), network = self._plan[number]
        design = {"design": self.name, "type": kind, "flops_bin": flops_bin, "depth": depth}
        return Proposal(network.genotype, self.name, uniform=network.uniform, design=design)

    def default_trials(self, space: SearchSpace, seed: int) -> int:
        self._prepare(space, seed)
        return ROUNDS * len(self._open)

    def summary(self, space: SearchSpace, seed: int, trials: int) -> dict[str, Any]:
        self._prepare(space, seed)
        types = module_types(space)
        planned = sum(self.proposal(space, seed, number) is not None for number in range(trials))
        counts = Counter(dict.fromkeys(self._open, 0))
        counts.update(cell for cell, _ in self._plan[:planned])
        of_type = {kind: sum(n for cell, n in counts.items() if cell[0] == kind) for kind in types}
        effects = _comparisons(types, self._plan[:planned])
        draws = sum(source.draws for source in self._sources.values())
        in_cells = sum(len(cell) for source in self._sources.values() for cell in source.cells.values())
        figures = {
            "design": self.name,
            "types": list(types),
            "cells": len(self._open),
            "empty_cells": len(types) * FLOPS_BINS * self._depths - len(self._open),
            "networks_of_type": min(of_type.values()),
            "flops": [round(edge) for edge in self._edges],
            "acceptance": in_cells / draws,
            "overlap": min((effect.overlap for effect in effects), default=0.0),
            "detectable": _detectable(effects),
        }
        return figures | {"lines": [*_lines(figures, planned), *_unequal(counts, of_type)]}

    def _prepare(self, space: SearchSpace, seed: int) -> None:
        """Draw the pilot networks, place the bins and start the plan, unless that is done."""
        if self._key is not None and self._key[0] is space and self._key[1] == seed:
            return
        self._key, self._plan = (space, seed), []
        types = module_types(space)
        spaces = {kind: space.of_type(kind) for kind in types}
        pilots = {kind: _pilot(spaces[kind], kind, [seed, STREAM, i]) for i, kind in enumerate(types)}
        self._edges = _common_bins(space, pilots)
        depths = np.unique([len(network.genotype.nodes) for pilot in pilots.values() for network in pilot])
        self._depths = min(DEPTHS, len(depths))
        cuts = [depth_class[0] for depth_class in np.array_split(depths, self._depths)[1:]]
        self._sources = {}
        for kind, pilot in pilots.items():
            self._sources[kind] = _Source(_networks(spaces[kind], [seed, STREAM, types.index(kind)]))
            for _ in pilot:
                self._draw(kind, cuts)
        self._open = sorted(cell for source in self._sources.values() for cell in source.cells)
        self._planned = self._rounds(seed, cuts)

    def _draw(self, kind: str, cuts: list[int]) -> bool:
        """Draw a network of a type into its cell; return False where there are no more."""
        source = self._sources[kind]
        network = next(source.networks, None)
        if network is None:
            return False
        source.draws += 1
        flops_bin = int(np.searchsorted(self._edges, network.flops, side="right")) - 1
        if 0 <= flops_bin < FLOPS_BINS:
            cell = kind, flops_bin, int(np.searchsorted(cuts, len(network.genotype.nodes), side="right"))
            source.cells.setdefault(cell, []).append(network)
        return True

    def _rounds(self, seed: int, cuts: list[int]) -> Iterator[tuple[Cell, Network]]:
        """Yield one network of every cell that is not exhausted, round after round."""
        cells, round_ = list(self._open), 0
        while cells:
            order = np.random.default_rng([seed, STREAM, len(self._sources), round_]).permutation(len(cells))
            for cell in [cells[i] for i in order]:
                networks, tries = self._sources[cell[0]].cells[cell], 0
                while len(networks) <= round_ and tries < TRIES and self._draw(cell[0], cuts):
                    tries += 1
                if len(networks) <= round_:
                    cells.remove(cell)
                    continue
                yield cell, networks[round_]
            round_ += 1


def _networks(space: SearchSpace, entropy: list[int]) -> Iterator[Network]:
    """Yield different networks of the space of one type.

    Each decision is uniform, and the constraints hold. After many draws in a row without a new network come
    those that draws hardly ever find.
    """
    rng, seen, rejected = np.random.default_rng(entropy), set[str](), 0
    while rejected < TRIES:
        genotype = space.build(lambda _, options: pick(options, rng))
        rejected += 1
        if not space.allows(genotype) or genotype.digest in seen:
            continue
        seen.add(genotype.digest)
        rejected = 0
        yield Network(genotype, space.cost(genotype).flops)
    for genotype, uniform in space.rare(rng):
        if genotype.digest not in seen:
            seen.add(genotype.digest)
            yield Network(genotype, space.cost(genotype).flops, uniform)


def _pilot(space: SearchSpace, kind: str, entropy: list[int]) -> list[Network]:
    pilot = list(islice(_networks(space, entropy), PILOT))
    if not pilot:
        raise space.nothing_fits().at(f"networks of {kind} alone")
    return pilot


def _common_bins(space: SearchSpace, pilots: dict[str, list[Network]]) -> Floats:
    """Return the edges of bins of equal width in log FLOPs, over the range that all types share."""
    ranges = [np.quantile([network.flops for network in pilot], SUPPORT) for pilot in pilots.values()]
    low, high = max(a for a, _ in ranges), min(b for _, b in ranges)
    if low >= high:
        named = [
            f"{kind} {a / 1e6:.3g}M to {b / 1e6:.3g}M" for kind, (a, b) in zip(pilots, ranges, strict=True)
        ]
        hint = f"{', '.join(named)}; --searcher paired scales widths to equal FLOPs"
        raise NasError("the module types have no FLOPs in common", where=space.name, hint=hint)
    return np.asarray(np.exp(np.linspace(np.log(low), np.log(high * (1 + 1e-9)), FLOPS_BINS + 1)))


def _comparisons(types: Sequence[str], plan: Sequence[tuple[Cell, Network]]) -> list[AdjustedEffect]:
    """Return the comparison of each two types as the analysis will make it, with unknown errors; [] where a
    type is not planned."""
    kinds = [cell[0] for cell, _ in plan]
    if not set(types) <= set(kinds):
        return []
    shares = np.eye(len(types))[[types.index(kind) for kind in kinds]]
    cost = np.log([float(network.flops) for _, network in plan])
    depth = np.array([float(len(network.genotype.nodes)) for _, network in plan])
    pairs = combinations(range(len(types)), 2)
    return [adjusted_effect(shares, cost, (cost, depth), *pair) for pair in pairs]


def _detectable(effects: Sequence[AdjustedEffect]) -> list[dict[str, float]]:
    """Return the effects between the two least comparable types that the plan detects, alone and after Holm.

    A difference of two networks has twice the variance of one.
    """
    networks = int(min((effect.worth for effect in effects), default=0.0) / 2)
    rows = [
        {
            "sd": sd,
            "effect": power.detectable(networks, sd * sqrt(2)),
            "after_holm": power.detectable(networks, sd * sqrt(2), max(1, len(effects))),
        }
        for sd in SUPPOSED_SD
    ]
    return [row for row in rows if all(map(isfinite, row.values()))]


def _unequal(counts: Mapping[Cell, int], of_type: Mapping[str, int]) -> list[str]:
    """Return a line where cells have unequal numbers of networks, by more than the last round makes."""
    least, most = min(counts.values(), default=0), max(counts.values(), default=0)
    if most - least < 2:
        return []
    named = ", ".join(f"{kind} {number}" for kind, number in of_type.items())
    return [
        f"not balanced: cells of few networks run out, and hold {least} to {most}; types have {named}; "
        f"{least * len(counts)} trials are balanced"
    ]


def _lines(figures: dict[str, Any], planned: int) -> list[str]:
    low, high = figures["flops"][0] / 1e6, figures["flops"][-1] / 1e6
    lines = [
        f"{planned} networks in {figures['cells']} cells of module type x {FLOPS_BINS} FLOPs bins x depth, "
        f"{low:.3g}M to {high:.3g}M FLOPs",
        f"{figures['acceptance']:.0%} of the networks drawn lie in a cell; {figures['empty_cells']} cells "
        f"are empty; the effective overlap of any two types is {figures['overlap']:.0%} or more",
    ]
    for row in figures["detectable"]:
        lines.append(
            f"if networks of equal FLOPs and depth have an SD of {100 * row['sd']:g} points, 4 of 5 studies "
            f"detect an effect of {100 * row['effect']:.2f} points, or of {100 * row['after_holm']:.2f} "
            "points after Holm's correction"
        )
    return lines
