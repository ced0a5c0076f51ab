"""A matplotlib figure as an inline SVG that takes the colours of its page."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

from markupsafe import Markup

from nas.visualization.plots.style import COLOURS, GREY, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS = 108
"""Pixels per inch of a figure on a wide page."""
GRID = "#b0b0b0"

VARIABLES = {colour.lower(): f"var(--c{i})" for i, colour in enumerate(COLOURS)}
VARIABLES |= {"#000000": "currentColor", GREY: "var(--mixed)", GRID: "var(--soft)"}


def inline(figure: Figure, name: str, caption: str) -> Markup:
    """Turn a figure into an SVG element.

    name: keeps its identifiers apart from those of other figures on the page.
    caption: what the figure shows, for readers who do not see it.
    """
    import matplotlib

    buffer = StringIO()
    with matplotlib.rc_context(STYLE | {"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: (?:[\w-]+ )*([\d.]+)px[^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r'(\bid="|="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub("|".join(VARIABLES), lambda match: VARIABLES[match[0]], svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    box = re.search(r'viewBox="([^"]+)"', svg)
    head = Markup('<svg class="plot" role="img" aria-label="{}" viewBox="{}" style="max-width: {:.0f}px">')
    head = head.format(caption, box[1] if box else "", figure.get_size_inches()[0] * PIXELS)
    return Markup(re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1).strip())
