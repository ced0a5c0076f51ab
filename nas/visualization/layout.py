"""Where the parts of a network stand in a drawing, in inches, y downward.

Stages go from left to right, a column each, with their modules from top to bottom. So go the
layers of a module, by depth; parallel paths take lanes side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import ceil
from typing import Any

from nas.graph.cost import cost
from nas.graph.graph import Graph, GraphNode, Primitive, shape_text, stage_of

LANE, RANK = 1.0, 0.42
TILE = (0.86, 0.27)
HEAD = 0.42
"""Height of a module's title."""
MODULE = 1.6
"""Least width of a module."""
GAP = (0.9, 0.3)
"""Between columns, which leaves room for arcs, and between the modules of one."""
PER_COLUMN = 8
"""Modules; longer stages are cut into columns of like length."""
TOP = 0.5
"""Above the first module of a column, for the arrow into it."""
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
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


def describe(op: Any) -> str:
    """`conv 3x3 /2`: a primitive by its label and the fields that shape it."""
    kernel = getattr(op, "kernel", None)
    stride, groups = getattr(op, "stride", 1), getattr(op, "groups", 1)
    parts = [op.label, f"{kernel}x{kernel}" if kernel else "", f"/{stride}" if stride > 1 else ""]
    return " ".join(part for part in (*parts, f"g{groups}" if groups > 1 else "") if part)


def layout(graph: Graph, *, closed: bool = False) -> tuple[list[Box], list[Edge]]:
    """Boxes of the outermost modules, open or `closed`, and the arrows between them."""
    boxes: dict[str, Box] = {}
    left = 0.5
    columns = _columns([name for name, node in graph.nodes.items() if node.op is not None])
    for column in columns:
        stack, top = [], TOP
        for name in column:
            stack.append(_box(name, graph.nodes[name], top, closed))
            top = stack[-1].bottom + GAP[1]
        width = max(box.width for box in stack)
        for name, box in zip(column, stack, strict=True):
            boxes[name] = _shift(box, left + (width - box.width) / 2)
        left += width + GAP[0]
    return list(boxes.values()), list(_between(graph, boxes, columns))


def _columns(names: list[str]) -> list[list[str]]:
    """A column a stage (what stands before the dot), cut where it is long; stem and head join the
    first and the last."""
    stages = [list(members) for _, members in groupby(names, key=stage_of)]
    merged: list[list[str]] = []
    for members in stages:
        alone = len(members) == 1 and "." not in members[0]
        if merged and (alone or (len(merged[-1]) == 1 and "." not in merged[-1][0])):
            merged[-1] += members
        else:
            merged.append(members)
    columns = []
    for column in merged:
        size = ceil(len(column) / ceil(len(column) / PER_COLUMN))
        columns += [column[i : i + size] for i in range(0, len(column), size)]
    return columns


def _between(graph: Graph, boxes: dict[str, Box], columns: list[list[str]]) -> Iterator[Edge]:
    """Arrows from module to module: down a column, over to the next, arcs else."""
    column_of = {name: at for at, column in enumerate(columns) for name in column}
    order = {name: at for at, name in enumerate(boxes)}
    sides = [_sides([boxes[name] for name in column]) for column in columns]
    for name, box in boxes.items():
        left, _ = sides[column_of[name]]
        for source in graph.nodes[name].inputs:
            if source not in boxes:
                yield Edge(((box.middle, box.y - 0.3), (box.middle, box.y)))
                continue
            other, apart = boxes[source], column_of[name] - column_of[source]
            _, right = sides[column_of[source]]
            if order[name] - order[source] > 1:
                yield (_above if apart > 1 else _arc)(other, box, left, right)
            elif apart == 0:
                yield Edge(((other.middle, other.bottom), (box.middle, box.y)))
            else:
                yield _over(other, box, right)


def _sides(column: list[Box]) -> tuple[float, float]:
    return min(box.x for box in column), max(box.right for box in column)


def _arc(source: Box, target: Box, left: float, right: float) -> Edge:
    """A shortcut within a column, to its left, or across to the next."""
    start, end = (source.x, source.y + 0.21), (target.x, target.y + 0.21)
    bulge = left - 0.5
    if source.right < left:
        start, bulge = (source.right, start[1]), (right + left) / 2
    return Edge((start, (bulge, start[1]), (bulge, end[1]), end), CUBIC, True)


def _above(source: Box, target: Box, left: float, right: float) -> Edge:
    """A shortcut to a later column, above those between."""
    out, back, start, end = right + 0.32, left - 0.5, source.y + 0.3, target.y + 0.3
    corners = ((out, start), (out, 0.1), (back, 0.1), (back, end))
    return Edge(((source.right, start), *corners, (target.x, end)), LINE, True)


def _over(source: Box, target: Box, right: float) -> Edge:
    """From the foot of a column to the head of the next."""
    between, low, high = right + 0.2, source.bottom + 0.18, TOP - 0.25
    corners = ((source.middle, low), (between, low), (between, high), (target.middle, high))
    return Edge(((source.middle, source.bottom), *corners, (target.middle, target.y)))


def _shift(box: Box, by: float) -> Box:
    """The box with all in it, moved to the right."""
    tiles = [replace(tile, x=tile.x + by) for tile in box.tiles]
    edges = [replace(edge, points=tuple((x + by, y) for x, y in edge.points)) for edge in box.edges]
    entry = box.entry and (box.entry[0] + by, box.entry[1])
    return replace(box, x=box.x + by, tiles=tiles, edges=edges, entry=entry)


def _box(name: str, node: GraphNode, y: float, closed: bool) -> Box:
    """One outermost node, at the left: a module with its units in place, or a lone primitive (a join)."""
    op = node.op
    shape = shape_text(node.shape)
    if not isinstance(op, Graph):
        return Box(describe(op), shape, "", 0, y, 0.8, HEAD - 0.02)
    flops = cost(op).flops
    title, note = f"{name}  {op.kind}", f"{shape}, {_short(flops)} FLOPs" if flops else shape
    if closed:
        return Box(title, note, op.kind, 0, y, MODULE, HEAD - 0.02)
    units = _units(op.primitives)
    _place(units)
    skips = any(_is_skip(units, unit, source) for unit in units for source in unit.inputs)
    margin = 0.2 if skips else 0.05
    lanes = 1 + max((u.lane for u in units), default=0)
    width = max(margin + LANE * lanes + 0.05, MODULE)
    left = margin + (width - margin - 0.05 - LANE * (lanes - 1)) / 2
    last = max((u.rank for u in units), default=0)
    height = HEAD + 0.2 + RANK * (last + 1) + 0.05
    entry = (left, y + HEAD + 0.06)
    box = Box(title, note, op.kind, 0, y, width, height, entry)
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


def _short(count: int) -> str:
    """`4.72M`: three digits and a power of a thousand."""
    if count >= 1e9:
        return f"{count / 1e9:.3g}G"
    return f"{count / 1e6:.3g}M" if count >= 1e5 else f"{count / 1e3:.3g}k"
