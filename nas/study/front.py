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

    from nas.study.expected import Expected
    from nas.study.run import Run


EXPECTED = ("expected_error", "expected_low", "expected_high", "membership")
"""Columns of `with_expected`."""


def pareto_front(run: Run, objectives: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the Pareto front of a run as a table with one row per network, lowest error first.

    One training per network is partly luck, so networks are compared by the error that a model of all
    trainings expects of them. `run.measured_front()` compares the measured errors.

    Args:
        run: The run, as `nas.open_run` and `nas.search` return it.
        objectives: Columns of `run.trials` to minimise; by default the objectives of the search.

    Returns:
        The rows of `run.trials` that no other network beats in every objective. A network trained with
        several seeds has one row, with means over them; the column `seeds` counts them. `expected_error` has
        limits of 95 % in `expected_low` and `expected_high`, and `membership` is the probability that the
        network is on the front. These columns are NaN where measured errors choose: below ten trainings, or
        where the error is no objective. Empty if no trial is complete. Printed are the columns to choose by.

    Raises:
        NasError: The run did not measure one of the objectives.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> front = nas.pareto_front(run)
        >>> sorted(front["number"]) == sorted(trial.number for trial in run.front())
        True
        >>> nas.pareto_front(run, ["error", "params"]).shape[0] >= 1
        True
    """
    names = tuple(objectives or run.study.objectives)
    table = front_table(run.study, names, run.expected(names))
    from nas.study.front_frame import Front

    return Front(table.sort_values([error_column(table), "flops"]).drop(columns="knee"))


def with_expected(networks: pd.DataFrame, expected: Expected | None) -> pd.DataFrame:
    """Return networks with the columns of `EXPECTED`, NaN where there is no model or a network is not in
    it."""
    rows = np.full((len(networks), len(EXPECTED)), np.nan)
    for i, digest in enumerate(networks["digest"] if expected else ()):
        if expected and digest in expected.place:
            error = expected.of(digest)
            rows[i] = error.value, error.low, error.high, expected.membership(digest)
    return networks.assign(**dict(zip(EXPECTED, rows.T, strict=True)))


def network_means(trials: pd.DataFrame, objectives: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per distinct complete network: its first trial with error and `objectives` as means
    over all its trainings, and a column `seeds`, of how many seeds."""
    complete = trials[trials["state"] == "complete"]
    known = complete.groupby("digest", sort=False)
    means = {name: known[name].mean().to_numpy(float) for name in {"error", *objectives}}
    first = complete.drop_duplicates("digest")
    return first.assign(**means, seeds=known["seed"].nunique().to_numpy())


def front_table(
    source: Any, objectives: Sequence[str] = ("error", "flops"), expected: Expected | None = None
) -> pd.DataFrame:
    """Return the rows of `network_means` on the front by ascending FLOPs, with a column `knee` and those of
    `EXPECTED`; the expected error counts where it is known.

    source: a study or its frame; the table is empty if no trial is complete. A frame may have the columns of
    `EXPECTED` already.
    """
    networks = network_means(source.frame() if hasattr(source, "frame") else source, objectives)
    if expected is not None or "expected_error" not in networks:
        networks = with_expected(networks, expected)
    points = _points(networks, objectives)
    if not len(points):
        return networks.assign(knee=False)
    at = pareto.front(points)
    knee = pareto.knee(_points(networks, error_first(objectives)))
    members = networks.iloc[at].assign(knee=at == knee)
    return members.sort_values([*dict.fromkeys(("flops", *objectives))], kind="stable")


def error_column(networks: pd.DataFrame) -> str:
    """Return the column by which networks are compared: the expected error where it is known of all of
    them."""
    known = "expected_error" in networks and len(networks) and networks["expected_error"].notna().all()
    return "expected_error" if known else "error"


def _points(complete: pd.DataFrame, objectives: Sequence[str]) -> Floats:
    """Return the objectives of complete trials, the expected error for the error where it is known of all;
    NasError where one was not measured."""
    points: Floats = complete[list(objectives)].to_numpy(float)
    if "error" in objectives:
        points[:, list(objectives).index("error")] = complete[error_column(complete)]
    if np.isnan(points).any():
        missing = [name for name, values in zip(objectives, points.T, strict=True) if np.isnan(values).any()]
        hint = f"nas search --objectives error,{missing[0]} measures it"
        raise NasError("was not measured in this run", where=" and ".join(missing), hint=hint)
    return points
