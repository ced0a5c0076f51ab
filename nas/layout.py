"""Where the parts of a network stand in a drawing, in inches, y downward.

Layers of a module go from top to bottom by depth; parallel paths take lanes side by side.
Modules of a stage stand in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from typing import Any

from nas.complexity import cost
from nas.graph import Graph, Primitive

LANE, RANK = 1.0, 0.42
TILE = (0.86, 0.27)
HEAD = 0.42
"""Height of a module's title."""
MODULE = 1.6
"""Least width of a module."""
GAP = (0.35, 0.55)
"""Between modules of a row, and between rows."""
PER_ROW = 8
"""Modules; longer stages are cut into rows of like length."""
LINE, QUADRATIC, CUBIC = 2, 3, 4
"""Kinds of a path's points, numbered as in matplotlib."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Edge:
    """An arrow along points; `code` says what kind of curve; `skip` marks a shortcut."""

    points: tuple[Point, ...]
    code: int = LINE
    skip: bool = False


@dataclass(frozen=True)
class Tile:
    """A layer with what follows it at no cost, around its centre (x, y)."""

    text: str
    x: float
    y: float
    width: float = TILE[0]
    height: float = TILE[1]


@dataclass
class Unit:
    """Primitives shown as one tile: `inputs` are units, -1 the module's input."""

    ops: list[Any]
    channels: int
    inputs: list[int]
    rank: float = 0
    lane: int = 0


@dataclass(frozen=True)
class Box:
    """A module with its tiles, in place; a lone primitive has no `kind` and no tiles."""

    title: str
    note: str
    kind: str
    x: float
    y: float
    width: float
    height: float
    entry: Point | None = None
    tiles: list[Tile] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


def describe(op: Any) -> str:
    """`conv 3x3 /2`: a primitive by its label and the fields that shape it."""
    kernel = getattr(op, "kernel", None)
    stride, groups = getattr(op, "stride", 1), getattr(op, "groups", 1)
    parts = [op.label, f"{kernel}x{kernel}" if kernel else "", f"/{stride}" if stride > 1 else ""]
    return " ".join(part for part in (*parts, f"g{groups}" if groups > 1 else "") if part)


def layout(graph: Graph) -> tuple[list[Box], list[Edge]]:
    """Boxes of the outermost modules, and the arrows between them."""
    names = [name for name, node in graph.nodes.items() if node["op"] is not None]
    boxes: dict[str, Box] = {}
    rows: list[list[str]] = []
    top = 0.35
    for row in _rows(names):
        x = 0.2
        for name in row:
            boxes[name] = _box(name, graph.nodes[name], x, top)
            x = boxes[name].right + GAP[0]
        top = max(boxes[name].bottom for name in row) + GAP[1]
        rows.append(row)
    return list(boxes.values()), list(_between(graph, boxes, rows))


def _rows(names: list[str]) -> list[list[str]]:
    """A row a stage (what stands before the dot), cut where it is long; stem and head join the
    first and the last."""
    stages = [list(members) for _, members in groupby(names, key=lambda name: name.split(".")[0])]
    merged: list[list[str]] = []
    for members in stages:
        alone = len(members) == 1 and "." not in members[0]
        if merged and (alone or (len(merged[-1]) == 1 and "." not in merged[-1][0])):
            merged[-1] += members
        else:
            merged.append(members)
    rows = []
    for row in merged:
        size = ceil(len(row) / ceil(len(row) / PER_ROW))
        rows += [row[i : i + size] for i in range(0, len(row), size)]
    return rows


