"""Pictures of a report by name; a missing one names the command that would fill it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from nas.analysis.claims.grades import MIN_NETWORKS_OF_TYPE
from nas.analysis.comparison import Contrast
from nas.analysis.factors.decisions import QUARTER
from nas.analysis.overview import Overview
from nas.analysis.paired.contrast import PairedContrast
from nas.formatting import count
from nas.study.commands import reseed_command, resume_command
from nas.study.objectives import all_axes
from nas.visualization.plots.decisions import budgets_figure, decisions_figure
from nas.visualization.plots.distribution import edf_figure
from nas.visualization.plots.effects import LEAST, forest_figure, interaction_figure, profile_figure
from nas.visualization.plots.front import front_figure, type_fronts_figure
from nas.visualization.plots.outcomes import coverage_figure, failures_figure
from nas.visualization.plots.progress import best_figure, seconds_figure, timeline_figure, volume_figure
from nas.visualization.plots.reliability import fidelity_figure, repeats_figure
from nas.visualization.plots.scaled import scaled_figure
from nas.visualization.plots.style import in_style, save
from nas.visualization.plots.time_use import time_use_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
MOST_FACTORS = 12
"""Most factors that are shown with their interactions."""


@dataclass(frozen=True)
class Plot:
    """A picture with its caption; `figure` is None if there is nothing to draw, and `missing` names what
    would fill it."""

    name: str
    caption: str
    figure: Figure | None = None
    missing: str = ""


def draw_all(overview: Overview) -> dict[str, Plot]:
    """Return the pictures of a report by name, in its order."""
    parts = (
        _fronts,
        _distributions,
        _effects,
        _scaled,
        _interactions,
        _decisions,
        _outcomes,
        _reliability,
        _progress,
    )
    return {plot.name: plot for part in parts for plot in part(overview)}


@in_style
def save_all(plots: Sequence[Plot], folder: str | Path) -> list[Path]:
    """Write the pictures as PNG and SVG; returns the files."""
    drawn = [plot for plot in plots if plot.figure is not None]
    return [
        save(plot.figure, Path(folder) / f"{plot.name}{suffix}")
        for plot in drawn
        for suffix in SUFFIXES
        if plot.figure is not None
    ]


def _fronts(overview: Overview) -> Iterator[Plot]:
    import pandas as pd

    failed = overview.trials[overview.trials["state"] == "failed"]
    table = pd.concat([overview.networks, failed]) if len(failed) else overview.networks
    yield Plot(
        "front",
        "Distinct complete networks, by the module type of most of their blocks, and their Pareto front.",
        front_figure(table, overview.axes, task=overview.task, types=overview.types),
    )
    objectives = all_axes([name for name in overview.runs[0].config.objectives if _known(overview, name)])
    if len(objectives) > 2:
        yield Plot(
            "front_pairs",
            "Every pair of objectives, with the front of the pair.",
            front_figure(overview.networks, objectives, task=overview.task, types=overview.types),
        )
    yield Plot(
        "type_fronts",
        "The Pareto front among the networks of each type. Where one front lies below and left of another, "
        "its best networks are better at that cost, in this sample.",
        type_fronts_figure(table, overview.task, overview.types),
    )


def _known(overview: Overview, name: str) -> bool:
    """Return whether an objective is known for all networks, those of other runs included."""
    return name in overview.networks and bool(overview.networks[name].notna().all())


def _distributions(overview: Overview) -> Iterator[Plot]:
    of = f"Sample: {overview.sample}. Bands are 95 %, by bootstrap."
    yield Plot(
        "edf_raw",
        f"Share of the networks of each type with at most this error. {of}",
        edf_figure(overview.edfs, overview.task, overview.types) if overview.edfs else None,
        f"No type has {MIN_NETWORKS_OF_TYPE} networks. Continue with: nas search --resume.",
    )
    yield Plot(
        "edf_normalised",
        f"The same, weighted so that FLOPs are uniform over the bins that all types fill. {of}",
        edf_figure(overview.normalised_edfs, overview.task, overview.types)
        if overview.normalised_edfs
        else None,
        "No FLOPs bin holds networks of every type. Fill the bins with: nas search --searcher balanced.",
    )


def _effects(overview: Overview) -> Iterator[Plot]:
    paired, comparisons = overview.analysis.paired, overview.analysis.comparisons
    samples: list[tuple[str, Sequence[Contrast | PairedContrast]]]
    samples = [(c.sample, c.contrasts) for c in comparisons]
    if paired:
        samples = [("paired contexts", paired.contrasts)]
    for i, (sample, contrasts) in enumerate(samples):
        known = [c for c in contrasts if isfinite(c.effect.value)]
        yield Plot(
            f"forest{i + 1 if i else ''}",
            f"Change of error when type a is replaced by type b, in {sample}, with 95 % intervals. Left of "
            "zero, b is better.",
            forest_figure(known) if known else None,
            f"No two types can be compared in {sample}. Train every type in the same contexts with: "
            "nas search --searcher paired.",
        )
    against = (
        "the mean of all types in a context" if paired else "the mean of the types at its FLOPs and depth"
    )
    for axis, words in (("flops", "FLOPs"), ("depth", "depth")):
        profiles = {name: profile.of_enough() for name, profile in overview.profiles[axis].items()}
        profiles = {name: profile for name, profile in profiles.items() if len(profile.x)}
        yield Plot(
            f"effect_{axis}",
            f"Error of each type minus {against}, at equal FLOPs, over {words}, with 95 % intervals. Bins "
            f"hold {MIN_NETWORKS_OF_TYPE} networks of the type or more. Where lines cross, the better type "
            "changes.",
            profile_figure(profiles, axis, overview.types) if len(profiles) > 1 else None,
            f"Fewer than two types have {MIN_NETWORKS_OF_TYPE} networks in a bin. Continue with: "
            f"{resume_command(overview.runs[0])} --trials N",
        )


def _scaled(overview: Overview) -> Iterator[Plot]:
    for i, given in enumerate(overview.given):
        known = any(axis.line is not None for axis in given.scaling.axes)
        yield Plot(
            f"scaled{i + 1 if i else ''}",
            f"Error of {given.name} as it is made shallower or narrower, or as all its blocks become another "
            "type, with 95 % intervals: from a linear fit to all trained networks.",
            scaled_figure(given, overview.types) if known else None,
            f"The networks around {given.name} determine no interval.",
        )


def _interactions(overview: Overview) -> Iterator[Plot]:
    factors = overview.analysis.factors
    figure, missing = None, "Spread networks over all factors with: nas search --searcher balanced."
    if factors and factors.grade != "X":
        main = {row.name: row.main.value for row in factors.rows}
        figure = interaction_figure(main, factors.interactions, MOST_FACTORS)
    elif factors:
        missing = f"No share of the variance is supported: {'; '.join(map(str, factors.refused))}."
    yield Plot(
        "interactions",
        "Share of the variance of error between networks that each factor explains alone, and that pairs "
        "explain only together. Colours follow the square root. Factors with less than "
        f"{LEAST:.1%} in both are left out; an empty cell was not estimated.",
        figure,
        missing,
    )


def _decisions(overview: Overview) -> Iterator[Plot]:
    yield Plot(
        "decisions",
        "Validation error of the networks by option of each decision, those that differ most first. Crosses: "
        "the error if every network took the option, all else held constant, with 95 % intervals. The darker "
        f"the ground, the more often the best of a draw of {QUARTER:.0%} of the networks took the option.",
        decisions_figure(overview.decisions) if overview.decisions else None,
        "No decision varies among the complete networks.",
    )
    yield Plot(
        "budgets",
        f"Importance of each factor in {overview.runs[0].name} after fewer epochs and after all.",
        budgets_figure(overview.budgets) if any(budget.factors for budget in overview.budgets) else None,
        "No training curve is recorded, so the importance after fewer epochs is not known.",
    )


def _outcomes(overview: Overview) -> Iterator[Plot]:
    yield Plot(
        "coverage",
        "Distinct complete networks with each type, by FLOPs bin. In a bin of 0 the type cannot be compared.",
        coverage_figure(overview.coverage),
    )
    failed = int((overview.trials["state"] == "failed").sum())
    yield Plot(
        "failures",
        "Share of the trials with each type that failed, by reason.",
        failures_figure(overview.failures) if failed else None,
        f"None of {count(len(overview.trials), 'trial')} failed.",
    )


def _reliability(overview: Overview) -> Iterator[Plot]:
    run = overview.runs[0]
    reseed = reseed_command(run)
    yield Plot(
        "seed_reliability",
        "Error of one training against that of another seed of the same network. On the line both agree.",
        repeats_figure(overview.repeats, overview.types) if overview.repeats else None,
        f"No network was trained twice. Train the front again with: {reseed}",
    )
    for i, fidelity in enumerate(overview.fidelities):
        yield Plot(
            f"fidelity_reliability{i + 1 if i else ''}",
            f"Error after {count(fidelity.epochs, 'epoch')} and after {fidelity.longer}. Where the points "
            "rise together, the short schedule ranks as the long one does.",
            fidelity_figure(fidelity, overview.types),
        )
    if not overview.fidelities:
        missing = (
            "No network was also trained longer. Add a run with the same --searcher and --seed and more "
            f"--epochs, or use: {reseed} --epochs E"
        )
        yield Plot("fidelity_reliability", "", missing=missing)


def _progress(overview: Overview) -> Iterator[Plot]:
    paths, baseline = overview.trajectories, overview.baseline
    missing = (
        "No searcher chose any network. Add a run of --searcher hypervolume over the same space."
        if not paths
        else "Fewer than two uniform draws. Add a run of --searcher random over the same space."
    )
    yield Plot(
        "baseline_error",
        "Lowest error after each trial of the search, against as many uniform draws from the same space.",
        best_figure(paths, baseline, overview.task) if paths and baseline else None,
        missing,
    )
    yield Plot(
        "baseline_hypervolume",
        "Hypervolume of error and FLOPs after each trial of the search, against as many uniform draws.",
        volume_figure(paths, baseline) if paths and baseline else None,
        missing,
    )
    missing = "The record of these trials has no times."
    timings = {name: clock for name, clock in overview.timings.items() if len(clock.start)}
    yield Plot(
        "timeline",
        "Training times of each worker.",
        timeline_figure(timings) if timings else None,
        missing,
    )
    for i, (name, bars) in enumerate(overview.time_uses.items()):
        yield Plot(
            f"time_use{i + 1 if i else ''}",
            f"Time use of each worker of {name} and of its driver. A bar is the time of a trial in a phase.",
            time_use_figure(bars),
        )
    ran = (overview.trials["duration"] > 0) & (overview.trials["state"] == "complete") if timings else None
    yield Plot(
        "seconds",
        "Training time in seconds against the FLOPs of each network.",
        seconds_figure(overview.trials, overview.types) if ran is not None and ran.any() else None,
        missing,
    )
