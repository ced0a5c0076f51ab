"""Colours, markers and axes that all pictures share, and how a picture becomes a file.

A page turns black into the colour of its text, so figures are readable on dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from nas.analysis.table import MIXED
from nas.formatting import metric
from nas.study.objectives import objective
from nas.visualization import colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

COLOURS = tuple(shades.mark for shades in colours.PALETTE)
"""Colours of series that are no module types; `looks` has those of the types."""

MARKERS = colours.MARKERS
GREY = colours.GREY.mark
INK = "black"

STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # names may hold a dollar sign
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
WIDTH = 4.0
"""Width in inches of a picture with one panel, whose text is legible on a phone."""

MOST_POINTS = 2000
"""Most points that a picture holds as vectors; more are drawn as an image, or its file would be too large."""


def in_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that draws, so that it uses the settings of all pictures."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def canvas(width: float = WIDTH, height: float = 3.1) -> tuple[Figure, Axes]:
    """Return a figure with one panel; width and height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, with the folders it needs, and return its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    return path


def looks(names: Iterable[str], types: Iterable[str] = ()) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each type by its name, in the order of legends.

    types: all types that other pictures beside it show, so that one that is not registered looks the same in
        each.
    """
    own = set(names)
    among = {*own, *types}
    ordered = colours.in_order(own)
    return {name: (colours.shades(name, among).mark, colours.marker(name, among)) for name in ordered}


def described(name: str) -> str:
    """Return the name of a type for a legend, with the meaning of `mixed`."""
    return f"{name} (no type leads)" if name == MIXED else name


def dots(
    axes: Axes,
    x: Any,
    y: Any,
    look: tuple[str, str],
    name: str = "",
    *,
    size: float = 20,
    alpha: float = 0.75,
    among: int = 0,
) -> None:
    """Draw points without edges, as an image if the picture holds `among` points and these are too many."""
    colour, marker = look
    many = among > MOST_POINTS
    axes.scatter(
        x, y, s=size, c=colour, marker=marker, alpha=alpha, linewidths=0, label=name or None, rasterized=many
    )


def label(name: str, task: str = "") -> str:
    """Return the label of an axis that shows an objective; `task` is that of the data."""
    return objective(name).axis(task)


def scale(name: str, values: Any) -> Any:
    """Return values of an objective in the unit that people see: errors in percent, latency in ms."""
    return objective(name).scale * np.asarray(values, float)


def objective_axis(axes: Axes, which: str, name: str, values: Any, task: str = "") -> None:
    """Label an axis, "x" or "y", for an objective with these recorded values, and choose its scale."""
    getattr(axes, f"set_{which}label")(label(name, task))
    if objective(name).logarithmic and np.min(values) > 0:
        log_axis(axes, which, scale(name, values))


TICKS = ((1, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
"""Digits of the labelled ticks of a logarithmic axis, the densest first."""

LABEL = {"x": 0.4, "y": 0.2}
"""Inches from one label to the next, at least."""

USED = 0.65
"""Share of a panel that its axis has at least, beside labels and legends."""


def log_axis(axes: Axes, which: str, values: Any) -> None:
    """Make an axis, "x" or "y", logarithmic, with as many ticks such as 200k and 5M as have room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = float(np.min(values)), float(np.max(values))
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    span = np.log(high / low) * 1.1 or 1.0
    inches = USED * _panel_inches(axes, which)
    subs = next((subs for subs in TICKS if _least_gap(subs) / span * inches >= LABEL[which]), TICKS[-1])
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: metric(value) if value >= 1000 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _panel_inches(axes: Axes, which: str) -> float:
    """Return the width or height of a figure, "x" or "y", that one of its panels has."""
    from matplotlib.figure import Figure

    figure, place = axes.get_figure(), axes.get_subplotspec()
    assert isinstance(figure, Figure)
    rows, columns = (1, 1) if place is None else place.get_gridspec().get_geometry()
    width, height = figure.get_size_inches()
    return float(width / columns if which == "x" else height / rows)


def _least_gap(digits: Sequence[int]) -> float:
    """Return the least distance between two ticks at these digits of each power of ten, as a logarithm."""
    return min(math.log(b / a) for a, b in pairwise((*digits, 10 * digits[0])))
