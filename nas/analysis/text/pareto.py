"""Results of a study as text for people and as JSON for programs; its analysis is in
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
from nas.formatting import FLOPS_NOTE, SCHEMA, WIDTH, count, table_of, to_text
from nas.recipe import fields_text
from nas.stats.resampling import rank_correlation
from nas.study.objectives import error_first, objective
from nas.study.trial import Trial

if TYPE_CHECKING:
    from nas.study.history import History
from nas.study.outcomes import none_complete

RESAMPLES = 1000
"""Resamples for the interval of a rank correlation."""


def pareto_dict(study: History, objectives: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the front as JSON values.

    `front` has one dict per network (means over its `seeds`; `trial` is its first), `knee` is a trial number
    or None, `hypervolume` and its `reference_point` follow the order of `objectives` and are None without a
    complete trial. `latency` is present if it was measured (see `latency_dict`)."""
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
        "seeds": len({training.seed for training in study.trainings(trial)}),
        "digest": trial.digest,
        "module_types": list(trial.module_types),
        **({"recipe": trial.recipe} if trial.recipe else {}),
    }


def latency_dict(trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Return the rank correlation of latency with FLOPs over the measured networks, None if there are none.

    The correlation is Spearman's rho with its 95 % limits, None below three networks. `spread` is the
    interquartile range of repeated runs relative to their median: its median over the networks."""
    measured = [(trial.latency, trial.flops) for trial in trials if trial.latency]
    if not measured:
        return None
    latencies = [latency for latency, _ in measured]
    x, y = np.array([(latency.seconds, flops) for latency, flops in measured]).T
    rho = rank_correlation(x, y, RESAMPLES, np.random.default_rng(0))
    return {
        "networks": len(measured),
        "rank_correlation_with_flops": None if math.isnan(rho[0]) else list(rho),
        "spread": float(np.median([latency.spread for latency in latencies])),
        "measured": sorted({str(latency) for latency in latencies}),
    }


def pareto_text(
    study: History,
    objectives: Sequence[str] | None = None,
    width: int = WIDTH,
    columns: Sequence[tuple[str, Mapping[int, str]]] = (),
    *,
    brief: bool = False,
) -> str:
    """Return the front as a table, with the number of failures and, unless `brief`, the hypervolume.

    columns: further columns: a header, and a cell for each trial.
    """
    front = pareto_dict(study, objectives)
    if not front["front"]:
        error = none_complete((trial.state, trial.reason) for trial in study.trials)
        return f"N{error.message[1:]}. {error.hint}."
    extra = [name for name in front["objectives"] if name not in ("error", "flops", "params")]
    columns_shown = [objective(name) for name in ("error", "flops", "params", *extra)]
    figures = (f"{column.heading}>" for column in columns_shown)
    if any("recipe" in row for row in front["front"]):
        cells = {row["trial"]: fields_text(row.get("recipe", {})) for row in front["front"]}
        columns = [*columns, ("recipe", cells)]
    table = table_of("", "trial>", *figures, *(header for header, _ in columns), "module types")
    for row in front["front"]:
        table.add_row(
            "knee" if row["trial"] == front["knee"] else "",
            str(row["trial"]),
            *(column.cell(row[column.name]) for column in columns_shown),
            *(cells.get(row["trial"], "") for _, cells in columns),
            " + ".join(sorted(row["module_types"])),
        )
    reference = ", ".join(
        f"{objective(name).label} {objective(name).text(value)}"
        for name, value in zip(front["objectives"], front["reference_point"], strict=True)
    )
    failed = f" {count(front['failed'], 'trial')} failed." if front["failed"] else ""
    stopped = f" {count(front['stopped'], 'trial')} stopped early." if front["stopped"] else ""
    most = max(row["seeds"] for row in front["front"])
    means = " Errors are means over the training seeds of a network." if most > 1 else ""
    volume = "" if brief else f"Hypervolume {front['hypervolume']:.4g} up to {reference}."
    lines = f"{volume}{means} {FLOPS_NOTE}{failed}{stopped}".strip()
    return to_text(table, lines, *_latency_lines(front.get("latency")), width=width)


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


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() and value > 1 else float(value)
