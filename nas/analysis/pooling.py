"""Several runs analysed as one, where they agree in all that decides an error.

Runs that differ in one respect only are evidence instead: a longer schedule says how far the
short one can be trusted, other learning rates and weight decays whether types depend on them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.analyze import Analysis, analyze, trial_table
from nas.analysis.claims.paired_gates import Evidence
from nas.analysis.paired.recipes import tune
from nas.analysis.text.pareto import none_complete, outcomes_of
from nas.errors import NasError
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import rank_correlation
from nas.study.config_diff import describe_changes
from nas.training.recipe import FULL_EPOCHS

if TYPE_CHECKING:
    import pandas as pd

    from nas.study.run import Run

DECISIVE = ("data_fingerprint", "input_shape", "num_classes", "recipe")
SCHEDULE = {"epochs", "cutout"}
"""Fields of the recipe that a longer schedule changes by itself."""

GRID = {"lr", "weight_decay"}
RESAMPLES = 1000


@dataclass(frozen=True)
class Pool:
    """Trials of the runs that agree, of those with more epochs, and of other recipes by
    (learning rate, weight decay)."""

    trials: pd.DataFrame
    longer: pd.DataFrame
    recipes: Mapping[tuple[float, float], pd.DataFrame]


def analyze_runs(runs: Sequence[Run], *, seed: int = 0) -> Analysis:
    """The analysis of one run or several. NasError says what differs from the first run where one
    can be neither pooled with it nor taken as evidence."""
    found = pool(runs)
    config = runs[0].config
    guess = 1.0 if config.get("task") == "segmentation" else 1 - 1 / config["num_classes"]
    evidence = _evidence(found, config["recipe"], guess, np.random.default_rng(seed))
    return analyze(found.trials, seed=seed, evidence=evidence)


def pool(runs: Sequence[Run]) -> Pool:
    """The trials of runs, by what they can be used for. NotFoundError where none is complete."""
    import pandas as pd

    first = _decisive(runs[0])
    agreeing, longer = [], []
    recipes = defaultdict(list)
    for number, run in enumerate(runs):
        frame = trial_table(run.study).assign(run=number)
        recipe = run.config["recipe"]
        if recipe["epochs"] > first["recipe"]["epochs"] and _differ_in(run, first, SCHEDULE):
            longer.append(frame)
            continue
        if not _differ_in(run, first, GRID):
            here, there = ({"data": each.config["data"], **_decisive(each)} for each in (runs[0], run))
            changes = describe_changes(here, there)
            hint = f"they are pooled only where these agree:\n  {changes}"
            raise NasError(f"differs from {runs[0].name}", where=run.name, hint=hint)
        if _decisive(run) == first:
            agreeing.append(frame)
        recipes[recipe["lr"], recipe["weight_decay"]].append(frame)
    joined = {key: pd.concat(frames) for key, frames in recipes.items()}
    pooled = pd.concat(agreeing, ignore_index=True)
    if not (pooled["state"] == "complete").any():
        names = ", ".join(run.name for run in runs)
        raise none_complete(outcomes_of(pooled), where=names, name=runs[0].name)
    return Pool(pooled, pd.concat(longer) if longer else pooled[:0], joined)


def _decisive(run: Run) -> dict[str, Any]:
    return {key: run.config[key] for key in DECISIVE}


def _differ_in(run: Run, first: Mapping[str, Any], fields: set[str]) -> bool:
    """Whether a run differs from the first in these fields of the recipe at most."""
    found = _decisive(run)
    recipe = {**found["recipe"], **{name: first["recipe"][name] for name in fields}}
    return {**found, "recipe": recipe} == dict(first)


def _evidence(found: Pool, recipe: Mapping[str, Any], guess: float, rng: np.random.Generator) -> Evidence:
    short, long = (
        frame[frame["state"] == "complete"].groupby("digest")["error"].mean()
        for frame in (found.trials, found.longer)
    )
    both = short.index.intersection(long.index)
    rho = UNKNOWN
    if len(both):
        x, y = short[both].to_numpy(float), long[both].to_numpy(float)
        rho = Estimate(*rank_correlation(x, y, RESAMPLES, rng))
    tuned = tune(found.trials, found.recipes, (recipe["lr"], recipe["weight_decay"]))
    return Evidence(int(recipe["epochs"]), FULL_EPOCHS, rho, len(both), tuned, guess)
