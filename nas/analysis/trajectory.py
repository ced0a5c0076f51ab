"""Progress of a search after each trial, against as many uniform draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.formatting import count
from nas.pareto import hypervolume, hypervolume_history, reference_point
from nas.stats.resampling import Floats

if TYPE_CHECKING:
    import pandas as pd

ORDERS = 100
"""Random orders of the uniform draws."""
LONGEST = 300
"""Draws to which the baseline is followed."""


@dataclass(frozen=True)
class Trajectory:
    """Progress by number of trials (n,), failed ones included: the lowest error so far (NaN before the
    first), and the hypervolume so far as a share of that of all networks together."""

    best: Floats
    volume: Floats


@dataclass(frozen=True)
class Baseline:
    """Progress of uniform draws in random order: mean, and the middle 95 % of orders."""

    mean: Trajectory
    low: Trajectory
    high: Trajectory


def advantage_text(paths: Mapping[str, Trajectory], baseline: Baseline) -> str:
    """Say which searches dominate more hypervolume than 97.5 % of the orders of as many uniform draws."""
    sentences = []
    for name, path in paths.items():
        trials = min(len(path.volume), len(baseline.high.volume))
        if not trials:
            continue
        after = f"{name}, after {count(trials, 'trial')}"
        if path.volume[trials - 1] > baseline.high.volume[trials - 1]:
            sentences.append(
                f"{after}: more hypervolume than as many uniform draws have in 97.5 % of orders."
            )
        else:
            sentences.append(f"{after}: no advantage over random draws shown.")
    return " ".join(sentences)


def trajectories(
    runs: Sequence[pd.DataFrame], axes: Sequence[str] = ("error", "flops"), *, seed: int = 0
) -> tuple[list[Trajectory], Baseline | None]:
    """Return one trajectory per run whose searcher used results, and the baseline of all uniform draws; None
    if there are fewer than two. `axes` are the objectives of the hypervolume; the frames hold trials of one
    space in the order in which they finished."""
    points = [_points(run, axes) for run in runs]
    complete = np.concatenate([run_points[np.isfinite(run_points).all(axis=1)] for run_points in points])
    corner = reference_point(complete[:, 1:])
    whole = hypervolume(complete[:, 1:], corner)
    steered = [not run["uniform"].all() for run in runs]
    paths = [
        _trajectory(run_points, corner, whole)
        for run_points, kept in zip(points, steered, strict=True)
        if kept
    ]
    masks = [run["uniform"].to_numpy(bool) for run in runs]
    uniform = np.concatenate([run_points[mask] for run_points, mask in zip(points, masks, strict=True)])
    if len(uniform) < 2:
        return paths, None
    rng = np.random.default_rng(seed)
    orders = [uniform[rng.permutation(len(uniform))[:LONGEST]] for _ in range(ORDERS)]
    drawn = [_trajectory(order, corner, whole) for order in orders]
    best, volume = (
        np.stack([getattr(run_points, name) for run_points in drawn]) for name in ("best", "volume")
    )
    best = np.where(np.isnan(best), 1.0, best)
    limits = [(np.quantile(best, q, axis=0), np.quantile(volume, q, axis=0)) for q in (0.025, 0.975)]
    mean = Trajectory(best.mean(axis=0), volume.mean(axis=0))
    return paths, Baseline(mean, Trajectory(*limits[0]), Trajectory(*limits[1]))


def _points(run: pd.DataFrame, axes: Sequence[str]) -> Floats:
    """Return the error, then the axes (n, 1 + axes); NaN where a trial failed."""
    table: Floats = run[["error", *axes]].to_numpy(float, copy=True)
    table[(run["state"] != "complete").to_numpy()] = np.nan
    return table


def _trajectory(points: Floats, corner: Floats, whole: float) -> Trajectory:
    complete = np.isfinite(points).all(axis=1)
    best = np.asarray(np.fmin.accumulate(points[:, 0]))
    volume = np.concatenate([[0.0], hypervolume_history(points[complete][:, 1:], corner) / whole])
    return Trajectory(best, volume[np.cumsum(complete)])
