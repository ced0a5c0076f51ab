"""The front as a table: one row per network, with means over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas import pareto
from nas.errors import NasError
from nas.stats.resampling import Floats
from nas.study.objectives import error_first

if TYPE_CHECKING:
    import pandas as pd


def network_means(trials: pd.DataFrame, objectives: Sequence[str] = ()) -> pd.DataFrame:
    """One row a distinct complete network: its first trial with error and `objectives` as means
    over all its trainings, and a column `seeds`, of how many seeds."""
    complete = trials[trials["state"] == "complete"]
    known = complete.groupby("digest", sort=False)
    means = {name: known[name].mean().to_numpy(float) for name in {"error", *objectives}}
    first = complete.drop_duplicates("digest")
    return first.assign(**means, seeds=known["seed"].nunique().to_numpy())


def front_table(source: Any, objectives: Sequence[str] = ("error", "flops")) -> pd.DataFrame:
    """The rows of `network_means` on the front by ascending FLOPs, with a column `knee`. `source`
    is a study or its frame; empty where nothing completed."""
    networks = network_means(source.frame() if hasattr(source, "frame") else source, objectives)
    points = _points(networks, objectives)
    if not len(points):
        return networks.assign(knee=False)
    at = pareto.front(points)
    knee = pareto.knee(_points(networks, error_first(objectives)))
    members = networks.iloc[at].assign(knee=at == knee)
    return members.sort_values([*dict.fromkeys(("flops", *objectives))], kind="stable")


def _points(complete: pd.DataFrame, objectives: Sequence[str]) -> Floats:
    """The objectives of complete trials; NasError where one was not measured."""
    points: Floats = complete[list(objectives)].to_numpy(float)
    if np.isnan(points).any():
        missing = [name for name, values in zip(objectives, points.T, strict=True) if np.isnan(values).any()]
        hint = f"nas search --objectives error,{missing[0]} measures it"
        raise NasError("was not measured in this run", where=" and ".join(missing), hint=hint)
    return points
