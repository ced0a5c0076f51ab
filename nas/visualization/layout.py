"""Positions of the parts of a network in a drawing, in inches, y downward.

Stages go from left to right, one column each, with their modules from top to bottom. The layers of a module
are placed by `nas.visualization.module_layout`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import ceil

from nas.formatting import metric
from nas.graph.cost import cost
from nas.graph.graph import Graph, GraphNode, block_of, shape_text, stage_of
from nas.visualization.module_layout import CUBIC, LINE, Edge, Point, Tile, describe, place_layers

HEAD = 0.42
"""Height of a module's title."""
MODULE = 1.6
"""Least width of a module."""
GAP = (0.9, 0.3)
"""Space between columns, with room for arcs, and between the modules of one column."""
PER_COLUMN = 8
"""Most modules of a column; longer stages are cut into columns of similar length."""
TOP = 0.5
"""Space above the first module of a column, for the arrow into it."""


@dataclass(frozen=True)
class Box:
    """A module in place with its layers; a lone primitive has no `kind` and no layers."""

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


def layout(graph: Graph, *, closed: bool = False) -> tuple[list[Box], list[Edge]]:
    """Return boxes of the outermost modules, without layers if `closed`, and the arrows between them."""
    boxes: dict[str, Box] = {}
    titles = exported_names(graph)
    left = 0.5
    columns = _columns([name for name, node in graph.nodes.items() if node.op is not None])
    for column in columns:
        stack, top = [], TOP
        for name in column:
            stack.append(_box(titles[name], graph.nodes[name], top, closed))
            top = stack[-1].bottom + GAP[1]
        width = max(box.width for box in stack)
        for name, box in zip(column, stack, strict=True):
            boxes[name] = _shift(box, left + (width - box.width) / 2)
        left += width + GAP[0]
    return list(boxes.values()), list(_between(graph, boxes, columns))


def exported_names(graph: Graph) -> dict[str, str]:
    """Return the name of each outermost node in the exported code: `stage1.0` begins `stage1`."""
    blocks: dict[str, int] = {}
    names = {}
    for name, node in graph.nodes.items():
        if node.op is not None and isinstance(node.op, Graph) and block_of(name):
            stage = stage_of(name)
            blocks[stage] = blocks.get(stage, -1) + 1
            names[name] = f"{stage}.{blocks[stage]}"
        else:
            names[name] = name
    return names


def _columns(names: list[str]) -> list[list[str]]:
    """Return one column per stage (the name before the dot), cut if it is long; stem and head join the first
    and the last."""
    stages = [list(members) for _, members in groupby(names, key=stage_of)]
    merged: list[list[str]] = []
    for members in stages:
        alone = len(members) == 1 and not block_of(members[0])
        if merged and (alone or (len(merged[-1]) == 1 and not block_of(merged[-1][0]))):
            merged[-1] += members
        else:
            merged.append(members)
    columns = []
    for column in merged:
        size = ceil(len(column) / ceil(len(column) / PER_COLUMN))
        columns += [column[i : i + size] for i in range(0, len(column), size)]
    return columns


def _between(graph: Graph, boxes: dict[str, Box], columns: list[list[str]]) -> Iterator[Edge]:
    """Yield arrows from module to module: down a column, over to the next, elsewhere as arcs."""
    column_of = {name: i for i, column in enumerate(columns) for name in column}
    order = {name: i for i, name in enumerate(boxes)}
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
    """Return a shortcut within a column, to its left, or across to the next."""
    start, end = (source.x, source.y + 0.21), (target.x, target.y + 0.21)
    bulge = left - 0.5
    if source.right < left:
        start, bulge = (source.right, start[1]), (right + left) / 2
    return Edge((start, (bulge, start[1]), (bulge, end[1]), end), CUBIC, True)


def _above(source: Box, target: Box, left: float, right: float) -> Edge:
    """Return a shortcut to a later column, above those between."""
    out, back, start, end = right + 0.32, left - 0.5, source.y + 0.3, target.y + 0.3
    corners = ((out, start), (out, 0.1), (back, 0.1), (back, end))
    return Edge(((source.right, start), *corners, (target.x, end)), LINE, True)


def _over(source: Box, target: Box, right: float) -> Edge:
    """Return the edge from the foot of a column to the head of the next."""
    between, low, high = right + 0.2, source.bottom + 0.18, TOP - 0.25
    corners = ((source.middle, low), (between, low), (between, high), (target.middle, high))
    return Edge(((source.middle, source.bottom), *corners, (target.middle, target.y)))


def _shift(box: Box, by: float) -> Box:
    """Return the box and its contents, moved to the right."""
    tiles = [replace(tile, x=tile.x + by) for tile in box.tiles]
    edges = [replace(edge, points=tuple((x + by, y) for x, y in edge.points)) for edge in box.edges]
    entry = box.entry and (box.entry[0] + by, box.entry[1])
    return replace(box, x=box.x + by, tiles=tiles, edges=edges, entry=entry)


def _box(name: str, node: GraphNode, y: float, closed: bool) -> Box:
    """Return one outermost node at the left: a module with its layers in place, or a lone primitive."""
    op = node.op
    shape = shape_text(node.shape)
    if not isinstance(op, Graph):
        return Box(describe(op), shape, "", 0, y, 0.8, HEAD - 0.02)
    flops = cost(op).flops
    title, note = f"{name}  {op.kind}", f"{shape}, {metric(flops)} FLOPs" if flops else shape
    if closed:
        return Box(title, note, op.kind, 0, y, MODULE, HEAD - 0.02)
    width, height, entry, tiles, edges = place_layers(op.primitives, y + HEAD + 0.2, MODULE)
    return Box(title, note, op.kind, 0, y, width, HEAD + 0.2 + height + 0.05, entry, tiles, edges)