def _between(graph: Graph, boxes: dict[str, Box], rows: list[list[str]]) -> list[Edge]:
    """Arrows from module to module: straight along a row, around to the next, arcs else."""
    row_of = {name: at for at, row in enumerate(rows) for name in row}
    order = {name: at for at, name in enumerate(boxes)}
    edges = []
    for name, box in boxes.items():
        for source in graph.nodes[name]["inputs"]:
            if source not in boxes:
                edges.append(Edge(((box.x - 0.3, box.y + 0.2), (box.x, box.y + 0.2))))
                continue
            other = boxes[source]
            if order[name] - order[source] > 1:
                high = min(box.y, other.y) - 0.3
                start, end = other.x + other.width * 0.6, box.x + box.width * 0.4
                edges.append(Edge(((start, other.y), (start, high), (end, high), (end, box.y)), CUBIC, True))
            elif row_of[name] == row_of[source]:
                edges.append(Edge(((other.right, other.y + 0.2), (box.x, box.y + 0.2))))
            else:
                edges.append(_around(other, box))
    return edges


def _around(source: Box, target: Box) -> Edge:
    """From the end of a row to the start of the next."""
    right, left, between = source.right + 0.18, target.x - 0.3, target.y - 0.4
    level = target.y + 0.2
    corners = ((right, source.y + 0.2), (right, between), (left, between), (left, level))
    return Edge(((source.right, source.y + 0.2), *corners, (target.x, level)))


def _box(name: str, node: dict[str, Any], x: float, y: float) -> Box:
    """One outermost node: a module with its units in place, or a lone primitive (a join)."""
    op = node["op"]
    shape = "x".join(map(str, node["shape"]))
    if not isinstance(op, Graph):
        return Box(describe(op), shape, "", x, y, 0.8, HEAD - 0.02)
    units = _units(op.primitives)
    _place(units)
    skips = any(_is_skip(units, unit, source) for unit in units for source in unit.inputs)
    margin = 0.2 if skips else 0.05
    lanes = 1 + max((u.lane for u in units), default=0)
    width = max(margin + LANE * lanes + 0.05, MODULE)
    left = x + margin + (width - margin - 0.05 - LANE * (lanes - 1)) / 2
    last = max((u.rank for u in units), default=0)
    height = HEAD + 0.2 + RANK * (last + 1) + 0.05
    entry = (left, y + HEAD + 0.06)
    box = Box(
        f"{name}  {op.kind}",
        f"{shape}, {_millions(cost(op).flops)} FLOPs",
        op.kind,
        x,
        y,
        width,
        height,
        entry,
    )
    for unit in units:
        tile_y = y + HEAD + 0.2 + RANK * (unit.rank + 0.5)
        box.tiles.append(Tile(_text(unit), left + LANE * unit.lane, tile_y))
    box.edges.extend(_inside(units, box.tiles, entry))
    return box


def _units(primitives: tuple[Primitive, ...]) -> list[Unit]:
    """A unit starts where something is computed at a cost, where paths part or meet, and at
    the module's input; norms and activations join the unit before them."""
    uses = [source for node in primitives for source in node.inputs]
    units: list[Unit] = []
    unit_of: list[int] = []
    for node in primitives:
        first = node.inputs[0]
        joins = len(node.inputs) == 1 and first >= 0 and uses.count(first) == 1
        if joins and not node.op.flops(*node.input_shapes):
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
    """The longest path through the units that are left."""
    best: dict[int, list[int]] = {}
    for at in sorted(left):
        before = [best[i] for i in units[at].inputs if i in left]
        best[at] = [*max(before, key=len, default=[]), at]
    return max(best.values(), key=len)


def _is_skip(units: list[Unit], unit: Unit, source: int) -> bool:
    """An edge along the first lane that passes other units by."""
    start = units[source] if source >= 0 else Unit([], 0, [], rank=-1)
    return unit.lane == start.lane == 0 and unit.rank - start.rank > 1


def _inside(units: list[Unit], tiles: list[Tile], entry: Point) -> list[Edge]:
    """Arrows between the tiles of a module."""
    edges = []
    for at, unit in enumerate(units):
        tile = tiles[at]
        end = (tile.x, tile.y - tile.height / 2)
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


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g}M" if count >= 1e5 else f"{count / 1e3:.3g}k"
