"""Networks of a study in two objectives, and their Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.table import dominating_type, trial_table
from nas.formatting import count
from nas.study.front import EXPECTED, error_column, front_table, network_means, with_expected
from nas.study.objectives import objective
from nas.study.outcomes import none_complete, outcomes_of
from nas.visualization.formats import check_format
from nas.visualization.plots.style import (
    GREY,
    INK,
    canvas,
    described,
    dots,
    in_style,
    label,
    looks,
    objective_axis,
    save,
    scale,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nas.study.expected import Expected

PANEL = (2.9, 2.4)
"""Width and height in inches of one of several panels."""
ROLE_MARKS = ("D", "v", "s")
"""Outlines around the knee and the ends of a front."""


def plot_front(
    source: Any,
    file: str | Path,
    objectives: Sequence[str] = ("flops", "error"),
    title: str = "",
    expected: Expected | None = None,
) -> Path:
    """Plot every complete network of a study or its frame, and the front of two objectives (x, y); of more
    objectives, every pair with its front.

    Colour and marker tell the module type of most blocks. The legend gives the trial numbers of
    what one would export: the knee, the lowest error and the cheapest. With the `expected` errors of a run
    (`Run.expected`) networks stand at these, those of the front with their 95 % intervals, beside the front
    of measured errors. NotFoundError without a complete trial, NasError for an unknown suffix. Returns the
    file.
    """
    path = check_format(file)
    table = trial_table(source)
    if not (table["state"] == "complete").any():
        raise none_complete(outcomes_of(table), where=str(file))
    task = getattr(source, "meta", {}).get("task", "")
    return save(front_figure(table, objectives, title, task, expected=expected), path)


@in_style
def front_figure(
    table: pd.DataFrame,
    objectives: Sequence[str] = ("flops", "error"),
    title: str = "",
    task: str = "",
    types: Sequence[str] = (),
    expected: Expected | None = None,
) -> Figure:
    """Return the picture of `plot_front`, of a frame with complete trials and the columns of `trial_table`,
    or with those of `with_expected` too; `types` as for `nas.visualization.plots.style.looks`."""
    complete = network_means(table, objectives)
    if expected is not None:
        complete = with_expected(complete, expected)
    if len(objectives) > 2:
        figure = _pairs(complete, objectives, types, task)
        axes = figure.axes[0]
    else:
        figure, axes = canvas(7.5, 4.6)
        _scatter(axes, complete, objectives, types)
        _mark_roles(axes, _front_line(axes, complete, objectives), objectives)
        _dress(axes, complete, objectives, task)
        figure.legend(loc="outside right upper")
    failed = int((table["state"] == "failed").sum())
    counts = count(len(complete), "network")
    if failed:
        counts += f", {count(failed, 'failed trial')} not shown"
    axes.set_title(f"{title}: {counts}" if title else counts, fontsize=10, loc="left")
    return figure


def _pairs(complete: pd.DataFrame, objectives: Sequence[str], types: Sequence[str], task: str) -> Figure:
    """Draw every pair of objectives, a row for each but the first and a column for each but the last; a panel
    shows the front of its pair alone."""
    from matplotlib.figure import Figure

    size = len(objectives) - 1
    figure = Figure(figsize=(2.2 + PANEL[0] * size, 0.5 + PANEL[1] * size), layout="constrained")
    panels: Any = figure.subplots(size, size, squeeze=False)
    for row, column in np.ndindex(size, size):
        axes = panels[row, column]
        if column > row:
            axes.set_axis_off()
            continue
        pair = objectives[column], objectives[row + 1]
        _scatter(axes, complete, pair, types)
        _front_line(axes, complete, pair, "front of the pair")
        _dress(axes, complete, pair, task)
        axes.set_xlabel(_heading(complete, pair[0]) if row == size - 1 else "")
        axes.set_ylabel("" if column else _heading(complete, pair[1]))
    known: dict[str, Any] = {}
    for axes in panels.flat:
        known |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(list(known.values()), list(known), loc="upper right")
    return figure


def _heading(complete: pd.DataFrame, name: str) -> str:
    expected = "expected " if name == "error" and error_column(complete) != name else ""
    return expected + objective(name).heading


@in_style
def type_fronts_figure(table: pd.DataFrame, task: str = "", types: Sequence[str] = ()) -> Figure:
    """Draw the front of FLOPs and error of each type, among networks of which most blocks have this type."""
    complete = network_means(table)
    groups = complete["blocks"].map(dominating_type)
    figure, axes = canvas()
    for name, look in looks(groups, types).items():
        own = complete[groups == name]
        members = front_table(own, ("flops", "error"))
        points = own["flops"], _values(own, "error")
        dots(axes, *points, look, size=6, alpha=0.35, among=len(complete))
        x, y = members["flops"], _values(members, "error")
        text = f"{described(name)} ({len(members)} of {len(own)})"
        colour, marker = look
        axes.step(x, y, color=colour, marker=marker, markersize=4.5, linewidth=1.2, where="post", label=text)
    _dress(axes, complete, ("flops", "error"), task)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _scatter(axes: Axes, complete: pd.DataFrame, objectives: Sequence[str], types: Sequence[str]) -> None:
    groups = complete["blocks"].map(dominating_type)
    for kind, look in looks(groups, types).items():
        rows = complete[groups == kind]
        x, y = (_values(rows, name) for name in objectives)
        dots(axes, x, y, look, f"{described(kind)} ({len(rows)})", size=30, among=len(complete))


def _front_line(
    axes: Axes, complete: pd.DataFrame, objectives: Sequence[str], text: str = ""
) -> pd.DataFrame:
    """Draw the front of two objectives and return its members in its order."""
    members = front_table(complete, objectives).sort_values(list(objectives))
    x, y = (_values(members, name) for name in objectives)
    modelled = error_column(complete) == "expected_error" and "error" in objectives
    by = "expected error, 95 %" if modelled else "measured error"
    named = text or f"front by {by} ({len(members)})"
    axes.step(x, y, where="post", color=INK, linewidth=1, zorder=0.9, label=named)
    if modelled and objectives[1] == "error":
        ends = [_values(members, name) for name in ("expected_low", "expected_high")]
        bars = np.array([y - ends[0], ends[1] - y])
        axes.errorbar(x, y, yerr=bars, fmt="none", ecolor=INK, elinewidth=0.8, capsize=2.5, zorder=0.8)
        _measured_line(axes, complete, objectives, "front by measured error", counted=not text)
    axes.scatter(x, y, s=60, facecolors="none", edgecolors=INK, linewidths=0.9)
    return members


def _measured_line(
    axes: Axes, complete: pd.DataFrame, objectives: Sequence[str], text: str, *, counted: bool
) -> None:
    """Draw the front of measured errors, at these errors, beside the one that a model chose; the legend gives
    its number of networks if `counted`."""
    members = front_table(complete.drop(columns=list(EXPECTED)), objectives).sort_values(list(objectives))
    x, y = (scale(name, members[name]) for name in objectives)
    look: dict[str, Any] = {"linestyle": ":", "marker": "o", "markersize": 3.5, "markerfacecolor": "white"}
    named = f"{text} ({len(members)})" if counted else text
    axes.step(x, y, where="post", color=GREY, linewidth=1, zorder=0.7, label=named, **look)


def _values(networks: pd.DataFrame, name: str) -> Any:
    """Return an objective of networks in the unit that people see; errors are those that are compared."""
    column = error_column(networks) if name == "error" else name
    return scale("error" if column.startswith("expected") else name, networks[column])


def _mark_roles(axes: Axes, members: pd.DataFrame, objectives: Sequence[str]) -> None:
    """Outline the knee and both ends of a front; the legend names their trials."""
    x, y = (_values(members, name) for name in objectives)
    roles: dict[int, list[str]] = {}
    for role, row in (
        ("knee", int(np.flatnonzero(members["knee"])[0])),
        (f"lowest {objective(objectives[1]).label}", int(np.argmin(y))),
        (f"lowest {objective(objectives[0]).label}", int(np.argmin(x))),
    ):
        roles.setdefault(row, []).append(role)
    for (row, named), mark in zip(roles.items(), ROLE_MARKS, strict=False):
        look: dict[str, Any] = {"marker": mark, "markersize": 11, "markerfacecolor": "none"}
        text = f"trial {members['number'].iloc[row]}: {', '.join(named)}"
        axes.plot(x[row], y[row], color=INK, linestyle="none", label=text, **look)


def _dress(axes: Axes, complete: pd.DataFrame, objectives: Sequence[str], task: str) -> None:
    for name, which in zip(objectives, "xy", strict=True):
        objective_axis(axes, which, name, complete[name], task)
        if name == "error" and error_column(complete) != name:
            getattr(axes, f"set_{which}label")(f"expected {label(name, task)}")
    axes.margins(0.05, 0.06)
