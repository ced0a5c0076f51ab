"""The settings that decide the results of a search, checked before anything is written or started."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nas
from nas.errors import NasError
from nas.graph.graph import shape_text
from nas.schedulers import check_rungs
from nas.searchers import make_searcher
from nas.searchers.base import Searcher
from nas.searchers.warm_start import WarmStart, find_warm_starts
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.space.space import SearchSpace
from nas.space.spec import listed
from nas.study import run_folder
from nas.study.objectives import check_objectives, measures
from nas.study.run_config import UNBOUNDED, RunConfig
from nas.training.recipe import Recipe, adjusted, check_recipe, default_recipe
from nas.zoo.network_file import recorded_network

if TYPE_CHECKING:
    from nas.data import Dataset

DEFAULTS: dict[str, Any] = {
    "data": "digits",
    "trials": 24,
    "searcher": "hypervolume",
    "objectives": ("error", "flops"),
    "seed": 0,
    "seed_with": (),
    "repeats": 2,
    "fidelity": (),
    "seconds": None,
}
UNIFORM_SHARE = 0.2


@dataclass(frozen=True)
class SearchConfig:
    """Settings of a search that fit together and to its data.

    space: the search space, for the shape and classes of the data. searcher: what proposes networks. recipe:
    how each is trained. trials: trials in all. seed: proposals, weights and batches follow from it.
    objectives: figures to minimise. data: the data set as it was named. warm_starts: given networks to
    try first. fidelity: rungs of successive halving in epochs, () without. uniform_share: share of proposals
    that are drawn uniformly. seconds: time after which nothing starts, None without such a limit.
    """

    space: SearchSpace
    searcher: Searcher
    recipe: Recipe
    trials: int
    seed: int = 0
    objectives: tuple[str, ...] = ("error", "flops")
    data: str = ""
    warm_starts: tuple[WarmStart, ...] = ()
    fidelity: tuple[int, ...] = ()
    uniform_share: float = UNIFORM_SHARE
    seconds: float | None = None

    def run_config(self, dataset: Dataset) -> RunConfig:
        """Return the settings that the folder of a new run holds."""
        return RunConfig(
            space=self.space.name,
            space_digest=run_folder.space_digest(self.space.to_yaml()),
            data=self.data,
            data_fingerprint=dataset.fingerprint,
            task=dataset.task,
            searcher=self.searcher.name,
            objectives=self.objectives,
            seed=self.seed,
            trials=self.trials,
            seed_with=tuple(start.setting for start in self.warm_starts),
            repeats=self.searcher.repeats,
            fidelity=self.fidelity,
            uniform_share=self.uniform_share,
            recipe=self.recipe,
            input_shape=dataset.input_shape,
            num_classes=dataset.num_classes,
            val_images=len(dataset.val_labels),
            guess_error=dataset.guess_error,
            classes=tuple(dataset.classes),
            mean=tuple(map(float, dataset.mean)),
            std=tuple(map(float, dataset.std)),
            versions=versions(),
        )


def prepare(
    space: str | Path | SearchSpace, *, recipe: Mapping[str, Any] | None = None, **settings: Any
) -> tuple[SearchConfig, Dataset]:
    """Load space and data, and check the settings.

    space: a name, the path of a .yaml file, or a space. recipe: fields to set in the recipe that suits the
    data. settings: the keys of DEFAULTS, None for a default. NasError names the setting that is wrong,
    NotFoundError a space, data set or network that is not known.
    """
    from nas.data import data_name, load_data

    chosen = DEFAULTS | {key: value for key, value in settings.items() if value is not None}
    objectives = check_objectives(chosen["objectives"])
    _check_bounds(chosen)
    measures(objectives)  # so that a fault in them shows before the search
    searcher = make_searcher(chosen["searcher"], objectives, chosen["repeats"])
    _check_searcher(searcher, chosen, settings)
    fidelity = _rungs(chosen, recipe or {}, searcher)
    loaded = space if isinstance(space, SearchSpace) else load_space(space)
    dataset = load_data(chosen["data"], seed=chosen["seed"])
    chosen["data"] = data_name(chosen["data"])
    fitted = loaded.with_input(dataset.input_shape, dataset.num_classes)
    _check_task(fitted, dataset)
    fields = {**(recipe or {}), **({"epochs": fidelity[-1]} if fidelity else {})}
    adjusted_recipe = _recipe(fitted, dataset, fields)
    if adjusted_recipe.patience:
        hint = "nas train has it; halving (--fidelity) ends trainings early here"
        raise NasError("candidates are compared after equal epochs", where="recipe: patience", hint=hint)
    needed = searcher.default_trials(fitted, chosen["seed"])  # raises where a design has no network
    config = SearchConfig(
        space=fitted,
        searcher=searcher,
        recipe=adjusted_recipe,
        trials=_trials(chosen, settings, needed),
        seconds=chosen["seconds"],
        seed=chosen["seed"],
        objectives=objectives,
        data=chosen["data"],
        warm_starts=find_warm_starts(fitted, map(recorded_network, chosen["seed_with"])),
        fidelity=fidelity,
    )
    return config, dataset


def _recipe(space: SearchSpace, dataset: Dataset, fields: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a search: fields that the space searches have their usual option.

    NasError for a field that both the space and the user set, and for an option that the data do not allow.
    """
    spec = space.spec
    if twice := [name for name in fields if name in spec.recipe]:
        hint = f"leave it out, or change `recipe` in the file of {space.name}"
        raise NasError("is set by the search space", where=f"recipe: {twice[0]}", hint=hint)
    recipe = adjusted(default_recipe(dataset, fields.get("epochs")), {**spec.usual_recipe, **fields})
    check_recipe(recipe, dataset)
    for name, value in spec.recipe.items():
        branches = [o for kind, o in value.items() if kind != "by"] if isinstance(value, Mapping) else [value]
        for option in (option for branch in branches for option in listed(branch)):
            check_recipe(replace(recipe, **{name: option}), dataset)
    return recipe


