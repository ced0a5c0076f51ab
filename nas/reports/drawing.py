"""A network as an inline SVG: the drawing of `nas.visualization.network` in the colours of its page."""

from __future__ import annotations

from markupsafe import Markup

from nas.graph.graph import Graph
from nas.reports.render import render
from nas.visualization.colours import css_class, type_of_kind
from nas.visualization.layout import layout
from nas.visualization.module_layout import CUBIC, LINE, QUADRATIC, Edge
from nas.visualization.network import ARROWS, SHORTCUTS, totals

UNIT = 100
"""SVG units per inch of the layout."""
SCALE = 1.15
"""Pixels per SVG unit where there is room."""
SMALLEST = 0.85
"""Share of its size to which a drawing shrinks to fit its page. A wider one scrolls, so its text stays
legible."""
COMMANDS = {LINE: "L", QUADRATIC: "Q", CUBIC: "C"}


def drawing(graph: Graph, label: str, *, closed: bool = False) -> Markup:
    """Draw the modules of a network, one column per stage, with their layers unless `closed`.

    label: what the drawing shows, for readers who do not see it.
    """
    boxes, edges = layout(graph, closed=closed)
    width = max(box.right for box in boxes) + 0.55
    height = max(box.bottom for box in boxes) + 0.3
    pixels = UNIT * SCALE * (width + 0.2)
    skips = any(edge.skip for edge in (*edges, *(edge for box in boxes for edge in box.edges)))
    return render(
        "drawing.html",
        totals=totals(graph),
        arrows=ARROWS,
        shortcuts=SHORTCUTS if skips else "",
        boxes=boxes,
        edges=edges,
        colour=_colour,
        label=label,
        view=f"-20 0 {UNIT * (width + 0.2):.0f} {UNIT * height:.0f}",
        width=f"{pixels:.0f}",
        least_width=f"{SMALLEST * pixels:.0f}",
        at=_at,
        path=_path,
    )


def _colour(kind: str) -> str:
    """Return the CSS class of the area of a box; stems and heads are grey, a lone primitive has none."""
    if not kind:
        return ""
    name = type_of_kind(kind)
    return f"k{css_class(name)[1:]}" if name else "kmixed"


def _path(edge: Edge) -> str:
    start, *rest = [f"{_at(x)} {_at(y)}" for x, y in edge.points]
    command = COMMANDS[edge.code]
    return f"M{start}{command}{(command if command == 'L' else ' ').join(rest)}"


def _at(value: float) -> str:
    """Return SVG units, rounded to a tenth."""
    return f"{UNIT * value:.1f}".removesuffix(".0")
