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

    from nas.study.run import Run


def pareto_front(run: Run, objectives: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the Pareto front of a run as a table with one row per network, lowest error first.

    Args:
        run: The run, as `nas.open_run` and `nas.search` return it.
        objectives: Columns of `run.trials` to minimise; by default the objectives of the search.

    Returns:
        The rows of `run.trials` that no other network beats in every objective. A network trained with
        several seeds has one row, with means over them; the column `seeds` counts them. Empty if no
        trial is complete.

    Raises:
        NasError: The run did not measure one of the objectives.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> front = nas.pareto_front(run)
        >>> bool(front["error"].is_monotonic_increasing)
        True
        >>> nas.pareto_front(run, ["error", "params"]).shape[0] >= 1
        True
    """
    names = tuple(objectives or run.study.objectives)
    return front_table(run.study, names).sort_values(["error", "flops"]).drop(columns="knee")


def network_means(trials: pd.DataFrame, objectives: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per distinct complete network: its first trial with error and `objectives` as means
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
    """Return the objectives of complete trials; NasError where one was not measured."""
    points: Floats = complete[list(objectives)].to_numpy(float)
    if np.isnan(points).any():
        missing = [name for name, values in zip(objectives, points.T, strict=True) if np.isnan(values).any()]
        hint = f"nas search --objectives error,{missing[0]} measures it"
        raise NasError("was not measured in this run", where=" and ".join(missing), hint=hint)
    return points
