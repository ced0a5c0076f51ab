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

from nas.analysis.analyze import Analysis, trial_table
from nas.analysis.analyze import analyze as analyze_table
from nas.analysis.claims.paired_gates import Evidence
from nas.analysis.paired.recipes import tune
from nas.errors import NasError
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import rank_correlation
from nas.study.config_diff import differences, lines
from nas.study.outcomes import none_complete, outcomes_of
from nas.training.recipe import FULL_EPOCHS, Recipe

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


def analyze(runs: Run | Sequence[Run], *, seed: int = 0) -> Analysis:
    """Rank the module types of one run or several, with intervals, and grade what may be claimed.

    Runs that agree in data, split and recipe are pooled. A run with more epochs than the first shows how
    far the first can be trusted; runs with another learning rate or weight decay show whether effects
    hold beyond its recipe.

    Args:
        runs: A run, or several with the reference run first.
        seed: Seed of the bootstrap that the intervals come from.

    Returns:
        The contrasts of module types, each with estimate, interval and grade; `frame()` is the table.

    Raises:
        NasError: A run can neither be pooled with the first nor serve as evidence; the message lists
            the settings that differ.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> nas.analyze(run).trials
        6
    """
    runs = list(runs) if isinstance(runs, Sequence) else [runs]
    found = pool(runs)
    config = runs[0].config
    guess = 1.0 if config.task == "segmentation" else 1 - 1 / config.num_classes
    evidence = _evidence(found, config.recipe, guess, np.random.default_rng(seed))
    return analyze_table(found.trials, seed=seed, evidence=evidence)


def pool(runs: Sequence[Run]) -> Pool:
    """The trials of runs, by what they can be used for. NotFoundError where none is complete."""
    import pandas as pd

    first = _decisive(runs[0])
    agreeing, longer = [], []
    recipes = defaultdict(list)
    for number, run in enumerate(runs):
        frame = trial_table(run.study).assign(run=number)
        recipe = run.config.recipe
        if recipe.epochs > first["recipe"]["epochs"] and _differ_in(run, first, SCHEDULE):
            longer.append(frame)
            continue
        if not _differ_in(run, first, GRID):
            here, there = ({"data": each.config.data, **_decisive(each)} for each in (runs[0], run))
            changes = "\n  ".join(lines(differences(here, there)))
            hint = f"they are pooled only where these agree:\n  {changes}"
            raise NasError(f"differs from {runs[0].name}", where=run.name, hint=hint)
        if _decisive(run) == first:
            agreeing.append(frame)
        recipes[recipe.lr, recipe.weight_decay].append(frame)
    joined = {key: pd.concat(frames) for key, frames in recipes.items()}
    pooled = pd.concat(agreeing, ignore_index=True)
    if not (pooled["state"] == "complete").any():
        names = ", ".join(run.name for run in runs)
        raise none_complete(outcomes_of(pooled), where=names, name=runs[0].name)
    return Pool(pooled, pd.concat(longer) if longer else pooled[:0], joined)


def _decisive(run: Run) -> dict[str, Any]:
    settings = run.config.to_dict()
    return {key: settings[key] for key in DECISIVE}


def _differ_in(run: Run, first: Mapping[str, Any], fields: set[str]) -> bool:
    """Whether a run differs from the first in these fields of the recipe at most."""
    found = _decisive(run)
    recipe = {**found["recipe"], **{name: first["recipe"][name] for name in fields}}
    return {**found, "recipe": recipe} == dict(first)


def _evidence(found: Pool, recipe: Recipe, guess: float, rng: np.random.Generator) -> Evidence:
    short, long = (
        frame[frame["state"] == "complete"].groupby("digest")["error"].mean()
        for frame in (found.trials, found.longer)
    )
    both = short.index.intersection(long.index)
    rho = UNKNOWN
    if len(both):
        x, y = short[both].to_numpy(float), long[both].to_numpy(float)
        rho = Estimate(*rank_correlation(x, y, RESAMPLES, rng))
    tuned = tune(found.trials, found.recipes, (recipe.lr, recipe.weight_decay))
    return Evidence(recipe.epochs, FULL_EPOCHS, rho, len(both), tuned, guess)
