"""Comparison of two runs: settings, fronts, and the errors of all networks that they visited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from nas.analysis.comparison import DRAWN, RESAMPLES
from nas.analysis.edf import Edf, edf_band, shared_bins
from nas.errors import NasError
from nas.pareto import hypervolume, reference_point
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import CHUNK, Floats, bootstrap_counts
from nas.study.config_diff import SAME_DATA, differences, lines
from nas.study.objectives import plot_axes
from nas.study.trial import Trial

if TYPE_CHECKING:
    from nas.study.run import Run

DECISIVE = ("task", *SAME_DATA)
"""Settings in which two runs must agree: the images, their split and the task."""
DERIVED = frozenset({"schema", "classes", "mean", "std", "exhausted", "networks"})
"""Settings that follow from others, or say nothing about the search."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Side:
    """One run. `best` is the network of the lowest mean error; `points` (networks, 2) are the networks;
    hypervolumes are shares of the box from the best of each objective in either run to the reference; `early`
    is that after as many trials as the shorter run has, and `volumes` are those of the resamples. The curves
    are of error, raw and with equal weight for every FLOPs bin."""

    run: Run
    best: Trial
    points: Floats
    hypervolume: Estimate
    early: float
    volumes: Floats
    raw: Edf
    equal_flops: Edf

    @property
    def lowest(self) -> float:
        """The error of `best`."""
        return self.run.study.means(self.best, ("error",))[0]


@dataclass(frozen=True)
class RunComparison:
    """`settings` that differ, of a and b by name; `trials` of the shorter run; `difference` of hypervolumes,
    b minus a."""

    a: Side
    b: Side
    settings: Mapping[str, tuple[Any, Any]]
    objectives: tuple[str, str]
    reference: tuple[float, float]
    trials: int
    resamples: int
    difference: Estimate


def compare_runs(a: Run, b: Run) -> RunComparison:
    """Compare two runs. A network that was trained several times counts once, with its mean error.

    NasError says what differs where their errors cannot be compared, NotFoundError where a run
    has no complete trial. Bands reach from the 2.5th to the 97.5th percentile of resamples of a run's
    networks, with replacement. What is drawn depends on the figures of the run alone, so a
    run compared with itself differs in nothing.
    """
    check_comparable(a, b)
    names = _objectives(a, b)
    points = np.concatenate([_networks(run, names) for run in (a, b)])
    corner, ideal = reference_point(points), points.min(axis=0)
    trials = min(len(run.study.trials) for run in (a, b))
    resamples = int(np.clip(DRAWN // len(points), *RESAMPLES))
    bins = shared_bins([_networks(run, ("flops",))[:, 0] for run in (a, b)])
    first, second = (_side(run, names, corner, ideal, trials, resamples, bins) for run in (a, b))
    change = second.hypervolume.value - first.hypervolume.value
    return RunComparison(
        first,
        second,
        differences(a.config.to_dict(), b.config.to_dict(), DERIVED),
        names,
        (float(corner[0]), float(corner[1])),
        trials,
        resamples,
        _estimate(change, second.volumes - first.volumes),
    )


def check_comparable(a: Run, b: Run) -> None:
    """NasError, with what differs, unless both were judged by the same validation images."""
    changes = differences(a.config.to_dict(), b.config.to_dict())
    if changes.keys() & set(DECISIVE):
        shown = {name: pair for name, pair in changes.items() if name in ("data", "seed", *DECISIVE)}
        message = "\n  ".join(("cannot be compared, as they differ:", *lines(shown)))
        hint = "the split follows from the data and --seed: search with the same of both"
        raise NasError(message, where=f"{a.name} and {b.name}", hint=hint)
    for run in (a, b):
        if not run.study.complete:
            raise run.none_complete()


def _side(
    run: Run,
    names: tuple[str, str],
    corner: Floats,
    ideal: Floats,
    trials: int,
    resamples: int,
    bins: Floats,
) -> Side:
    points, box = _networks(run, names), float(np.prod(corner - ideal))
    costs = _networks(run, ("flops", "error"))
    volumes = _volumes(points, corner, resamples) / box
    return Side(
        run,
        min(run.study.networks, key=lambda trial: run.study.means(trial, ("error", "flops"))),
        points,
        _estimate(hypervolume(points, corner) / box, volumes),
        hypervolume(_networks(run, names, trials), corner) / box,
        volumes,
        edf_band(costs[:, 1]),
        edf_band(costs[:, 1], costs[:, 0], bins=bins),
    )


def quantile(curve: Edf, share: float) -> Estimate:
    """Return the error at this quantile of the networks, with limits if the band reaches it too."""

    def at(shares: Floats) -> float:
        reached = np.flatnonzero(shares >= share - 1e-12)
        return float(curve.x[reached[0]]) if len(reached) else float("nan")

    return Estimate(at(curve.y), at(curve.high), at(curve.low))


def _objectives(a: Run, b: Run) -> tuple[str, str]:
    """Return the objectives of both searches, the error last, where they are the same two; else FLOPs and
    error."""
    first, second = (plot_axes(run.study.objectives) for run in (a, b))
    return first if first == second else plot_axes(())


def _networks(run: Run, names: Sequence[str], trials: int | None = None) -> Floats:
    """Return the objectives of each distinct network (networks, objectives) among the first `trials`."""
    values_of: dict[str, list[tuple[float, ...]]] = {}
    for trial in run.study.trials[:trials]:
        if trial.complete:
            values_of.setdefault(trial.digest, []).append(trial.values(names))
    return np.array([np.mean(values, axis=0) for values in values_of.values()], float).reshape(-1, len(names))


def _volumes(points: Floats, corner: Floats, resamples: int) -> Floats:
    """Return the hypervolumes (resamples,) of networks drawn with replacement, by one sweep along the first
    objective for all resamples."""
    x, y = np.minimum(points[np.lexsort(points.T[::-1])], corner).T
    widths = np.diff(np.append(x, corner[0]))
    rng = np.random.default_rng(crc32(points.tobytes()))
    step = max(1, CHUNK // len(points))
    parts = [
        (corner[1] - np.minimum.accumulate(np.where(counts > 0, y, corner[1]), axis=1)) @ widths
        for counts in bootstrap_counts(len(points), resamples, step, rng)
    ]
    return np.concatenate(parts)


def _estimate(value: float, draws: Floats) -> Estimate:
    low, high = np.quantile(draws, [0.025, 0.975]) if len(draws) else (UNKNOWN.low, UNKNOWN.high)
    return Estimate(value, float(low), float(high))
