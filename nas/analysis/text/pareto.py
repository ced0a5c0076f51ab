"""Results of a study as text for people and as JSON for programs; its analysis is in
`nas.analysis.text.ranking`.

Every JSON object carries `"schema": 1`; keys are added, never changed, within a schema.
Errors are fractions in JSON and percent in text. FLOPs are multiply-adds of convolutions
and linear layers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas import pareto
from nas.analysis.guess import learned, unlearned_text
from nas.formatting import FLOPS_NOTE, SCHEMA, UNLIMITED, count, interval, table_of, to_text
from nas.recipe import fields_text
from nas.stats.estimate import Estimate
from nas.stats.resampling import rank_correlation
from nas.study.expected import MIN_TRAININGS
from nas.study.objectives import error_first, objective
from nas.study.outcomes import none_complete
from nas.study.trial import Trial

if TYPE_CHECKING:
    from rich.table import Table

    from nas.study.expected import Expected
    from nas.study.history import History
    from nas.study.run_config import RunConfig

OFF = "*"
"""Mark of networks that are on the front of measured errors and not on the one that is shown."""

KEPT = 0.5
"""Standard deviation of expected errors, as a share of that of measured ones, below which it is said."""

RESAMPLES = 1000
"""Resamples for the interval of a rank correlation."""


def pareto_dict(
    study: History,
    objectives: Sequence[str] | None = None,
    expected: Expected | None = None,
    config: RunConfig | None = None,
) -> dict[str, Any]:
    """Return the front as JSON values, chosen by the `expected` errors of these objectives where they are
    given. With the `config` of the run, `guess_error` is the error of a constant guess, and `unlearned` are
    the trials of the front that are not shown to be better.

    `front` has one dict per network (means over its `seeds`; `trial` is its first), `measured_front` the
    trials on the front of measured errors, `knee` is a trial number or None, `hypervolume` and its
    `reference_point` follow the order of `objectives` and are None without a complete trial. `latency` is
    present if it was measured (see `latency_dict`)."""
    names = tuple(objectives or study.objectives)
    points = [study.means(trial, names) for trial in study.networks]
    measured = sorted(study.front(names), key=lambda trial: (trial.flops, *study.means(trial, names)))
    members, ranked = measured, [study.means(trial, error_first(names)) for trial in measured]
    if expected is not None:
        own = [trial for trial in study.networks if trial.digest in expected.front]
        members = sorted(own, key=lambda trial: (trial.flops, expected.of(trial.digest).value))
        others = error_first(names)[1:]
        ranked = [
            (expected.of(trial.digest).value, *(study.means(trial, others) if others else ()))
            for trial in members
        ]
    reference = pareto.reference_point(points) if points else None
    latency = latency_dict(study.networks)
    states = Counter(trial.state for trial in study.trials)
    return {
        "schema": SCHEMA,
        "objectives": list(names),
        "chosen_by": "measured_error" if expected is None else "expected_error",
        "front": [_network_dict(study, trial, names, expected) for trial in members],
        "measured_front": [trial.number for trial in measured],
        "knee": members[pareto.knee(ranked)].number if members else None,
        "hypervolume": None if reference is None else pareto.hypervolume(points, reference),
        "reference_point": None if reference is None else [float(value) for value in reference],
        "failed": states["failed"],
        "stopped": states["stopped"],
        **({"latency": latency} if latency else {}),
        **(_guess_dict(study, members, config) if config else {}),
    }


def _guess_dict(study: History, members: Sequence[Trial], config: RunConfig) -> dict[str, Any]:
    errors = {trial.number: study.means(trial, ("error",))[0] for trial in members}
    networks = len(study.networks)
    unlearned = [number for number, error in errors.items() if not learned(error, config, networks)]
    return {"guess_error": config.guess_error, "unlearned": unlearned}


def _network_dict(
    study: History, trial: Trial, objectives: Sequence[str], expected: Expected | None
) -> dict[str, Any]:
    names = tuple(dict.fromkeys(("error", "flops", "params", *objectives)))
    figures = dict(zip(names, study.means(trial, names), strict=True))
    if trial.latency:
        figures = {"latency": trial.latency.seconds} | figures | {"latency_spread": trial.latency.spread}
    return {
        "trial": trial.number,
        **{name: _number(value) for name, value in figures.items()},
        **(_expected_dict(expected, trial.digest) if expected else {}),
        "seeds": len({training.seed for training in study.trainings(trial)}),
        "digest": trial.digest,
        "module_types": list(trial.module_types),
        **({"recipe": trial.recipe} if trial.recipe else {}),
    }


def _expected_dict(expected: Expected, digest: str) -> dict[str, float]:
    error = expected.of(digest)
    limits = {"expected_error": error.value, "expected_low": error.low, "expected_high": error.high}
    return {**limits, "membership": expected.membership(digest)}


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
    width: int = UNLIMITED,
    columns: Sequence[tuple[str, Mapping[int, str]]] = (),
    *,
    expected: Expected | None = None,
    config: RunConfig | None = None,
    decide: str = "",
    brief: bool = False,
) -> str:
    """Return the front as a table, with the number of failures and, unless `brief`, the hypervolume.

    columns: further columns: a header, and a cell for each trial. expected: of these objectives; the front is
    then chosen by it, and the front of measured errors is named beside it. config: of the run, to tell
    networks that are not shown to have learned. decide: the command that trains again the networks of which
    it is not certain that they are on the front.
    """
    front = pareto_dict(study, objectives, expected, config)
    if not front["front"]:
        error = none_complete((trial.state, trial.reason) for trial in study.trials)
        return f"N{error.message[1:]}. {error.hint}."
    table = _front_table(study, front, columns, expected)
    choice = _choice_lines(study, front, decide, expected)
    if expected is not None:
        measured = [study.means(trial, ("error",))[0] for trial in study.networks]
        shrunk = shrinkage_text(measured, [expected.of(trial.digest).value for trial in study.networks])
        choice += [shrunk] * bool(shrunk)
    if config is not None:
        unlearned = [f"trial {number}" for number in front["unlearned"]]
        choice = [text for text in (unlearned_text(unlearned, len(front["front"]), config), *choice) if text]
    return to_text(
        table, *choice, _counts_line(study, front, brief), *_latency_lines(front.get("latency")), width=width
    )


def _front_table(
    study: History,
    front: Mapping[str, Any],
    columns: Sequence[tuple[str, Mapping[int, str]]],
    expected: Expected | None,
) -> Table:
    """Return the rows of both fronts, by FLOPs."""
    extra = [name for name in front["objectives"] if name not in ("error", "flops", "params")]
    columns_shown = [objective(name) for name in ("error", "flops", "params", *extra)]
    figures = [f"{column.heading}>" for column in columns_shown]
    if expected is not None:
        figures = ["expected error, %", "P(front)>", "measured>", *figures[1:]]
    names = tuple(front["objectives"])
    on_front = {row["trial"] for row in front["front"]}
    luck = [study.by_number(number) for number in front["measured_front"] if number not in on_front]
    others = [_network_dict(study, trial, names, expected) for trial in luck if trial is not None]
    rows = sorted([*front["front"], *others], key=lambda row: row["flops"])
    if any("recipe" in row for row in rows):
        recipes = {row["trial"]: fields_text(row.get("recipe", {})) for row in rows}
        columns = [*columns, ("recipe", recipes)]
    table = table_of("", "trial>", *figures, *(header for header, _ in columns), "module types")
    for row in rows:
        role = "knee" if row["trial"] == front["knee"] else ""
        table.add_row(
            role if row["trial"] in on_front else OFF,
            str(row["trial"]),
            *(_expected_cells(row) if expected is not None else ()),
            *(column.cell(row[column.name]) for column in columns_shown),
            *(cells.get(row["trial"], "") for _, cells in columns),
            " + ".join(sorted(row["module_types"])),
        )
    return table


def _counts_line(study: History, front: Mapping[str, Any], brief: bool) -> str:
    """Return the hypervolume unless `brief`, what figures are, and how many trials failed and stopped."""
    reference = ", ".join(
        f"{objective(name).label} {objective(name).text(value)}"
        for name, value in zip(front["objectives"], front["reference_point"], strict=True)
    )
    failed = f" {count(front['failed'], 'trial')} failed{_always_failed(study)}." if front["failed"] else ""
    stopped = f" {count(front['stopped'], 'trial')} stopped early." if front["stopped"] else ""
    most = max(row["seeds"] for row in front["front"])
    means = " Errors are means over the training seeds of a network." if most > 1 else ""
    volume = "" if brief else f"Hypervolume {front['hypervolume']:.4g} up to {reference}."
    return f"{volume}{means} {FLOPS_NOTE}{failed}{stopped}".strip()


def _expected_cells(row: Mapping[str, Any]) -> tuple[str, str]:
    error = Estimate(row["expected_error"], row["expected_low"], row["expected_high"])
    return interval(error), f"{row['membership']:.0%}"


def _choice_lines(
    study: History, front: Mapping[str, Any], decide: str, expected: Expected | None
) -> list[str]:
    """Say by which error the front was chosen, and where the other one differs."""
    if expected is None:
        if "error" not in front["objectives"]:
            return []
        trainings = sum(len(study.trainings(trial)) for trial in study.networks)
        few = trainings < MIN_TRAININGS
        why = f": a model of the error needs {MIN_TRAININGS} trainings, and there are {trainings}"
        return [f"Chosen by measured error{why if few else ''}."]
    lines = [
        "Chosen by expected error, with 95 % intervals: a model of "
        f"{count(expected.trainings, 'training')} weighs each network's own against those of its kin, "
        "because one training is partly luck."
    ]
    measured = front["measured_front"]
    members = {row["trial"] for row in front["front"]}
    marked = f" ({OFF}: not on this one)" if set(measured) - members else ""
    if set(measured) == members:
        return [*lines, "Measured errors choose the same networks."]
    hint = f" To decide: {decide}" if decide else ""
    named = f"trial{'s' * (len(measured) > 1)} {', '.join(map(str, measured))}"
    return [*lines, f"By measured errors the front would hold {named}{marked}.{hint}"]


def shrinkage_text(measured: Iterable[float], expected: Iterable[float]) -> str:
    """Return a sentence where expected errors vary less than half as much as measured ones; else ""."""
    both = np.array([*measured]), np.array([*expected])
    if np.std(both[1]) >= KEPT * np.std(both[0]):
        return ""
    spans = [f"{100 * errors.min():.2f} to {100 * errors.max():.2f} %" for errors in both]
    return (
        f"The model takes most of the differences between measured errors for luck: these span {spans[0]}, "
        f"expected errors {spans[1]}. More validation images or further seeds tell networks apart; near "
        "chance, longer trainings (--epochs) do."
    )


def _always_failed(study: History) -> str:
    """Return `, among them all 5 with found`, for module types of which two or more trials ended and all
    failed."""
    ended = Counter(name for trial in study.trials for name in set(trial.module_types))
    failed = Counter(
        name for trial in study.trials if trial.state == "failed" for name in set(trial.module_types)
    )
    never = [f"all {n} with {name}" for name, n in sorted(failed.items()) if n == ended[name] > 1]
    return f", among them {' and '.join(never)}" if never else ""


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
