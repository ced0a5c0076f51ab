"""Every picture of a report, by name; where there is nothing to draw, what would fill it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from nas.analysis.claims.grades import MIN_NETWORKS_OF_TYPE
from nas.analysis.comparison import Contrast
from nas.analysis.overview import Overview
from nas.analysis.paired.comparison import PairedContrast
from nas.formatting import count
from nas.visualization.plots.distribution import edf_figure
from nas.visualization.plots.effects import LEAST, forest_figure, interaction_figure, profile_figure
from nas.visualization.plots.front import front_figure, type_fronts_figure
from nas.visualization.plots.outcomes import coverage_figure, failures_figure
from nas.visualization.plots.progress import best_figure, seconds_figure, timeline_figure, volume_figure
from nas.visualization.plots.reliability import fidelity_figure, repeats_figure
from nas.visualization.plots.style import in_style, save
from nas.visualization.plots.time_use import time_use_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
MOST_FACTORS = 12
"""Factors shown with their interactions."""


@dataclass(frozen=True)
class Plot:
    """A picture with what it shows in words; `figure` is None where `missing` says what would
    fill it."""

    name: str
    caption: str
    figure: Figure | None = None
    missing: str = ""


def draw_all(found: Overview) -> dict[str, Plot]:
    """The pictures of a report by name, in its order."""
    parts = (_fronts, _distributions, _effects, _interactions, _outcomes, _reliability, _progress)
    return {plot.name: plot for part in parts for plot in part(found)}


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


def _fronts(found: Overview) -> Iterator[Plot]:
    import pandas as pd

    failed = found.trials[found.trials["state"] == "failed"]
    table = pd.concat([found.networks, failed]) if len(failed) else found.networks
    yield Plot(
        "front",
        "Every distinct network that completed, by module type of most of its blocks, and the Pareto front.",
        front_figure(table, found.axes, task=found.task, types=found.types),
    )
    yield Plot(
        "type_fronts",
        "The Pareto front among the networks of each type: where one lies below and left of another, its "
        "best networks are better at that cost, in this sample.",
        type_fronts_figure(table, found.task, found.types),
    )


def _distributions(found: Overview) -> Iterator[Plot]:
    of = f"Of {found.sample}; bands are 95 %, by bootstrap."
    yield Plot(
        "edf_raw",
        f"Share of the networks of each type with at most an error. {of}",
        edf_figure(found.edfs, found.task, found.types),
    )
    yield Plot(
        "edf_normalised",
        f"The same with weights that make FLOPs uniform over the bins that all types fill. {of}",
        edf_figure(found.normalised_edfs, found.task, found.types) if found.normalised_edfs else None,
        "No FLOPs bin holds networks of every type: nas search --searcher balanced fills them.",
    )


def _effects(found: Overview) -> Iterator[Plot]:
    paired, comparisons = found.analysis.paired, found.analysis.comparisons
    samples: list[tuple[str, Sequence[Contrast | PairedContrast]]]
    samples = [(c.sample, c.contrasts) for c in comparisons]
    if paired:
        samples = [("paired contexts", paired.contrasts)]
    for at, (sample, contrasts) in enumerate(samples):
        known = [c for c in contrasts if isfinite(c.effect.value)]
        yield Plot(
            f"forest{at + 1 if at else ''}",
            f"Change of error when type a is replaced by type b, in {sample}, with 95 % intervals; left of "
            "zero b is better.",
            forest_figure(known) if known else None,
            f"No two types can be compared in {sample}: nas search --searcher paired trains every type in "
            "the same contexts.",
        )
    against = "the mean of all types in a context" if paired else "the mean of its FLOPs bin"
    for axis, words in (("flops", "FLOPs"), ("depth", "depth")):
        profiles = found.profiles[axis]
        yield Plot(
            f"effect_{axis}",
            f"Error of each type less {against}, at equal FLOPs, over {words}, with 95 % intervals where "
            f"{MIN_NETWORKS_OF_TYPE} networks or more stand together. Where lines cross, effects turn.",
            profile_figure(profiles, axis, found.types) if profiles else None,
            "No context is complete: nas search --resume goes on." if paired else "No network is known.",
        )


def _interactions(found: Overview) -> Iterator[Plot]:
    factors = found.analysis.factors
    figure, missing = None, "nas search --searcher balanced spreads the networks over all factors."
    if factors and factors.grade != "X":
        main = {row.name: row.main.value for row in factors.rows}
        figure = interaction_figure(main, factors.interactions, MOST_FACTORS)
    elif factors:
        missing = f"No share of the variance is supported: {'; '.join(map(str, factors.refused))}."
    yield Plot(
        "interactions",
        "Share of the variance of error between networks that each factor accounts for alone, and that two "
        "account for only together; colours by its square root. Factors with less than "
        f"{LEAST:.1%} in both are left out; an empty cell was not estimated.",
        figure,
        missing,
    )


def _outcomes(found: Overview) -> Iterator[Plot]:
    yield Plot(
        "coverage",
        "Distinct complete networks that hold each type, by FLOPs bin; in a bin of 0 the type cannot be "
        "compared.",
        coverage_figure(found.coverage),
    )
    failed = int((found.trials["state"] == "failed").sum())
    yield Plot(
        "failures",
        "Share of the runs that hold each type which failed, by reason.",
        failures_figure(found.failures) if failed else None,
        f"None of {count(len(found.trials), 'trial')} failed.",
    )


def _reliability(found: Overview) -> Iterator[Plot]:
    yield Plot(
        "seed_reliability",
        "One training against another of the same network with another seed. On the line both agree.",
        repeats_figure(found.repeats, found.types) if found.repeats else None,
        "No network was trained twice: nas pareto RUN --reseed 3 trains the front again.",
    )
    for at, fidelity in enumerate(found.fidelities):
        yield Plot(
            f"fidelity_reliability{at + 1 if at else ''}",
            f"Networks trained for {count(fidelity.epochs, 'epoch')} and for {fidelity.longer}: where "
            "the points rise together, the short schedule ranks as the long one does.",
            fidelity_figure(fidelity, found.types),
        )
    if not found.fidelities:
        missing = (
            "No network was also trained longer: give a second run with the same --searcher and --seed and "
            "more --epochs, or nas pareto RUN --reseed 3 --epochs E."
        )
        yield Plot("fidelity_reliability", "", missing=missing)


def _progress(found: Overview) -> Iterator[Plot]:
    paths, baseline = found.trajectories, found.baseline
    missing = (
        "No searcher chose any network: give a run of --searcher evolution over the same space too."
        if not paths
        else "Fewer than two uniform draws: give a run of --searcher random over the same space too."
    )
    yield Plot(
        "baseline_error",
        "The lowest error after each trial of the search, against as many uniform draws from the same space.",
        best_figure(paths, baseline, found.task) if paths and baseline else None,
        missing,
    )
    yield Plot(
        "baseline_hypervolume",
        "The hypervolume of error and FLOPs after each trial of the search, against as many uniform draws.",
        volume_figure(paths, baseline) if paths and baseline else None,
        missing,
    )
    missing = "The record of these trials holds no times."
    timings = {name: clock for name, clock in found.timings.items() if len(clock.start)}
    yield Plot(
        "timeline",
        "When each worker trained.",
        timeline_figure(timings) if timings else None,
        missing,
    )
    for at, (name, bars) in enumerate(found.time_uses.items()):
        yield Plot(
            f"time_use{at + 1 if at else ''}",
            f"What each worker of {name} and its driver did. What a trial spent in a phase is one bar.",
            time_use_figure(bars),
        )
    ran = (found.trials["duration"] > 0) & (found.trials["state"] == "complete") if timings else None
    yield Plot(
        "seconds",
        "Seconds of each training against the FLOPs of its network.",
        seconds_figure(found.trials, found.types) if ran is not None and ran.any() else None,
        missing,
    )
