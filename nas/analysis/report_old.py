"""What a study found, as text for people and as JSON for programs; its analysis is in
`nas.analysis.text.ranking`.

Every JSON object carries `"schema": 1`; keys are added, never changed, within a schema.
Errors are fractions in JSON and percent in text. FLOPs are multiply-adds of convolutions
and linear layers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas import pareto
from nas.errors import NasError
from nas.stats.estimate import Estimate, percent
from nas.stats.resampling import Floats, rank_correlation
from nas.study.trial import Trial, error_first

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from rich.table import Table

    from nas.study.history import History

SCHEMA = 1
FLOPS_NOTE = "FLOPs are multiply-adds of convolutions and linear layers."
WIDTH = 110
"""Columns of text where no terminal says otherwise."""
RESAMPLES = 1000
"""Of the interval of a rank correlation."""


def to_text(*parts: RenderableType, width: int = WIDTH) -> str:
    """Plain text of rich tables and strings, one below the other. Strings are wrapped at `width`;
    tables are as wide as their figures need."""
    from rich.console import Console

    lines: list[str] = []
    for part in parts:
        columns = width if isinstance(part, str) else 1000
        console = Console(
            width=columns, color_system=None, force_terminal=False, highlight=False, emoji=False
        )  # or rich makes a picture of ":100:"
        with console.capture() as capture:
            console.print(part, markup=False)
        lines += [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join(lines)


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


def pareto_dict(study: History, objectives: Sequence[str] | None = None) -> dict[str, Any]:
    """The front as JSON: `front` with a dict a network (means over its `seeds`; `trial` is its
    first), `knee` (a trial number or None),
    `hypervolume` and its `reference_point` (in the order of `objectives`; None without a
    complete trial); `latency` where it was measured (see `latency_dict`)."""
    names = tuple(objectives or study.objectives)
    points = [study.means(trial, names) for trial in study.networks]
    members = sorted(study.front(names), key=lambda trial: (trial.flops, *study.means(trial, names)))
    ranked = [study.means(trial, error_first(names)) for trial in members]
    reference = pareto.reference_point(points) if points else None
    latency = latency_dict(study.networks)
    states = Counter(trial.state for trial in study.trials)
    return {
        "schema": SCHEMA,
        "objectives": list(names),
        "front": [_network_dict(study, trial, names) for trial in members],
        "knee": members[pareto.knee(ranked)].number if members else None,
        "hypervolume": None if reference is None else pareto.hypervolume(points, reference),
        "reference_point": None if reference is None else [float(value) for value in reference],
        "failed": states["failed"],
        "stopped": states["stopped"],
        **({"latency": latency} if latency else {}),
    }


def _network_dict(study: History, trial: Trial, objectives: Sequence[str]) -> dict[str, Any]:
    names = tuple(dict.fromkeys(("error", "flops", "params", *objectives)))
    figures = dict(zip(names, study.means(trial, names), strict=True))
    if trial.latency:
        figures = {"latency": trial.latency.seconds} | figures | {"latency_spread": trial.latency.spread}
    return {
        "trial": trial.number,
        **{name: _number(value) for name, value in figures.items()},
        "seeds": len({each.seed for each in study.trainings(trial)}),
        "digest": trial.digest,
        "module_types": list(trial.module_types),
    }


def latency_dict(trials: Sequence[Trial]) -> dict[str, Any] | None:
    """How latency goes with FLOPs over the networks where it was measured: Spearman's rho with its
    95 % limits, None below three networks; `spread`: the distance of the quartiles of repeated runs
    as a part of their median, the median over the networks. None where nothing was measured."""
    measured = [(trial.latency, trial.flops) for trial in trials if trial.latency]
    if not measured:
        return None
    latencies = [latency for latency, _ in measured]
    x, y = np.array([(latency.seconds, flops) for latency, flops in measured]).T
    found = rank_correlation(x, y, RESAMPLES, np.random.default_rng(0))
    return {
        "networks": len(measured),
        "rank_correlation_with_flops": None if math.isnan(found[0]) else list(found),
        "spread": float(np.median([latency.spread for latency in latencies])),
        "measured": sorted({str(latency) for latency in latencies}),
    }


def pareto_text(
    study: History,
    objectives: Sequence[str] | None = None,
    width: int = WIDTH,
    columns: Sequence[tuple[str, Mapping[int, str]]] = (),
) -> str:
    """The front as a table, with hypervolume and what failed. `columns` are further
    ones: a header, and a cell for each trial."""
    found = pareto_dict(study, objectives)
    if not found["front"]:
        stopped = f", {found['stopped']} were stopped early" if found["stopped"] else ""
        return f"No trial is complete; {found['failed']} failed{stopped}."
    extra = [name for name in found["objectives"] if name not in ("error", "flops", "params")]
    figures = ("error %>", "FLOPs>", "params>", *(f"{name}>" for name in extra))
    table = table_of("", "trial>", *figures, *(header for header, _ in columns), "module types")
    for row in found["front"]:
        table.add_row(
            "knee" if row["trial"] == found["knee"] else "",
            str(row["trial"]),
            f"{100 * row['error']:.2f}",
            *(_shown(name, row[name]) for name in ("flops", "params", *extra)),
            *(cells.get(row["trial"], "") for _, cells in columns),
            " + ".join(row["module_types"]),
        )
    reference = ", ".join(
        f"{name} {_shown(name, value)}"
        for name, value in zip(found["objectives"], found["reference_point"], strict=True)
    )
    failed = f" {count(found['failed'], 'trial')} failed." if found["failed"] else ""
    stopped = f" {count(found['stopped'], 'trial')} stopped early." if found["stopped"] else ""
    most = max(row["seeds"] for row in found["front"])
    means = " Errors are means over the training seeds of a network." if most > 1 else ""
    lines = f"Hypervolume {found['hypervolume']:.4g} up to {reference}.{means} {FLOPS_NOTE}{failed}{stopped}"
    return to_text(table, lines, *_latency_lines(found.get("latency")), width=width)


def _latency_lines(latency: Mapping[str, Any] | None) -> list[str]:
    if latency is None:
        return []
    line = (
        f"Latency is the median of repeated runs in inference, {' and '.join(latency['measured'])}; "
        f"their quartiles lie {latency['spread']:.0%} apart (median over networks)."
    )
    if latency["rank_correlation_with_flops"]:
        rho, low, high = latency["rank_correlation_with_flops"]
        networks = count(latency["networks"], "network")
        line += f" Its rank correlation with FLOPs is {rho:.2f} [{low:.2f}, {high:.2f}] over {networks}."
    return [line]


def _points(complete: pd.DataFrame, objectives: Sequence[str]) -> Floats:
    """The objectives of complete trials; NasError where one was not measured."""
    points: Floats = complete[list(objectives)].to_numpy(float)
    if np.isnan(points).any():
        hint = "nas search --objectives error,latency measures latency"
        raise NasError("was not measured in this run", where=" or ".join(objectives), hint=hint)
    return points


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() and value > 1 else float(value)


def _shown(name: str, value: float) -> str:
    if name == "error":
        return f"{100 * value:.2f} %"
    return f"{1000 * value:.3g} ms" if name == "latency" else metric(value)


def metric(value: float) -> str:
    """`40.6M`: three digits and a factor of a thousand."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}" if value < 999.5 * factor else f"{value / factor:.0f}{unit}"
    return f"{value:.3g}" if 0 < value < 1 else f"{value:.0f}"


def known(value: float, form: str) -> str:
    """Formatted; "" for NaN."""
    return "" if math.isnan(value) else format(value, form)


def count(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def interval(estimate: Estimate) -> str:
    """`1.20 [0.40, 2.00]` in percentage points."""
    if math.isnan(estimate.value):
        return "not known"
    if math.isnan(estimate.low):
        return f"{100 * estimate.value:.2f}"
    return percent(estimate)


def table_of(*columns: str) -> Table:
    """A table without borders; a header that ends in `>` is right-aligned."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column.rstrip(">"), justify="right" if column.endswith(">") else "left", no_wrap=True
        )
    return table
