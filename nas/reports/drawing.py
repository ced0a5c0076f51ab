"""A network as an inline SVG: the drawing of `nas.visualization.network` in the colours of its page."""

from __future__ import annotations

from markupsafe import Markup

from nas.graph.graph import Graph
from nas.reports.render import render
from nas.visualization.layout import layout
from nas.visualization.module_layout import CUBIC, LINE, QUADRATIC, Edge
from nas.visualization.network import COLOURS

UNIT = 100
"""SVG units per inch of the layout."""
SCALE = 1.15
"""Pixels per SVG unit where there is room."""
SMALLEST = 0.85
"""Share of its size to which a drawing shrinks to fit its page. A wider one scrolls, so its text stays
legible."""
COMMANDS = {LINE: "L", QUADRATIC: "Q", CUBIC: "C"}


def drawing(graph: Graph, label: str) -> Markup:
    """Draw the modules of a network, one column per stage, with their layers.

    label: what the drawing shows, for readers who do not see it.
    """
    boxes, edges = layout(graph)
    width = max(box.right for box in boxes) + 0.55
    height = max(box.bottom for box in boxes) + 0.3
    types = dict.fromkeys(box.kind for box in boxes if box.kind)
    pixels = UNIT * SCALE * (width + 0.2)
    return render(
        "drawing.html",
        boxes=boxes,
        edges=edges,
        kinds={kind: i % len(COLOURS) for i, kind in enumerate(types)},
        label=label,
        view=f"-20 0 {UNIT * (width + 0.2):.0f} {UNIT * height:.0f}",
        width=f"{pixels:.0f}",
        least_width=f"{SMALLEST * pixels:.0f}",
        at=_at,
        path=_path,
    )


def _path(edge: Edge) -> str:
    start, *rest = [f"{_at(x)} {_at(y)}" for x, y in edge.points]
    command = COMMANDS[edge.code]
    return f"M{start}{command}{(command if command == 'L' else ' ').join(rest)}"


def _at(value: float) -> str:
    """SVG units to a tenth."""
    return f"{UNIT * value:.1f}".removesuffix(".0")
