"""What decides the results of a search: checked before anything is written or started,
recorded in `config.json`, and compared when a run is resumed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nas
from nas.errors import NasError, NotFoundError
from nas.files import write_atomic
from nas.graph.graph import shape_text
from nas.schedulers import check_rungs
from nas.searchers.warm_start import WarmStart, find_warm_starts
from nas.space.genotype import expand
from nas.space.space import SearchSpace, load_space, parse_space
from nas.study import run_folder
from nas.study.config_diff import BECAME, differences, lines
from nas.study.objectives import check_objectives, measures
from nas.study.run_config import VERSION, RunConfig
from nas.study.run_folder import RunFolder
from nas.study.storage_url import own_storage, shown, without_password
from nas.study.study import Study

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.searchers import Searcher
    from nas.training.recipe import Recipe

DEFAULTS: dict[str, Any] = {
    "data": "digits",
    "trials": 24,
    "searcher": "evolution",
    "objectives": ("error", "flops"),
    "seed": 0,
    "seed_with": (),
    "repeats": 2,
    "fidelity": (),
}
UNIFORM_SHARE = 0.2
FREE = frozenset({"trials", "versions", "task", "schema", "storage", "study", "mean", "std"})
"""Settings that a resumed run may change, or that follow from others: mean and standard deviation from the
data, whose fingerprint is compared, but for the last digit, which is the machine's."""


@dataclass(frozen=True)
class Setup:
    """Space, data, recipe and settings that fit together; `planner` is the searcher itself;
    `fidelity` are the epochs of the rungs of successive halving, () without."""

    space: SearchSpace
    dataset: Dataset
    recipe: Recipe
    data: str
    trials: int
    searcher: str
    objectives: tuple[str, ...]
    seed: int
    seeds: tuple[WarmStart, ...]
    repeats: int
    fidelity: tuple[int, ...]
    planner: Searcher

    def run_config(self) -> RunConfig:
        """Return the settings that the folder of a new run holds."""
        dataset = self.dataset
        return RunConfig(
            space=self.space.name,
            space_digest=run_folder.space_digest(self.space.to_yaml()),
            data=self.data,
            data_fingerprint=dataset.fingerprint,
            task=dataset.task,
            searcher=self.searcher,
            objectives=self.objectives,
            seed=self.seed,
            trials=self.trials,
            seed_with=tuple(seed.name for seed in self.seeds),
            repeats=self.planner.repeats,
            fidelity=self.fidelity,
            uniform_share=UNIFORM_SHARE,
            recipe=self.recipe,
            input_shape=dataset.input_shape,
            num_classes=dataset.num_classes,
            classes=tuple(dataset.classes),
            mean=tuple(map(float, dataset.mean)),
            std=tuple(map(float, dataset.std)),
            versions=versions(),
        )


