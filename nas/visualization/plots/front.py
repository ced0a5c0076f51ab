"""Networks of a study in two objectives, and their Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.analyze import trial_table
from nas.analysis.front import front_table, network_means
from nas.analysis.table import dominating_type
from nas.formatting import count
from nas.study.objectives import objective
from nas.study.outcomes import none_complete, outcomes_of
from nas.visualization.formats import check_format
from nas.visualization.plots.style import (
    GREY,
    INK,
    canvas,
    dots,
    in_style,
    looks,
    objective_axis,
    save,
    scale,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_front(
    source: Any, file: str | Path, objectives: Sequence[str] = ("flops", "error"), title: str = ""
) -> Path:
    """Plot every complete network of a study or its frame, and the front of two objectives (x, y).

    Colour and marker tell the module type of most blocks. Labels give the trial numbers of
    what one would export: the knee, the lowest error and the cheapest. NotFoundError without a
    complete trial, NasError for an unknown suffix. Returns the file.
    """
    path = check_format(file)
    table = trial_table(source)
    if not (table["state"] == "complete").any():
        raise none_complete(outcomes_of(table), where=str(file))
    task = getattr(source, "meta", {}).get("task", "")
    return save(front_figure(table, objectives, title, task), path)


@in_style
def front_figure(
    table: pd.DataFrame,
    objectives: Sequence[str] = ("flops", "error"),
    title: str = "",
    task: str = "",
    types: Sequence[str] = (),
) -> Figure:
    """Return the picture of `plot_front`, of a frame with complete trials and the columns of `trial_table`;
    `types` as for `nas.visualization.plots.style.looks`."""
    complete = network_means(table, objectives)
    figure, axes = canvas(7.5, 5)
    _scatter(axes, complete, objectives, types)
    _front_line(axes, complete, objectives)
    _dress(axes, complete, objectives, task)
    failed = int((table["state"] == "failed").sum())
    counts = count(len(complete), "network")
    if failed:
        counts += f", {count(failed, 'failed trial')} not shown"
    axes.set_title(f"{title}: {counts}" if title else counts, fontsize=10, loc="left")
    return figure


@in_style
def type_fronts_figure(table: pd.DataFrame, task: str = "", types: Sequence[str] = ()) -> Figure:
    """Draw the front of FLOPs and error of each type, among networks of which most blocks have this type."""
    complete = network_means(table)
    groups = complete["blocks"].map(dominating_type)
    figure, axes = canvas()
    for name, look in looks(groups, types).items():
        own = complete[groups == name]
        members = front_table(own, ("flops", "error"))
        points = own["flops"], scale("error", own["error"])
        dots(axes, *points, look, size=6, alpha=0.35, among=len(complete))
        x, y = members["flops"], scale("error", members["error"])
        text = f"{name} ({len(members)} of {len(own)})"
        colour, marker = look
        axes.step(x, y, color=colour, marker=marker, markersize=4.5, linewidth=1.2, where="post", label=text)
    _dress(axes, complete, ("flops", "error"), task)
    return figure


def _scatter(axes: Axes, complete: pd.DataFrame, objectives: Sequence[str], types: Sequence[str]) -> None:
    groups = complete["blocks"].map(dominating_type)
    for kind, look in looks(groups, types).items():
        rows = complete[groups == kind]
        x, y = (scale(name, rows[name]) for name in objectives)
        dots(axes, x, y, look, f"{kind} ({len(rows)})", size=30, among=len(complete))


def _front_line(axes: Axes, complete: pd.DataFrame, objectives: Sequence[str]) -> None:
    members = front_table(complete, objectives).sort_values(list(objectives))
    x, y = (scale(name, members[name]) for name in objectives)
    text = f"Pareto front ({len(members)})"
    axes.step(x, y, where="post", color=INK, linewidth=1, zorder=0.9, label=text)
    axes.scatter(x, y, s=60, facecolors="none", edgecolors=INK, linewidths=0.9)
    roles: dict[int, list[str]] = {}
    for role, row in (
        ("knee", int(np.flatnonzero(members["knee"])[0])),
        (f"lowest {objective(objectives[1]).label}", int(np.argmin(y))),
        (f"lowest {objective(objectives[0]).label}", int(np.argmin(x))),
    ):
        roles.setdefault(row, []).append(role)
    for row, named in roles.items():  # below a front there are no points, nor left of its cheapest
        first = x[row] == x.min()
        axes.annotate(
            "\n".join([f"trial {members['number'].iloc[row]}", *named]),
            (x[row], y[row]),
            xytext=(-14, 12 if first else -12),
            textcoords="offset points",
            ha="right",
            va="bottom" if first else "top",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7},
        )


def _dress(axes: Axes, complete: pd.DataFrame, objectives: Sequence[str], task: str) -> None:
    for name, which in zip(objectives, "xy", strict=True):
        objective_axis(axes, which, name, complete[name], task)
    axes.margins(0.2, 0.15)  # room for labels
    axes.legend(loc="upper right")  # where a front leaves room; searching for the best place takes long
