"""Show a network as a table of layers, as Graphviz or Mermaid text, or as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.formatting import metric
from nas.graph.cost import cost
from nas.graph.graph import Graph, Primitive, Shape, shape_text
from nas.visualization.colours import GREY, shades, type_of_kind
from nas.visualization.formats import FORMATS, check_format
from nas.visualization.layout import Box, layout
from nas.visualization.module_layout import Edge, describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOW, SKIP = "#444444", "#a03020"
ARROWS, SHORTCUTS = "arrow: output of a layer to the next", "arrow: shortcut past layers"
"""Words for the two colours of arrows."""
HEAD, CHARACTERS, LINE = 0.4, 13, 0.17
"""Least inches above a drawing for its title, characters of the title per inch, and inches per line."""

FOOT, WIDE = 0.22, 4.2
"""Inches below a drawing for each line of its legend, and inches from which one line holds it."""

MAX_DRAWN = 2000
"""Most layers and arrows of a picture, which then takes less than 2 s to draw."""


@dataclass(frozen=True)
class Layer:
    """A row of the layer table.

    level: depth of nesting. A module (0) is followed by its layers (1), and its own row holds their sums.
    flops: multiply-adds for one image.
    """

    name: str
    op: str
    shape: Shape
    params: int
    flops: int
    level: int

    def row(self) -> dict[str, str]:
        """Return the cells of a table."""
        return {
            "layer": "  " * self.level + self.nested,
            "op": self.op,
            "output": shape_text(self.shape),
            "parameters": f"{self.params:,}" if self.params else "",
            "FLOPs": f"{self.flops:,}" if self.flops else "",
        }

    @property
    def nested(self) -> str:
        """Name without those of the enclosing modules."""
        return self.name.rsplit("/", 1)[-1]


def layer_table(graph: Graph) -> list[Layer]:
    """Return every module of a graph, each followed by its layers, in the order of computation."""
    return list(_layers(graph, "", 0))


def _layers(graph: Graph, prefix: str, level: int) -> Iterator[Layer]:
    nodes = graph.nodes
    for name, node in nodes.items():
        op = node.op
        if op is None:
            continue
        path, shape = f"{prefix}{name}", node.shape
        if isinstance(op, Graph):
            total = cost(op)
            yield Layer(path, op.kind, shape, total.params, total.flops, level)
            yield from _layers(op, f"{path}/", level + 1)
        else:
            shapes = graph.shapes_of(node.inputs)
            yield Layer(path, describe(op), shape, op.params(*shapes), op.flops(shape, *shapes), level)


def to_dot(graph: Graph) -> str:
    """Return Graphviz source with one cluster per module."""
    lines = ["digraph network {", "  node [shape=box, fontname=sans, fontsize=10];"]
    lines += [
        f'  {_input(-1 - i)} [label="input {shape_text(shape)}"];'
        for i, shape in enumerate(graph.input_shapes)
    ]
    for cluster, (module, members) in enumerate(_clusters(graph)):
        lines += [f"  subgraph cluster{cluster} {{", f'    label="{module}";']
        lines += [
            f'    n{i} [label="{describe(node.op)}\\n{shape_text(node.shape)}"];' for i, node in members
        ]
        lines.append("  }")
    lines += [f"  {_input(i)} -> {_input(j)};" for i, j in _edges(graph)]
    return "\n".join([*lines, "}"]) + "\n"


def to_mermaid(graph: Graph) -> str:
    """Return a Mermaid flowchart with one subgraph per module, as Markdown pages show it."""
    lines = ["flowchart TD"]
    lines += [
        f'  {_input(-1 - i)}(["input {shape_text(shape)}"])' for i, shape in enumerate(graph.input_shapes)
    ]
    for cluster, (module, members) in enumerate(_clusters(graph)):
        lines.append(f'  subgraph m{cluster}["{module}"]')
        lines += [f'    n{i}["{describe(node.op)}<br>{shape_text(node.shape)}"]' for i, node in members]
        lines.append("  end")
    lines += [f"  {_input(i)} --> {_input(j)}" for i, j in _edges(graph)]
    return "\n".join(lines) + "\n"


TEXTS = {".dot": to_dot, ".mmd": to_mermaid}
"""Functions that write a network as text, by the suffix of the file."""


def _clusters(graph: Graph) -> Iterator[tuple[str, list[tuple[int, Primitive]]]]:
    """Return the primitives of each outermost module, with their indices."""
    for module, members in groupby(enumerate(graph.primitives), key=lambda item: item[1].path.split("/")[0]):
        yield module, list(members)


def _edges(graph: Graph) -> Iterator[tuple[int, int]]:
    for i, node in enumerate(graph.primitives):
        for source in node.inputs:
            yield source, i


def _input(index: int) -> str:
    return f"n{index}" if index >= 0 else f"input{-index}"


def draw(graph: Graph, file: str | Path, title: str = "", *, closed: bool = False) -> Path:
    """Draw a network to a file, and return the file.

    Modules stand in one column per stage, with their layers from top to bottom, parallel paths side by
    side and shortcuts as arcs.

    file: its suffix is the format: .png, .svg or .pdf for a picture, .dot for Graphviz, .mmd for Mermaid
        text. NasError for any other, and for a picture of more than `MAX_DRAWN` layers and arrows.
    closed: whether to leave out the layers.
    """
    path = check_format(file, (*FORMATS, *TEXTS))
    suffix = path.suffix.lower()
    if suffix not in TEXTS:
        _check_drawable(graph, closed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix in TEXTS:
        path.write_text(TEXTS[suffix](graph), encoding="utf-8")
    else:
        figure(graph, title, closed=closed).savefig(path, dpi=130)
    return path


def _check_drawable(graph: Graph, closed: bool) -> None:
    nodes = graph.nodes.values() if closed else graph.primitives
    drawn = sum(1 + len(node.inputs) for node in nodes)
    if drawn > MAX_DRAWN:
        message = f"the network has {drawn:,} layers and arrows, and a picture at most {MAX_DRAWN:,}"
        raise NasError(message, where="plot", hint="write it as text: a file that ends in .dot or .mmd")


def figure(graph: Graph, title: str = "", *, closed: bool = False) -> Figure:
    """Return the drawing of `draw` as a matplotlib figure."""
    from matplotlib.figure import Figure
    from matplotlib.transforms import TransformedPath

    boxes, edges = layout(graph, closed=closed)
    width = max(box.right for box in boxes) + 0.55
    height = max(box.bottom for box in boxes) + 0.3
    lines = textwrap.wrap(f"{title}: {totals(graph)}" if title else totals(graph), round(width * CHARACTERS))
    skips = any(edge.skip for edge in (*edges, *(edge for box in boxes for edge in box.edges)))
    columns = 2 if width >= WIDE else 1
    foot = FOOT * (2 if skips and columns == 1 else 1)
    whole = max(HEAD, LINE * (len(lines) + 0.5)) + height + foot
    picture = Figure(figsize=(width, whole))
    axes = picture.add_axes((0, foot / whole, 1, height / whole))
    axes.set(xlim=(-0.2, width - 0.2), ylim=(height, 0))
    axes.set_axis_off()
    # One clip path for all; matplotlib would make one for each part, which takes half of the time.
    clip = TransformedPath(axes.patch.get_path(), axes.patch.get_transform())
    picture.suptitle("\n".join(lines), fontsize=9, x=0.02, ha="left", y=0.99, va="top")
    _explain_arrows(picture, skips, columns)
    for box in boxes:
        _draw_box(axes, box, _colour(box.kind), clip)
    for edge in edges:
        _draw_edge(axes, edge, clip)
    return picture


def totals(graph: Graph) -> str:
    """Return `input 3x32x32, 270k parameters, 40.6M FLOPs`."""
    figures = cost(graph)
    size = " and ".join(map(shape_text, graph.input_shapes))
    return f"input {size}, {metric(figures.params)} parameters, {metric(figures.flops)} FLOPs"


def _explain_arrows(picture: Figure, skips: bool, columns: int) -> None:
    """Say below the drawing what the colours of arrows mean."""
    from matplotlib.lines import Line2D

    looks = [(FLOW, ARROWS)] + ([(SKIP, SHORTCUTS)] if skips else [])
    picture.legend(
        [Line2D([], [], color=colour, linewidth=1.2) for colour, _ in looks],
        [text for _, text in looks],
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        ncols=columns,
        borderaxespad=0.2,
        frameon=False,
        fontsize=7,
    )


def _colour(kind: str) -> str:
    """Return the fill of a box: that of its module type, grey for stems and heads, white for a primitive."""
    if not kind:
        return "white"
    name = type_of_kind(kind)
    return (shades(name) if name else GREY).area


def _draw_box(axes: Any, box: Box, colour: str, clip: Any) -> None:
    from matplotlib.patches import Circle

    _draw_tile(axes, (box.x, box.y, box.width, box.height), (colour, "#666666", 0.8), clip)
    words = {"ha": "center", "va": "center", "clip_path": clip}
    for line, (text, weight) in enumerate(((box.title, "bold"), (box.note, "normal"))):
        axes.text(box.middle, box.y + 0.15 + 0.15 * line, text, fontsize=6.5, weight=weight, **words)
    if box.entry:
        axes.add_artist(Circle(box.entry, 0.035, color=FLOW, clip_path=clip))
    for edge in box.edges:  # below the tiles, whose words they would cross
        _draw_edge(axes, edge, clip)
    for tile in box.tiles:
        place = (tile.x - tile.width / 2, tile.y - tile.height / 2, tile.width, tile.height)
        _draw_tile(axes, place, ("white", "#888888", 0.6), clip)
        axes.text(tile.x, tile.y, tile.text, fontsize=5.5, linespacing=1.05, **words)


def _draw_tile(
    axes: Any, place: tuple[float, float, float, float], look: tuple[str, str, float], clip: Any
) -> None:
    """Draw a rounded rectangle. place: left, top, width, height. look: fill, edge, line width."""
    from matplotlib.patches import FancyBboxPatch

    left, top, width, height = place
    fill, edge, line = look
    style = "round,pad=0,rounding_size=0.08"
    box = FancyBboxPatch((left, top), width, height, style, fc=fill, ec=edge, lw=line, clip_path=clip)
    axes.add_artist(box)


def _draw_edge(axes: Any, edge: Edge, clip: Any) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    axes.add_artist(
        FancyArrowPatch(
            path=Curve(edge.points, [1] + [edge.code] * (len(edge.points) - 1)),
            arrowstyle="-|>,head_length=2.2,head_width=1.3",
            color=SKIP if edge.skip else FLOW,
            linewidth=0.9 if edge.skip else 0.7,
            joinstyle="round",
            clip_path=clip,
        )
    )
