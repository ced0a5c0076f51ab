"""Contents of a report of runs, computed before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.analyze import Analysis
from nas.analysis.around import Given, given_networks
from nas.analysis.claims.grades import MIN_NETWORKS_OF_TYPE
from nas.analysis.coverage import Coverage, Timing, coverage, failures, timing
from nas.analysis.edf import Edf, edf_band, shared_bins
from nas.analysis.factors.budgets import Budget, factors_by_budget
from nas.analysis.factors.decisions import DecisionEffect, decision_effects
from nas.analysis.fidelity import rungs_of
from nas.analysis.paired.blocks import read_blocks
from nas.analysis.pooling import analyze, pool
from nas.analysis.profiles import Deviations, Profile, from_blocks, from_networks, profiles
from nas.analysis.reliability import Fidelity, Repeats, fidelities, repeats, seed_intervals
from nas.analysis.table import distinct_networks, sample_of, trial_table, without_selected
from nas.analysis.time_use import Bar, time_use
from nas.analysis.trajectory import Baseline, Trajectory, advantage_text, trajectories
from nas.stats.estimate import Estimate
from nas.study.front import with_expected
from nas.study.history import History
from nas.study.objectives import plot_axes

if TYPE_CHECKING:
    import pandas as pd

    from nas.study.expected import Expected
    from nas.study.run import Run

PROFILES = ("flops", "depth")


@dataclass(frozen=True)
class Overview:
    """Results of runs. `trials` are those of the runs that agree, with the number of their `run`;
    `networks` the distinct complete ones of them, with the columns of `nas.study.front.EXPECTED`;
    `objectives` are those of the front; `sample` says of which networks the distributions and, without
    paired blocks, the profiles are. `given` are the networks that runs began with. `budgets` are of the first
    run; `intervals` are of networks with repeated trainings, by digest; `timings` and `time_uses` by name of
    the run."""

    runs: tuple[Run, ...]
    analysis: Analysis
    trials: pd.DataFrame
    networks: pd.DataFrame
    task: str
    objectives: tuple[str, ...]
    sample: str
    edfs: Mapping[str, Edf]
    normalised_edfs: Mapping[str, Edf]
    profiles: Mapping[str, Mapping[str, Profile]]
    decisions: tuple[DecisionEffect, ...]
    budgets: tuple[Budget, ...]
    given: tuple[Given, ...]
    coverage: Coverage
    failures: Mapping[str, Mapping[str, int]]
    repeats: Repeats | None
    fidelities: tuple[Fidelity, ...]
    trajectories: Mapping[str, Trajectory]
    baseline: Baseline | None
    intervals: Mapping[str, Estimate]
    timings: Mapping[str, Timing]
    time_uses: Mapping[str, Sequence[Bar]]

    @property
    def advantage(self) -> str:
        """Whether searches are shown to be better than uniform draws, in words; "" if not known."""
        return advantage_text(self.trajectories, self.baseline) if self.baseline else ""

    @property
    def axes(self) -> tuple[str, str]:
        """Two of the objectives, for the chart, x first."""
        return plot_axes(self.objectives)

    @property
    def types(self) -> tuple[str, ...]:
        """Module types that any trial holds."""
        return tuple(self.failures)


def overview(runs: Sequence[Run], *, seed: int = 0) -> Overview:
    """Collect the results of one run or several. NotFoundError if no trial is complete, NasError if runs
    differ in more than `nas.analysis.pooling` allows."""
    import pandas as pd

    pooled = pool(runs)
    trials = without_selected(pooled.trials)
    distinct = distinct_networks(trials, [name for name in runs[0].config.objectives if name in trials])
    objectives = _objectives(runs[0], distinct)
    networks = with_expected(distinct, _expected(runs, objectives))
    sample, described = sample_of(networks)
    reseeded = _reseeded(runs)
    trainings = _trainings(trials, reseeded)
    types = failures(trials)
    deviations = _deviations(trials, sample)
    paths, baseline = _trajectories(runs, trials, seed)
    return Overview(
        runs=tuple(runs),
        analysis=analyze(runs, seed=seed),
        trials=trials,
        networks=networks,
        task=runs[0].config.task,
        objectives=objectives,
        sample=described,
        edfs=_edfs(sample, seed),
        normalised_edfs=_edfs(sample, seed, normalised=True),
        profiles={axis: profiles(deviations, axis, seed=seed) for axis in PROFILES},
        decisions=decision_effects(trials, seed=seed),
        budgets=factors_by_budget(runs[0], seed=seed),
        given=tuple(item for run in runs for item in given_networks(run)),
        coverage=coverage(networks, tuple(types)),
        failures=types,
        repeats=repeats(trainings, seed=seed),
        fidelities=(
            *fidelities(trials, pd.concat([pooled.longer, *reseeded]), seed=seed),
            *(rungs for run in runs for rungs in rungs_of(run, seed=seed)),
        ),
        trajectories=paths,
        baseline=baseline,
        intervals=seed_intervals(trainings),
        timings={run.name: clock for run in runs if (clock := _timing(run)) is not None},
        time_uses={run.name: time_use(run.profile) for run in runs if run.profile},
    )


def _expected(runs: Sequence[Run], objectives: Sequence[str]) -> Expected | None:
    """Return what to expect of the networks of a run; None for several runs, whose measured errors count."""
    return runs[0].expected(objectives) if len(runs) == 1 else None


def _objectives(run: Run, networks: pd.DataFrame) -> tuple[str, ...]:
    """Return the objectives of the run that are known for all networks, those of other runs included; of one
    alone, what it is shown against too."""
    known = [name for name in run.config.objectives if name in networks and networks[name].notna().all()]
    return tuple(known) if len(known) > 1 else plot_axes(known)


def _reseeded(runs: Sequence[Run]) -> list[pd.DataFrame]:
    """Return the trainings with further seeds, one frame per run that has some."""
    frames = []
    for run in runs:
        history = History()
        for trial in getattr(run, "reseeded", ()):
            history.record(trial)
        if history.trials:
            frames.append(trial_table(history))
    return frames


def _trainings(trials: pd.DataFrame, reseeded: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the trainings with the longest schedule of the trials, those of a search as source 0 and those
    with further seeds as source 1."""
    import pandas as pd

    frames = [trials.assign(source=0), *(frame.assign(source=1) for frame in reseeded)]
    return pd.concat([frame[frame["epochs"] == trials["epochs"].max()] for frame in frames])


