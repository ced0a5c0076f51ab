"""Progress of a search against uniform draws, and its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.coverage import Timing
from nas.analysis.table import dominating_type
from nas.analysis.trajectory import Baseline, Trajectory
from nas.stats.resampling import Floats
from nas.visualization.plots.style import (
    COLOURS,
    GREY,
    WIDTH,
    canvas,
    dots,
    in_style,
    label,
    log_axis,
    looks,
    scale,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ("-", "--", ":", "-.")
MOST_ROWS = 24
"""Most workers that a timeline shows."""
FINEST = 2000
"""Parts of a timeline that the eye can tell apart."""


@in_style
def best_figure(paths: Mapping[str, Trajectory], baseline: Baseline, task: str = "") -> Figure:
    """Draw the lowest error after each trial, against uniform draws."""
    curves = {name: scale("error", path.best) for name, path in paths.items()}
    parts = (baseline.mean, baseline.low, baseline.high)
    figure, axes = _against(curves, [scale("error", part.best) for part in parts])
    axes.set_ylabel(f"lowest {label('error', task)}")
    return figure


@in_style
def volume_figure(paths: Mapping[str, Trajectory], baseline: Baseline) -> Figure:
    """Draw the hypervolume after each trial, against uniform draws."""
    curves = {name: 100 * path.volume for name, path in paths.items()}
    parts = (baseline.mean, baseline.low, baseline.high)
    figure, axes = _against(curves, [100 * part.volume for part in parts])
    axes.set_ylabel("hypervolume, % of that of all trials")
    return figure


@in_style
def timeline_figure(timings: Mapping[str, Timing]) -> Figure:
    """Draw when each worker of each run trained."""
    rows = [(name, worker) for name, clock in timings.items() for worker in range(len(clock.busy))]
    rows = rows[:MOST_ROWS]
    longest = max(float(clock.end.max()) for clock in timings.values())
    unit, factor = time_unit(longest)
    figure, axes = canvas(WIDTH, 1.0 + 0.28 * len(rows))
    for i, (name, worker) in enumerate(rows):
        clock = timings[name]
        own = clock.worker == worker
        spans = [(s / factor, (e - s) / factor) for s, e in _spans(clock.start[own], clock.end[own], longest)]
        axes.broken_barh(spans, (i - 0.35, 0.7), facecolors=COLOURS[i % 2 * 5])
    names = [f"{name}, {worker + 1}" if len(timings) > 1 else f"worker {worker + 1}" for name, worker in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_xlabel(f"{unit} since the run began")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    return figure


def time_unit(longest: float) -> tuple[str, int]:
    """Return the unit for times of up to so many seconds, and its length in seconds."""
    units = (("hours", 3600), ("minutes", 60))
    return next(((unit, size) for unit, size in units if longest > size), ("seconds", 1))


@in_style
def seconds_figure(trials: pd.DataFrame, types: Sequence[str] = ()) -> Figure:
    """Draw the seconds of each training against the FLOPs of its network."""
    ran = trials[(trials["duration"] > 0) & (trials["state"] == "complete")]
    groups = ran["blocks"].map(dominating_type)
    figure, axes = canvas()
    for name, look in looks(groups, types).items():
        rows = ran[groups == name]
        dots(axes, rows["flops"], rows["duration"], look, name, size=14, among=len(ran))
    log_axis(axes, "x", ran["flops"])
    log_axis(axes, "y", ran["duration"])
    axes.set(xlabel="FLOPs", ylabel="training time, seconds")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _against(curves: Mapping[str, Floats], baseline: list[Floats]) -> tuple[Figure, Axes]:
    figure, axes = canvas()
    mean, low, high = baseline
    drawn = np.arange(1, len(mean) + 1)
    axes.fill_between(drawn, low, high, color=GREY, alpha=0.25, linewidth=0)
    axes.plot(drawn, mean, "--", color=GREY, linewidth=1.4, label="uniform draws, mean and 95 % of orders")
    for i, (name, curve) in enumerate(curves.items()):
        style = STYLES[i % len(STYLES)]
        axes.plot(np.arange(1, len(curve) + 1), curve, style, color=COLOURS[i % len(COLOURS)], label=name)
    axes.set_xlabel("trials")
    figure.legend(loc="outside upper center", fontsize=8)
    return figure, axes


def _spans(start: Floats, end: Floats, longest: float) -> list[tuple[float, float]]:
    """Return intervals in order, joined where the gap between them could not be seen."""
    spans: list[tuple[float, float]] = []
    for s, e in sorted(zip(start.tolist(), end.tolist(), strict=True)):
        if spans and s - spans[-1][1] < longest / FINEST:
            spans[-1] = (spans[-1][0], max(e, spans[-1][1]))
        else:
            spans.append((s, e))
    return spans
