"""Error against FLOPs around a network that a search began with, along depth, width, type and cardinality.

A network of the space differs from the given one in some decisions. Its coordinate along depth is the FLOPs
of the given network with the depths of the other, in doublings; that along width likewise. Its coordinate
along a type is the share of blocks that became it, and that along cardinality the mean number of doublings of
its groups. Error, the mean over the trainings of a network, is fitted as a linear function of the
coordinates, so that the effect of each axis holds the others constant. Standard errors are robust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log2
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.modules import ResNeXt
from nas.space.answers import answers
from nas.space.genotype import Genotype
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.regression import slopes
from nas.stats.resampling import Floats

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

Coordinates = Mapping[str, float]
"""Where a network lies by axis; axes along which it does not differ are left out."""

SIZES = ("depth", "width")
"""Axes whose step is half of the FLOPs."""
MIN_CHANGED = 4
"""Networks that differ from the given one along an axis, from which on its effect is estimated."""
MIN_LEFT = 6
"""Networks beyond the number of parameters, from which on a fit is made."""
NODES = 25
"""Places at which a line of the picture is computed."""


@dataclass(frozen=True)
class Axis:
    """An axis around the given network and what a step along it does.

    name: depth, width, cardinality, or the type that all blocks become. changed: trained networks that differ
    along it. flops: factor of the FLOPs that a step comes with. change: change of the error by a step, all
    else equal: half of the FLOPs along depth and width, all blocks along a type, twice as many groups along
    cardinality. against_width: that change less the one of other widths with the same FLOPs. beyond: whether
    the change is extrapolated, as no network of such FLOPs was trained. line: (n, 4) factor of FLOPs, error,
    and its limits, from the given network outwards.
    """

    name: str
    changed: int
    flops: float = float("nan")
    change: Estimate = UNKNOWN
    against_width: Estimate = UNKNOWN
    beyond: bool = False
    line: Floats | None = None


@dataclass(frozen=True)
class Scaling:
    """The fit: its axes, the networks that it has, and how many it needs."""

    axes: tuple[Axis, ...]
    networks: int
    needed: int

    @property
    def known(self) -> bool:
        """Whether there are networks enough for a fit."""
        return self.networks >= self.needed


def coordinates(space: SearchSpace, given: Genotype, other: Genotype) -> dict[str, float]:
    """Return the coordinates of a network around another one of the same space."""
    flops = space.cost(given).flops
    at = {name: log2(space.cost(_with(space, given, other, name)).flops / flops) for name in SIZES}
    own, new = given.module_types, other.module_types
    base = max(dict.fromkeys(own), key=own.count)
    for kind in {*own, *new} - {base}:
        at[kind] = new.count(kind) / len(new) - own.count(kind) / len(own)
    at["cardinality"] = _doublings(other, given) - _doublings(given, given)
    return {name: value for name, value in at.items() if abs(value) > 1e-9}


def fit_scaling(
    places: Sequence[Coordinates], errors: Floats, flops: Floats, networks: Sequence[str]
) -> Scaling:
    """Fit error to the coordinates of networks, from their trainings.

    Args:
        places: Coordinates of each training (n).
        errors: (n,) fractions.
        flops: (n,) FLOPs of each, as a factor of those of the given network.
        networks: What tells the networks apart, (n).

    Returns:
        Axes without figures where the networks do not determine them.
    """
    first = {network: i for i, network in reversed(list(enumerate(networks)))}
    names = sorted({name for place in places for name in place}, key=_order)
    changed = {name: sum(name in places[i] for i in first.values()) for name in names}
    used = [name for name in names if changed[name] >= MIN_CHANGED]
    kept = [i for i in first.values() if places[i].keys() <= set(used)]
    count, needed = len(kept), len(used) + 1 + MIN_LEFT
    if count < needed or not used:
        return Scaling(tuple(Axis(name, changed[name]) for name in names), count, needed)
    means = np.array([errors[np.array(networks) == networks[i]].mean() for i in kept])
    columns = np.array([[1.0, *(places[i].get(name, 0.0) for name in used)] for i in kept])
    cost = _costs(used, columns, np.log2(flops[kept]))
    fit = _Fit(tuple(used), columns, means, cost, (flops[kept].min(), flops[kept].max()))
    axes = (fit.axis(name, changed[name]) if name in used else Axis(name, changed[name]) for name in names)
    return Scaling(tuple(axes), count, needed)


def _costs(names: Sequence[str], columns: Floats, log_flops: Floats) -> Floats:
    """Return the log2 of FLOPs that comes with each column: 1 with depth and width, by their definition."""
    fixed = np.array([False, *(name in SIZES for name in names)])
    costs = fixed.astype(float)
    costs[~fixed] = np.linalg.lstsq(columns[:, ~fixed], log_flops - columns @ costs, rcond=None)[0]
    return costs


@dataclass(frozen=True)
class _Fit:
    """A linear fit: columns with the constant first, the log2 of FLOPs that comes with each, and the least
    and the greatest factor of FLOPs of its networks."""

    names: tuple[str, ...]
    columns: Floats
    errors: Floats
    cost: Floats
    spanned: tuple[float, float]

    def axis(self, name: str, changed: int) -> Axis:
        """Return an axis with its figures."""
        step = self._step(name)
        cost = float(self.cost @ step)
        change, against = self._estimates([step])[0], UNKNOWN
        beyond = not self.spanned[0] <= 2**cost <= self.spanned[1]
        if "width" in self.names and name != "width" and not beyond:
            [against] = self._estimates([step + cost * self._step("width")])
        line = self._line(name, step, cost) if isfinite(change.value) and not beyond else None
        return Axis(name, changed, 2**cost, change, against, beyond, line)

    def _estimates(self, contrasts: Sequence[Floats]) -> list[Estimate]:
        effects = slopes(self.errors, self.columns, np.array(contrasts), np.arange(len(self.errors)))
        return [effect.estimate for effect in effects]

    def _step(self, name: str) -> Floats:
        """Return a step along an axis, as a contrast."""
        step: Floats = np.eye(len(self.names) + 1)[self.names.index(name) + 1]
        return -step if name in SIZES else step

    def _line(self, name: str, step: Floats, cost: float) -> Floats:
        """Return the error of the given network along an axis, over the places that the networks have."""
        steps = np.array([0.0, 1.0])
        if name in SIZES:
            column = self.columns[:, self.names.index(name) + 1]
            steps = np.linspace(min(0.0, -column.max()), max(0.0, -column.min()), NODES)
        given = np.eye(len(step))[0]
        errors = self._estimates([given + size * step for size in steps])
        return np.array(
            [(2 ** (cost * k), e.value, e.low, e.high) for k, e in zip(steps, errors, strict=True)]
        )


def _order(name: str) -> tuple[int, str]:
    return (SIZES.index(name) if name in SIZES else 3 if name == "cardinality" else 2), name


def _with(space: SearchSpace, given: Genotype, other: Genotype, field: str) -> Genotype:
    """Return the given network with the depths, or the widths, of the other."""
    own, new = answers(given), answers(other)

    def answer(path: str, options: Sequence[Any]) -> Any:
        path = path.partition("[")[0]
        scope, _, last = path.rpartition(".")
        known = new if last == field else own
        value = known.get(path, own.get(_shallower(scope, last, own)))
        return value if value in options else options[0]

    return space.build(answer)


def _shallower(scope: str, last: str, known: Mapping[str, Any]) -> str:
    """Return the path of a decision in the last block before one that the network does not have."""
    stage, _, rest = scope.partition(".block")
    number, _, kind = rest.partition(".")
    for block in range(int(number) - 1 if number.isdigit() else 0, 0, -1):
        path = ".".join(filter(None, (f"{stage}.block{block}", kind, last)))
        if path in known:
            return path
    return ""


def _doublings(genotype: Genotype, given: Genotype) -> float:
    """Return by how many doublings the blocks have more groups than those of the given network, or than is
    usual for ResNeXt where it has none; 0 for blocks without groups."""
    usual = max(_groups(given), default=ResNeXt.cardinality)
    return sum(log2(groups / usual) for groups in _groups(genotype)) / len(genotype.nodes)


def _groups(genotype: Genotype) -> list[int]:
    return [node.module.cardinality for node in genotype.nodes if isinstance(node.module, ResNeXt)]
