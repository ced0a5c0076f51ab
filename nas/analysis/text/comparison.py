"""Comparisons as text for people and as JSON for programs (see `nas.analysis.text.pareto`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nas.analysis.compare.genotypes import Row
from nas.analysis.compare.networks import ErrorDifference, Network, NetworkComparison
from nas.analysis.compare.runs import QUANTILES, RunComparison, Side, quantile
from nas.analysis.edf import Edf
from nas.formatting import FLOPS_NOTE, SCHEMA, UNLIMITED, count, interval, table_of, to_text
from nas.graph.graph import block_of, shape_text, stage_of
from nas.stats.estimate import Estimate, estimate_dict
from nas.study.config_diff import shown
from nas.study.objectives import OBJECTIVES, objective

if TYPE_CHECKING:
    from rich.console import RenderableType

ERROR_NOTE = (
    "Means over training seeds with 95 % intervals by Student's t; the difference is over the seeds in "
    "common if there are two or more. If a network has further seeds, the search's own is left out, because "
    "the search may have selected by it."
)


def networks_dict(comparison: NetworkComparison) -> dict[str, Any]:
    """Return two networks as JSON; unknown values are None."""
    return {
        "schema": SCHEMA,
        "kind": "networks",
        "a": _network_dict(comparison.a),
        "b": _network_dict(comparison.b),
        "equal": comparison.equal,
        "modules": [asdict(row) for row in comparison.rows],
        "input_shape": list(comparison.input_shape),
        "num_classes": comparison.num_classes,
        "costs": {name: {"a": a, "b": b, "ratio": _ratio(a, b)} for name, (a, b) in comparison.costs.items()},
        "errors": [_error_dict(errors) for errors in comparison.errors],
        "no_errors": comparison.no_errors or None,
    }


def networks_text(comparison: NetworkComparison, advice: str = "", width: int = UNLIMITED) -> str:
    """Return modules, costs and errors of two networks. `advice` is the command that gives an interval."""
    size = shape_text(comparison.input_shape)
    parts: list[RenderableType] = [
        f"a  {comparison.a.label}: {comparison.a.genotype}",
        f"b  {comparison.b.label}: {comparison.b.genotype}",
        "",
    ]
    if comparison.equal:
        parts.append("a and b are the same network: they compute the same, whatever their nodes are called.")
    parts += [
        _rows_table(comparison.rows),
        "",
        f"Costs of one image of {size}, {comparison.num_classes} classes",
    ]
    costs = table_of("", "a>", "b>", "b / a>")
    for name, (a, b) in comparison.costs.items():
        ratio = _ratio(a, b)
        label = OBJECTIVES[name].heading if name in OBJECTIVES else f"{name}, layers"
        costs.add_row(label, f"{a:,}", f"{b:,}", "" if ratio is None else f"{ratio:.3g}")
    parts += [costs, FLOPS_NOTE, "", *_error_parts(comparison, advice)]
    return to_text(*parts, width=width)


def runs_dict(comparison: RunComparison) -> dict[str, Any]:
    """Return two runs as JSON; hypervolumes are shares of the box of `RunComparison`."""
    return {
        "schema": SCHEMA,
        "kind": "runs",
        "a": _side_dict(comparison.a),
        "b": _side_dict(comparison.b),
        "settings": {name: {"a": a, "b": b} for name, (a, b) in comparison.settings.items()},
        "objectives": list(comparison.objectives),
        "reference_point": list(comparison.reference),
        "early_trials": comparison.trials,
        "resamples": comparison.resamples,
        "hypervolume_difference": estimate_dict(comparison.difference),
    }


def runs_text(comparison: RunComparison, advice: str = "", width: int = UNLIMITED) -> str:
    """Return settings, fronts and errors of two runs. `advice` is the command that
    compares their best networks."""
    settings = table_of("setting", "a", "b")
    for name, (a, b) in comparison.settings.items():
        settings.add_row(name, shown(a), shown(b))
    parts: list[RenderableType] = [
        f"a  {_run_line(comparison.a)}",
        f"b  {_run_line(comparison.b)}",
        "",
        settings if comparison.settings else "The settings are the same.",
        "",
        *_front_parts(comparison),
        "",
        *_error_curves(comparison),
        "",
        *_notes(comparison),
        f"The best of both, over more seeds: {advice}" if advice else "",
    ]
    return to_text(*parts, width=width)


def _rows_table(rows: Sequence[Row]) -> RenderableType:
    """Return the table of modules; equal neighbours in a stage share a row."""
    table = table_of("place", "a", "b", "difference")
    for (_, state, a, b, changes), same in groupby(rows, _alike):
        places = [row.place for row in same]
        last = block_of(places[-1])
        place = places[0] if len(places) == 1 else f"{places[0]} to {last}"
        table.add_row(place, a, b, ", ".join(changes) or ("" if state == "same" else state))
    return table


def _alike(row: Row) -> tuple[str, str, str, str, tuple[str, ...]]:
    return stage_of(row.place), row.state, row.a, row.b, row.changes


def _error_parts(comparison: NetworkComparison, advice: str) -> Iterator[RenderableType]:
    if comparison.no_errors:
        yield f"Errors are not compared: {comparison.no_errors}."
        return
    table = table_of("epochs>", "seeds, a>", "seeds, b>", "error % of a", "error % of b", "b - a, points")
    for row in comparison.errors:
        seeds = map(str, (row.epochs, *row.seeds))
        table.add_row(*seeds, *map(interval, (row.a, row.b, row.difference)))
    yield table
    yield ERROR_NOTE
    for row in comparison.errors:
        yield _verdict(row)
    if advice and not comparison.equal and any(math.isnan(row.difference.low) for row in comparison.errors):
        yield f"An interval needs two or more seeds of each network: {advice}"


def _verdict(errors: ErrorDifference) -> str:
    epochs = f"After {count(errors.epochs, 'epoch')}"
    if math.isnan(errors.difference.low):
        return f"{epochs} no interval is supported, as one of them has a single seed."
    if not errors.difference.sign:
        return f"{epochs} the difference is within seed noise."
    better, worse = ("b", "a") if errors.difference.sign < 0 else ("a", "b")
    return f"{epochs} {better} has a lower error than {worse}, beyond seed noise."


def _network_dict(network: Network) -> dict[str, Any]:
    return {
        "label": network.label,
        "run": str(network.run.folder) if network.run else None,
        "trial": network.trial.number if network.trial else None,
        "digest": network.genotype.digest,
        "genotype": network.genotype.to_dict(),
    }


def _error_dict(errors: ErrorDifference) -> dict[str, Any]:
    return {
        "epochs": errors.epochs,
        "seeds": {"a": errors.seeds[0], "b": errors.seeds[1], "shared": errors.shared},
        "a": estimate_dict(errors.a),
        "b": estimate_dict(errors.b),
        "difference": estimate_dict(errors.difference),
    }


def _run_line(side: Side) -> str:
    config = side.run.config
    epochs = count(config.recipe.epochs, "epoch")
    return (
        f"{side.run.name}: {config.space} on {config.data}, {config.searcher}, "
        f"{count(len(side.run.study.trials), 'trial')} of {epochs}"
    )


def _front_parts(comparison: RunComparison) -> list[RenderableType]:
    first, second = comparison.a, comparison.b
    table = table_of("", "a", "b", "b - a")
    for name, cells in {
        "distinct networks": [str(len(side.points)) for side in (first, second)],
        "failed trials": [str(_failed(side)) for side in (first, second)],
    }.items():
        table.add_row(name, *cells, "")
    best = [side.lowest for side in (first, second)]
    table.add_row(
        "lowest error, %",
        *(f"{100 * e:.2f} (trial {s.best.number})" for e, s in zip(best, (first, second), strict=True)),
        f"{100 * (best[1] - best[0]):+.2f}",
    )
    volumes = first.hypervolume, second.hypervolume, comparison.difference
    table.add_row("hypervolume, % of the box", *map(interval, volumes))
    if len(first.run.study.trials) != len(second.run.study.trials):
        early = first.early, second.early
        cells = [*(f"{100 * share:.2f}" for share in early), f"{100 * (early[1] - early[0]):+.2f}"]
        table.add_row(f"the same after {count(comparison.trials, 'trial')}", *cells)
    x, y = (
        f"{objective(name).label} {objective(name).text(value)}"
        for name, value in zip(comparison.objectives, comparison.reference, strict=True)
    )
    box = f"The box reaches from the best of each objective in either run to {x} and {y}."
    return ["Fronts", table, box]


def _error_curves(comparison: RunComparison) -> list[RenderableType]:
    sides = comparison.a, comparison.b
    matched = all(len(side.equal_flops.x) for side in sides)
    columns = ["share of networks>", "error % of a", "error % of b"]
    table = table_of(*columns, *(("a, equal FLOPs", "b, equal FLOPs") if matched else ()))
    for share in QUANTILES:
        curves = [side.raw for side in sides] + [side.equal_flops for side in sides] * matched
        table.add_row(f"{share:.0%}", *(_limits(quantile(curve, share)) for curve in curves))
    said = "Each row gives the error that this share of the networks does not exceed (EDF); "
    said += (
        "at equal FLOPs, all FLOPs bins that both fill have the same weight."
        if matched
        else "at equal FLOPs the runs cannot be compared, because they fill no FLOPs bin in common."
    )
    return ["Errors of all networks", table, said]


def _notes(comparison: RunComparison) -> Iterator[str]:
    yield (
        f"Bands are 95 %, over {comparison.resamples:,} resamples of each run's distinct networks, with "
        "replacement. They show how much depends on few networks, not what another search would find: each "
        "run is one search, and most errors are of one seed. A resample lacks some networks, so the bands of "
        "hypervolumes are biased downwards."
    )
    adaptive = [name for name, side in (("a", comparison.a), ("b", comparison.b)) if not _uniform(side)]
    if adaptive:
        yield (
            f"The networks of {' and '.join(adaptive)} were chosen by results, so the curves describe the "
            "visited networks, not the space."
        )
    recipe = [name for name in comparison.settings if name.startswith("recipe.")]
    if recipe:
        yield f"The runs train differently ({', '.join(recipe)}), so they differ by more than the search."


def _uniform(side: Side) -> bool:
    return all(trial.proposal.uniform for trial in side.run.study.complete)


def _failed(side: Side) -> int:
    return sum(trial.state == "failed" for trial in side.run.study.trials)


def _limits(estimate: Estimate) -> str:
    """Format as `interval` does, with a limit that the band does not reach left open."""
    if math.isnan(estimate.low) and math.isnan(estimate.high):
        return f"{100 * estimate.value:.2f}"
    low, high = ("" if math.isnan(x) else f"{100 * x:.2f}" for x in (estimate.low, estimate.high))
    return f"{100 * estimate.value:.2f} [{low}, {high}]"


def _side_dict(side: Side) -> dict[str, Any]:
    config = side.run.config
    return {
        "run": str(side.run.folder),
        "space": config.space,
        "searcher": config.searcher,
        "trials": len(side.run.study.trials),
        "failed": _failed(side),
        "networks": len(side.points),
        "uniform": _uniform(side),
        "best": {"trial": side.best.number, "error": side.lowest},
        "hypervolume": estimate_dict(side.hypervolume),
        "early_hypervolume": side.early,
        "error_quantiles": _quantiles(side.raw),
        "error_quantiles_equal_flops": _quantiles(side.equal_flops),
    }


def _quantiles(curve: Edf) -> list[dict[str, Any]] | None:
    if not len(curve.x):
        return None
    return [{"share": share} | estimate_dict(quantile(curve, share)) for share in QUANTILES]


def _ratio(a: int, b: int) -> float | None:
    return b / a if a else None
