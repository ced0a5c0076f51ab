"""Pooling of runs that agree in everything that decides an error.

Runs that differ in one respect only are evidence instead: a longer schedule shows how far the short one can
be trusted; other learning rates and weight decays show whether effects depend on them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.analysis.analyze import Analysis
from nas.analysis.analyze import analyze as analyze_trials
from nas.analysis.paired.evidence import SMALLEST_EFFECT, Evidence, last_falls
from nas.analysis.paired.recipes import Recipe, network_errors
from nas.analysis.results import analyze_results
from nas.analysis.table import trial_table
from nas.errors import NasError
from nas.recipe import Recipe as TrainingRecipe
from nas.searchers.designs.paired import GRID
from nas.study.config_diff import SAME_DATA, differences, lines
from nas.study.outcomes import none_complete, outcomes_of

if TYPE_CHECKING:
    import pandas as pd

    from nas.study.run import Run

SCHEDULE = {"epochs", "cutout"}
"""Fields of the recipe that may change with a longer schedule."""


@dataclass(frozen=True)
class Pool:
    """Trials of the runs that agree, of those with more epochs, and of other recipes by
    (learning rate, weight decay)."""

    trials: pd.DataFrame
    longer: pd.DataFrame
    recipes: Mapping[Recipe, pd.DataFrame]


def analyze(
    source: Run | Sequence[Run] | pd.DataFrame, *, smallest_effect: float = SMALLEST_EFFECT, seed: int = 0
) -> Analysis:
    """Rank the module types of runs or of a table of results, with intervals, and grade what may be claimed.

    Runs that agree in data, split and recipe are pooled. A run with more epochs than the first shows how
    far the first can be trusted; runs with another learning rate or weight decay show whether effects
    hold beyond its recipe. A table has one row per training of any trainer (see `nas.analysis.results`).

    Args:
        source: A run, several with the reference run first, or a table with the columns `type` and `error`.
        smallest_effect: Smallest effect of interest, a fraction: types are called practically equal where any
            effect is shown to be smaller, and plans are for an effect of this size.
        seed: Seed of the bootstrap that the intervals come from.

    Returns:
        The contrasts of module types, each with estimate, interval and grade; `frame()` is the table.

    Raises:
        NasError: A run can neither be pooled with the first nor serve as evidence, and the message lists
            the settings that differ; or a row of a table cannot be understood, and the message names it.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> nas.analyze(run).trials
        6
    """
    if not 0 < smallest_effect < 1:
        raise NasError(
            f"{smallest_effect:g} is not a smallest effect of interest",
            where="smallest_effect",
            hint="a fraction of the validation error between 0 and 1: half a percentage point is 0.005",
        )
    if hasattr(source, "columns"):
        return analyze_results(source, smallest_effect=smallest_effect, seed=seed)
    runs = list(source) if isinstance(source, Sequence) else [source]
    if not runs or not all(hasattr(run, "study") for run in runs):
        hint = "give runs (nas.open_run), or a DataFrame of trainings with the columns type and error"
        raise NasError(f"neither runs nor a table: {type(source).__name__}", where="analyze", hint=hint)
    pooled = pool(runs)
    config = runs[0].config
    equal = 1.0 if config.task == "segmentation" else 1 - 1 / config.num_classes
    guess = equal if config.guess_error is None else config.guess_error
    evidence = _evidence(pooled, config.recipe, guess, smallest_effect)
    return analyze_trials(pooled.trials, seed=seed, evidence=evidence)


def pool(runs: Sequence[Run]) -> Pool:
    """Return the trials of runs, by the use that they allow. NotFoundError if none is complete."""
    import pandas as pd

    tables = [trial_table(run.study) for run in runs]
    first = _decisive(runs[0], tables[0])
    study = runs[0].config.recipe.lr, runs[0].config.recipe.weight_decay
    agreeing, longer = [], []
    recipes = defaultdict(list)
    for number, (run, table) in enumerate(zip(runs, tables, strict=True)):
        recipe, own = run.config.recipe, _decisive(run, table)
        frame = table.assign(run=number)
        parts = _by_recipe(frame, (recipe.lr, recipe.weight_decay))
        if recipe.epochs > first["recipe"]["epochs"] and _differ_in(own, first, SCHEDULE):
            longer.append(parts.get(study, frame[:0]).assign(epochs=recipe.epochs))
            continue
        if not _differ_in(own, first, {*GRID}):
            here, there = {"data": runs[0].config.data, **first}, {"data": run.config.data, **own}
            changes = "\n  ".join(lines(differences(here, there)))
            hint = f"they are pooled only where these agree:\n  {changes}"
            raise NasError(f"differs from {runs[0].name}", where=run.name, hint=hint)
        if own == first:
            usual = frame.index.isin(parts[study].index) if study in parts else False
            agreeing.append(frame.assign(usual=usual))
        elif study in parts:
            agreeing.append(parts[study])
        for key, part in parts.items():
            recipes[key].append(part)
    joined = {key: pd.concat(frames) for key, frames in recipes.items()}
    pooled = pd.concat(agreeing, ignore_index=True)
    if not (pooled["state"] == "complete").any():
        names = ", ".join(run.name for run in runs)
        raise none_complete(outcomes_of(pooled), where=names, name=runs[0].name)
    return Pool(pooled, pd.concat(longer) if longer else pooled[:0], joined)


def _by_recipe(frame: pd.DataFrame, usual: Recipe) -> dict[Recipe, pd.DataFrame]:
    """Sort trials by learning rate and weight decay, given those of their run.

    Only a paired design crosses them. The trials of a search that varied them count as one sample."""
    paired = [design.get("design") == "paired" for design in frame["design"]]
    keys = [
        (own.get("lr", usual[0]), own.get("weight_decay", usual[1])) if crossed else usual
        for own, crossed in zip(frame["own_recipe"], paired, strict=True)
    ]
    of_key = defaultdict(list)
    for row, key in enumerate(keys):
        of_key[key].append(row)
    return {key: frame.iloc[rows] for key, rows in of_key.items()}


def _searches_recipes(table: pd.DataFrame) -> bool:
    """Return whether recipes were decisions of a search. Without any, an analysis needs no space file."""
    return bool(table["own_recipe"].map(bool).any())


def _decisive(run: Run, table: pd.DataFrame) -> dict[str, Any]:
    """Return the settings in which runs must agree. Of a search these include the recipes that it tried;
    those of a paired design are told apart."""
    settings = run.config.to_dict()
    paired = run.config.searcher == "paired"
    tried = {} if paired or not _searches_recipes(table) else run.space.spec.recipe_decisions
    return {key: settings[key] for key in (*SAME_DATA, "recipe", "fidelity")} | (
        {"searched recipe": tried} if tried else {}
    )


def _differ_in(decisive: Mapping[str, Any], first: Mapping[str, Any], fields: set[str]) -> bool:
    """Return whether the settings of a run differ from the first at most in these fields of the recipe."""
    recipe = {**decisive["recipe"], **{name: first["recipe"][name] for name in fields}}
    return {**decisive, "recipe": recipe} == dict(first)


def _evidence(found: Pool, recipe: TrainingRecipe, guess: float, smallest_effect: float) -> Evidence:
    longest = int(found.longer["epochs"].max()) if len(found.longer) else 0
    return Evidence(
        epochs=recipe.epochs,
        longer=network_errors(found.longer[found.longer["epochs"] == longest]),
        longer_epochs=longest,
        recipes={key: network_errors(frame) for key, frame in found.recipes.items()},
        usual=(recipe.lr, recipe.weight_decay),
        falls=last_falls(found.trials[found.trials["usual"]]),
        guess=guess,
        smallest_effect=smallest_effect,
    )
