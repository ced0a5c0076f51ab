"""The front with the intervals of its members over training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.seeds import LEVEL, Member, Repeated
from nas.analysis.table import trial_table
from nas.formatting import count
from nas.visualization.formats import check_format
from nas.visualization.plots.front import front_figure
from nas.visualization.plots.style import GREY, INK, in_style, save, scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nas.study.expected import Expected


def plot_front_over_seeds(
    source: Any,
    repeated: Repeated,
    file: str | Path,
    objectives: Sequence[str] = ("flops", "error"),
    expected: Expected | None = None,
) -> Path:
    """Draw the plot of `plot_front` with the mean error of each member over seeds and its 95 % interval.

    The mark is open if the place on the front depends on the seed. Returns the file.
    """
    path = check_format(file)
    task = getattr(source, "meta", {}).get("task", "")
    return save(front_over_seeds_figure(trial_table(source), repeated, objectives, task, expected), path)


@in_style
def front_over_seeds_figure(
    table: pd.DataFrame,
    repeated: Repeated,
    objectives: Sequence[str] = ("flops", "error"),
    task: str = "",
    expected: Expected | None = None,
) -> Figure:
    """Return the picture of `plot_front_over_seeds`, of a frame with the columns of `trial_table`."""
    figure = front_figure(table, objectives, task=task, expected=expected)
    if objectives[1] != "error":
        return figure
    axes = figure.axes[0]
    mean = f"mean of {count(repeated.seeds, 'seed')}, {count(repeated.epochs, 'epoch')}, 95 %"
    depending = f"on the front in under {LEVEL:.0%} of resampled seeds"
    for depends, text in ((False, mean), (True, depending)):
        members = [m for m in repeated.members if m.depends == depends and m.errors]
        if members:
            x = scale(objectives[0], [m.trial.objective(objectives[0]) for m in members])
            y = scale("error", [m.error.value for m in members])
            look: dict[str, Any] = {"color": INK, "markerfacecolor": "white" if depends else INK}
            look |= {"markersize": 4, "ecolor": GREY, "elinewidth": 0.9, "capsize": 2.5, "zorder": 1.5}
            axes.errorbar(x, y, yerr=_limits(members), fmt="D", label=text, **look)
    figure.legends[0].remove()
    figure.legend(loc="outside right upper")
    return figure


def _limits(members: Sequence[Member]) -> Any:
    """Return distances to the lower and upper limit in percent (2, members), 0 if not known."""
    rows = [(m.error.value - m.error.low, m.error.high - m.error.value) for m in members]
    return scale("error", np.nan_to_num(np.array(rows).T))