def _edfs(sample: pd.DataFrame, seed: int, *, normalised: bool = False) -> dict[str, Edf]:
    """Return an EDF per dominating type of enough networks, normalised over the FLOPs bins that all of them
    fill."""
    groups = {str(name): rows for name, rows in sample.groupby("type") if len(rows) >= MIN_NETWORKS_OF_TYPE}
    bins = None
    if normalised:
        bins = shared_bins([rows["flops"] for rows in groups.values()], MIN_NETWORKS_OF_TYPE)
        groups = groups if len(bins) else {}
    rng = np.random.default_rng(seed)
    curves = {}
    for name, rows in groups.items():
        flops, cluster = rows["flops"] if normalised else None, rows["cluster"].to_numpy(np.intp)
        curves[name] = edf_band(rows["error"], flops, bins=bins, cluster=cluster, rng=rng)
    return curves


def _deviations(trials: pd.DataFrame, sample: pd.DataFrame) -> Deviations:
    """Return the deviations in paired blocks where there are any, else in the sample."""
    in_blocks = np.array([design.get("design") == "paired" for design in trials["design"]], bool)
    return from_blocks(read_blocks(trials[in_blocks])) if in_blocks.any() else from_networks(sample)


def _trajectories(
    runs: Sequence[Run], trials: pd.DataFrame, seed: int
) -> tuple[dict[str, Trajectory], Baseline | None]:
    """Return the trajectories of the runs over the space of the first one that a searcher steered."""
    parts = dict(list(trials.groupby("run")))
    steered = [number for number, rows in parts.items() if not rows["uniform"].all()]
    if not steered:
        return {}, None
    space = _space(runs[steered[0]])
    kept = [number for number in parts if _space(runs[number]) == space]
    paths, baseline = trajectories([parts[number] for number in kept], seed=seed)
    names = [runs[number].name for number in kept if number in steered]
    return dict(zip(names, paths, strict=True)), baseline


def _space(run: Run) -> Any:
    return run.config.space_digest


def _timing(run: Run) -> Timing | None:
    if not hasattr(run.study, "ends") or not run.study.trials:
        return None
    ends = run.study.ends()
    known = [trial for trial in run.study.trials if trial.number in ends]
    end = np.array([ends[trial.number].timestamp() for trial in known])
    return timing(end, np.array([trial.duration for trial in known]))
