"""A network as an inline SVG: the drawing of `nas.visualization.network` in the colours of its page."""

from __future__ import annotations

from nas.graph.graph import Graph
from nas.reports.markup import Html, join, tag, text
from nas.visualization.layout import CUBIC, LINE, QUADRATIC, Box, Edge, Tile, layout
from nas.visualization.network import COLOURS

UNIT = 100
"""Units of an inch of the layout."""
SCALE = 1.15
"""Pixels of a unit where there is room."""
SMALLEST = 0.85
"""To what part of that a drawing shrinks to fit its page; a wider one scrolls, as its text has to be read."""
COMMANDS = {LINE: "L", QUADRATIC: "Q", CUBIC: "C"}


def drawing(graph: Graph, label: str) -> Html:
    """The modules of a network in columns, a column a stage, with their layers."""
    boxes, edges = layout(graph)
    width = max(box.right for box in boxes) + 0.55
    height = max(box.bottom for box in boxes) + 0.3
    kinds = {
        kind: at % len(COLOURS) for at, kind in enumerate(dict.fromkeys(b.kind for b in boxes if b.kind))
    }
    parts = [*(_box(box, kinds) for box in boxes), *map(_edge, edges)]
    view = f"-20 0 {UNIT * (width + 0.2):.0f} {UNIT * height:.0f}"
    pixels = UNIT * SCALE * (width + 0.2)
    size = f'width="{pixels:.0f}" style="min-width: {SMALLEST * pixels:.0f}px"'
    svg = f'<svg role="img" aria-label="{text(label)}" viewBox="{view}" {size}>{join(parts, "")}</svg>'
    return tag("div", Html(svg), class_="net", tabindex="0")


def _box(box: Box, kinds: dict[str, int]) -> Html:
    kind = f"box k{kinds[box.kind]}" if box.kind else "box"
    middle = box.x + box.width / 2
    parts = [
        _rect(kind, box.x, box.y, box.width, box.height),
        _text("title", middle, box.y + 0.15, box.title),
        _text("sub", middle, box.y + 0.3, box.note),
    ]
    if box.entry:
        parts.append(f'<circle class="dot" cx="{_at(box.entry[0])}" cy="{_at(box.entry[1])}" r="3.5"/>')
    return Html("".join([*parts, *map(_tile, box.tiles), *map(_edge, box.edges)]))


def _tile(tile: Tile) -> str:
    lines = tile.text.split("\n")
    rect = _rect("tile", tile.x - tile.width / 2, tile.y - tile.height / 2, tile.width, tile.height)
    first = tile.y - 0.05 * (len(lines) - 1)
    return rect + "".join(_text("", tile.x, first + 0.1 * at, line) for at, line in enumerate(lines))


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    sizes = f'x="{_at(x)}" y="{_at(y)}" width="{_at(width)}" height="{_at(height)}"'
    return f'<rect class="{kind}" {sizes} rx="6"/>'


def _text(kind: str, x: float, y: float, content: str) -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{_at(x)}" y="{_at(y)}">{text(content)}</text>'


def _edge(edge: Edge) -> Html:
    start, *rest = [f"{_at(x)} {_at(y)}" for x, y in edge.points]
    command = COMMANDS[edge.code]
    path = f"M{start}{command}{' '.join(rest)}" if command != "L" else f"M{start}L{'L'.join(rest)}"
    return Html(f'<path class="line{" skip" * edge.skip}" d="{path}"/>')


def _at(value: float) -> str:
    """Units to a tenth."""
    return f"{UNIT * value:.1f}".removesuffix(".0")
