"""Positions of the layers of one module in a drawing, in inches, y downward.

Layers go from top to bottom by depth; parallel paths take lanes side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.graph.graph import Primitive
from nas.graph.ops import LineConv

LANE, RANK = 1.0, 0.42
"""Inches from lane to lane, and from layer to layer."""
TILE = (0.86, 0.27)
"""Width and height of a layer, in inches."""
MARGIN = 0.05
CLEAR = 0.02
"""Inches between an arrow and its tile, which is drawn above it and would hide half of a head."""
SHORTCUT_MARGIN = 0.2
"""Inches left of the first lane, without and with shortcuts beside it."""
LINE, QUADRATIC, CUBIC = 2, 3, 4
"""Kinds of a path's points, numbered as in matplotlib."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Edge:
    """An arrow along points; `code` is the kind of curve, `skip` marks a shortcut."""

    points: tuple[Point, ...]
    code: int = LINE
    skip: bool = False


@dataclass(frozen=True)
class Tile:
    """A layer with the norms and activations that follow it, around its centre (x, y)."""

    text: str
    x: float
    y: float
    width: float = TILE[0]
    height: float = TILE[1]


@dataclass
class Unit:
    """Primitives shown as one tile; `inputs` are indices of units, -1 the input of the module."""

    ops: list[Any]
    channels: int
    inputs: list[int]
    rank: float = 0
    lane: int = 0


def describe(op: Any) -> str:
    """Return `conv 3x3 /2 d2 g8`: a primitive by its label, window, stride, dilation and groups."""
    kernel = getattr(op, "kernel", None)
    window = f"{kernel}x{kernel}" if kernel else ""
    if isinstance(op, LineConv):
        window = f"{kernel}x1" if op.column else f"1x{kernel}"
    parts = [op.label, window]
    for mark, field in (("/", "stride"), ("d", "dilation"), ("g", "groups")):
        number = getattr(op, field, 1)
        parts.append(f"{mark}{number}" if number > 1 else "")
    return " ".join(filter(None, parts))


def place_layers(
    primitives: tuple[Primitive, ...], top: float, least_width: float
) -> tuple[float, float, Point, list[Tile], list[Edge]]:
    """Place the layers of a module whose first layer begins at `top`, its left edge at 0.

    Returns the width and height of all, the point where the input enters, the layers, and the arrows between
    them.
    """
    units = _units(primitives)
    _place(units)
    skips = any(_is_skip(units, unit, source) for unit in units for source in unit.inputs)
    margin = SHORTCUT_MARGIN if skips else MARGIN
    lanes = 1 + max((unit.lane for unit in units), default=0)
    width = max(margin + LANE * lanes + MARGIN, least_width)
    left = margin + (width - margin - MARGIN - LANE * (lanes - 1)) / 2
    height = RANK * (max((unit.rank for unit in units), default=0) + 1)
    entry = (left, top - 0.14)
    tiles = [Tile(_text(unit), left + LANE * unit.lane, top + RANK * (unit.rank + 0.5)) for unit in units]
    return width, height, entry, tiles, _inside(units, tiles, entry)


def _units(primitives: tuple[Primitive, ...]) -> list[Unit]:
    """Group primitives into units. A unit starts at a costly operation, where paths part or meet, and at the
    module's input; norms and activations join the unit before them."""
    uses = [source for node in primitives for source in node.inputs]
    units: list[Unit] = []
    unit_of: list[int] = []
    for node in primitives:
        first = node.inputs[0]
        joins = len(node.inputs) == 1 and first >= 0 and uses.count(first) == 1
        if joins and not node.op.flops(node.shape, *node.input_shapes):
            units[unit_of[first]].ops.append(node.op)
            unit_of.append(unit_of[first])
            continue
        inputs = sorted({unit_of[i] if i >= 0 else -1 for i in node.inputs})
        unit_of.append(len(units))
        units.append(Unit([node.op], node.shape[0], inputs))
    return units


def _place(units: list[Unit]) -> None:
    """Rank by longest path from the input; the longest path takes the first lane, and each
    next longest the first lane that is free beside it."""
    for unit in units:
        unit.rank = 1 + max((units[i].rank if i >= 0 else -1 for i in unit.inputs), default=-1)
    consumers: list[list[int]] = [[] for _ in units]
    for at, unit in enumerate(units):
        for source in unit.inputs:
            if source >= 0:
                consumers[source].append(at)
    depth = int(max((unit.rank for unit in units), default=0))
    left, taken = set(range(len(units))), list[set[int]]()
    while left:
        chain = _longest(units, left)
        start = int(units[chain[0]].rank)
        end = int(min((units[c].rank for c in consumers[chain[-1]]), default=depth + 1))
        span = set(range(start, end))
        lane = next((at for at, used in enumerate(taken) if not used & span), len(taken))
        if lane == len(taken):
            taken.append(set())
        taken[lane] |= span
        spare = (end - start - len(chain)) / 2
        for step, at in enumerate(chain):
            units[at].lane = lane
            units[at].rank = start + step + spare if lane else units[at].rank
        left -= set(chain)


def _longest(units: list[Unit], left: set[int]) -> list[int]:
    """Return the longest path through the units that are left."""
    best: dict[int, list[int]] = {}
    for k in sorted(left):
        before = [best[i] for i in units[k].inputs if i in left]
        best[k] = [*max(before, key=len, default=[]), k]
    return max(best.values(), key=len)


def _is_skip(units: list[Unit], unit: Unit, source: int) -> bool:
    """Return whether an edge runs along the first lane and passes other units."""
    start = units[source] if source >= 0 else Unit([], 0, [], rank=-1)
    return unit.lane == start.lane == 0 and unit.rank - start.rank > 1


def _inside(units: list[Unit], tiles: list[Tile], entry: Point) -> list[Edge]:
    """Return the arrows between the tiles of a module."""
    edges = []
    for i, unit in enumerate(units):
        tile = tiles[i]
        end = (tile.x, tile.y - tile.height / 2 - CLEAR)
        for source in unit.inputs:
            start = entry
            if source >= 0:
                start = (tiles[source].x, tiles[source].y + TILE[1] / 2)
            if _is_skip(units, unit, source):
                bulge = tile.x - LANE * 0.82
                edges.append(Edge((start, (bulge, start[1]), (bulge, end[1]), end), CUBIC, True))
            elif start[0] == end[0]:
                edges.append(Edge((start, end)))
            else:  # across first, then down; or down first where it comes back to the left
                corner = (end[0], start[1]) if start[0] < end[0] else (start[0], end[1])
                edges.append(Edge((start, corner, end), QUADRATIC))
    return edges


def _text(unit: Unit) -> str:
    first, *rest = unit.ops
    head = f"{describe(first)}, {unit.channels}" if hasattr(first, "kernel") else describe(first)
    return head + ("\n" + ", ".join(describe(op) for op in rest) if rest else "")