def versions() -> dict[str, str]:
    """Return the versions of all that a result depends on, by program."""
    packages = ("torch", "ray", "optuna", "numpy")
    installed = {name: metadata.version(name) for name in packages}
    return {"nas": nas.__version__, "python": platform.python_version(), **installed}


def _trials(chosen: Mapping[str, Any], settings: Mapping[str, Any], needed: int | None) -> int:
    """Return the trials in all: those asked for, those of a design, as many as fit, or the default."""
    if settings.get("trials") is not None:
        return int(settings["trials"])
    return needed or (UNBOUNDED if chosen["seconds"] is not None else int(chosen["trials"]))


def _check_bounds(chosen: Mapping[str, Any]) -> None:
    for name, least in (("trials", 1), ("seed", 0), ("repeats", 1)):
        if chosen[name] < least:
            raise NasError(f"must be at least {least}, not {chosen[name]}", where=name)
    if chosen["seconds"] is not None and not chosen["seconds"] > 0:
        raise NasError(f"must be above 0, not {chosen['seconds']}", where="seconds")


def _check_searcher(searcher: Searcher, chosen: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    if searcher.name != chosen["searcher"]:  # a plug-in's: the name is recorded, and must find it again
        message = f"calls itself {searcher.name!r}"
        raise NasError(message, where=f"searcher {chosen['searcher']!r}", hint="give it one name")
    if searcher.plans_every_trial and chosen["seed_with"]:
        raise NasError("a design plans every network itself", where="seed_with")
    if settings.get("repeats") is not None and searcher.repeats is None:
        raise NasError("only the paired design trains a network with several seeds", where="repeats")


def _rungs(chosen: Mapping[str, Any], recipe: Mapping[str, Any], searcher: Searcher) -> tuple[int, ...]:
    """Return the rungs of successive halving; NasError if they and other settings exclude each other."""
    if not chosen["fidelity"]:
        return ()
    rungs = check_rungs(chosen["fidelity"])
    if searcher.plans_every_trial:
        message = f"{searcher.name} compares equal trainings, and halving would stop some of them"
        hint = "leave it out and give the epochs, or choose another searcher"
        raise NasError(message, where="fidelity", hint=hint)
    if "error" not in chosen["objectives"]:
        raise NasError("halving promotes by error, which is not an objective here", where="fidelity")
    if recipe.get("epochs", rungs[-1]) != rungs[-1]:
        message = f"the last rung is {rungs[-1]} epochs, but epochs is {recipe['epochs']}"
        raise NasError(message, where="fidelity", hint="leave the epochs out: the last rung sets them")
    return rungs


def _check_task(space: SearchSpace, dataset: Dataset) -> None:
    """Raise NasError unless networks of the space answer as the labels ask: per image, or per pixel."""
    output = expand(space.sample(0), space.input_shape, space.num_classes).output_shape
    expected = (dataset.num_classes, *dataset.train_labels.shape[1:])
    if output != expected:
        sizes = [shape_text(shape) for shape in (output, expected)]
        message = f"its networks give scores of {sizes[0]} for an image, {dataset.name} needs {sizes[1]}"
        hint = f"the data are for {dataset.task}; nas spaces lists the spaces"
        raise NasError(message, where=f"space {space.name}", hint=hint)