def prepare(
    space: str | Path | SearchSpace,
    *,
    recipe: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Setup:
    """Load space and data and check the settings: the keys of DEFAULTS, None for a default;
    `recipe` sets fields of the one that the data set would be given.

    Raises NasError naming the setting that is wrong, NotFoundError for a space, data or
    network that is not known.
    """
    from nas.data import load_data
    from nas.searchers import make_searcher
    from nas.training.recipe import adjusted, default_recipe

    recipe = recipe or {}
    chosen = DEFAULTS | {key: value for key, value in settings.items() if value is not None}
    chosen["objectives"] = check_objectives(chosen["objectives"])
    _check_bounds(chosen)
    measures(chosen["objectives"])  # so that what is wrong with them is told before the search
    planner = make_searcher(chosen["searcher"], chosen["objectives"], chosen["repeats"])
    if planner.plans_every_trial and chosen["seed_with"]:
        raise NasError("a design plans every network itself", where="seed_with")
    chosen["fidelity"] = _rungs(chosen, recipe, planner)
    if settings.get("repeats") is not None and planner.repeats is None:
        raise NasError("only the paired design trains a network with several seeds", where="repeats")
    loaded = space if isinstance(space, SearchSpace) else load_space(space)
    dataset = load_data(chosen["data"], seed=chosen["seed"])
    fitted = loaded.with_input(dataset.input_shape, dataset.num_classes)
    _check_task(fitted, dataset)
    seeds = find_warm_starts(fitted, chosen.pop("seed_with"))
    if settings.get("trials") is None:
        chosen["trials"] = planner.default_trials(fitted, chosen["seed"]) or chosen["trials"]
    if chosen["fidelity"]:
        recipe = {**recipe, "epochs": chosen["fidelity"][-1]}
    trained = adjusted(default_recipe(dataset, recipe.get("epochs")), recipe)
    return Setup(fitted, dataset, trained, seeds=seeds, planner=planner, **chosen)


def write_run(files: RunFolder, setup: Setup, storage: str | None = None) -> None:
    """Fill a new folder with everything that a search and a resumed one need, before the first trial.
    The configuration comes last: with it the folder is a run.

    With a `storage` the study goes there, with all that the folder of another driver needs.
    """
    space, config = setup.space.to_yaml(), setup.run_config()
    meta = config.to_dict()
    if storage is not None:
        config = config.model_copy(update={"storage": without_password(storage), "study": files.name})
        meta = {"config": config.to_dict(), "space": space}
    write_atomic(files.space, space)
    domains = {path: list(options) for path, options in setup.space.domains().items()}
    where = storage or files.database
    Study.create(where, objectives=setup.objectives, domains=domains, meta=meta, name=files.name).close()
    run_folder.write_config(files, config)


def join(results_dir: str | Path, name: str, storage: str) -> RunFolder:
    """The folder of one more driver for the study `name` of a storage, made as the first one's was.
    NotFoundError if there is no such study."""
    with Study.open(storage, name=name) as study:
        meta = study.meta
    where = f"{shown(storage)}: {name}"
    try:
        recorded, space = dict(meta["config"]), str(meta["space"])
    except (LookupError, TypeError, ValueError):
        raise NotFoundError("is no study of nas search", where=where) from None
    recorded |= {"storage": without_password(storage), "study": name}
    config = RunConfig.from_dict(recorded, where)
    parse_space(space, where)
    files = run_folder.create(results_dir, name, name)
    with run_folder.whole_or_none(files):
        write_atomic(files.space, space)
        run_folder.write_config(files, config)
    return files


def resumed(
    files: RunFolder,
    space: str | Path | SearchSpace | None,
    recipe: Mapping[str, Any],
    asked: Mapping[str, Any],
    storage: str | None = None,
) -> Setup:
    """The setup of a recorded run; NasError says what the caller or the data have changed. `storage`
    says where its study is now, if that is another server."""
    from nas.data import check_recorded

    config = run_folder.read_config(files)
    if config.storage is not None and storage is None:
        own_storage(config.storage, None, str(files.path))  # refuses before anything is written
    if asked["data"] is None:
        check_recorded(config.data)
    for name in config.objectives if asked["objectives"] is None else ():
        check_recorded(name, f"--objectives {','.join(config.objectives)}")
    kept = parse_space(run_folder.read_space(files, config), str(files.space))
    recorded = {key: getattr(config, key) for key in asked}
    given = {key: value for key, value in asked.items() if value is not None}
    setup = prepare(space or kept, recipe={**asdict(config.recipe), **recipe}, **recorded | given)
    changes = differences(config.to_dict(), setup.run_config().to_dict(), FREE)
    if changes:
        message = "\n  ".join(("cannot resume with other settings", *lines(changes, BECAME)))
        hint = "leave these settings out to resume, or start a new run"
        raise NasError(message, where=str(files.path), hint=hint)
    renewed: dict[str, Any] = {"trials": setup.trials, "layout": VERSION}  # as what is written from now on
    if storage is not None:
        if config.storage is None:
            raise NasError("the study of this run is a file in its folder", where="storage")
        renewed["storage"] = without_password(storage)
    if (updated := config.model_copy(update=renewed)) != config:
        run_folder.write_config(files, updated)
    return setup


def _rungs(chosen: Mapping[str, Any], recipe: Mapping[str, Any], planner: Searcher) -> tuple[int, ...]:
    """The rungs of successive halving; NasError where they and other settings exclude each other."""
    if not chosen["fidelity"]:
        return ()
    rungs = check_rungs(chosen["fidelity"])
    if planner.plans_every_trial:
        raise NasError(
            f"{chosen['searcher']} compares equal trainings, and halving would stop some of them",
            where="fidelity",
            hint="leave it out and give the epochs, or choose another searcher",
        )
    if "error" not in chosen["objectives"]:
        raise NasError("halving goes by the error, which is no objective", where="fidelity")
    if recipe.get("epochs", rungs[-1]) != rungs[-1]:
        message = f"ends with {rungs[-1]} epochs, and the epochs are given as {recipe['epochs']}"
        raise NasError(message, where="fidelity", hint="leave the epochs out: the last rung says them")
    return rungs


def _check_bounds(chosen: Mapping[str, Any]) -> None:
    for name, least in (("trials", 1), ("seed", 0), ("repeats", 1)):
        if chosen[name] is not None and chosen[name] < least:
            raise NasError(f"must be at least {least}, not {chosen[name]}", where=name)


def _check_task(space: SearchSpace, dataset: Dataset) -> None:
    """A network of the space must answer as the labels ask: for an image, or for its pixels."""
    found = expand(space.sample(0), space.input_shape, space.num_classes).output_shape
    expected = (dataset.num_classes, *dataset.train_labels.shape[1:])
    if found != expected:
        sizes = [shape_text(shape) for shape in (found, expected)]
        message = f"its networks give scores of {sizes[0]} for an image, {dataset.name} needs {sizes[1]}"
        hint = f"the data are for {dataset.task}; nas spaces lists what there is"
        raise NasError(message, where=f"space {space.name}", hint=hint)


def versions() -> dict[str, str]:
    """Of all that a result depends on."""
    packages = ("torch", "ray", "optuna", "numpy")
    found = {name: metadata.version(name) for name in packages}
    return {"nas": nas.__version__, "python": platform.python_version(), **found}
