"""Records written before the first trial: a new run, one more driver of a shared study, a resumed run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.controller.config import SearchConfig, prepare
from nas.errors import NasError, NotFoundError
from nas.files import write_atomic
from nas.space.load import load_space, parse_space
from nas.space.space import SearchSpace
from nas.study import run_folder
from nas.study.config_diff import BECAME, differences, lines
from nas.study.run_config import UNBOUNDED, VERSION, RunConfig
from nas.study.run_folder import RunFolder
from nas.study.storage_url import own_storage, shown, without_password
from nas.study.study import Study
from nas.zoo.network_file import setting_network

if TYPE_CHECKING:
    from nas.data import Dataset

FREE = frozenset(
    {
        *("trials", "versions", "task", "schema", "storage", "study", "exhausted", "networks"),
        *("mean", "std", "val_images", "guess_error"),
    }
)
"""Settings that a resumed run may change, or that follow from others. Those of the last line follow from
the data, whose fingerprint is compared; their last digit depends on the machine."""


def write_run(files: RunFolder, config: SearchConfig, dataset: Dataset, storage: str | None = None) -> None:
    """Fill a new folder with all that a search and a resumed one need, before the first trial.

    The configuration comes last: with it the folder is a run. With a `storage` the study goes there, with all
    that the folder of another driver needs.
    """
    space, settings = config.space.to_yaml(), config.run_config(dataset)
    meta = settings.to_dict()
    if storage is not None:
        settings = settings.model_copy(update={"storage": without_password(storage), "study": files.name})
        meta = {"config": settings.to_dict(), "space": space}
    write_atomic(files.space, space)
    domains = {path: list(options) for path, options in config.space.domains().items()}
    where = storage or files.database
    Study.create(where, objectives=config.objectives, domains=domains, meta=meta, name=files.name).close()
    run_folder.write_config(files, settings)


def join_run(results_dir: str | Path, name: str, storage: str) -> RunFolder:
    """Make the folder of one more driver for the study `name` of a storage. NotFoundError if there is no such
    study."""
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
    files = run_folder.create_run(results_dir, name, name)
    with run_folder.removed_on_failure(files):
        write_atomic(files.space, space)
        run_folder.write_config(files, config)
    return files


def resume_run(
    files: RunFolder,
    space: str | Path | SearchSpace | None,
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    storage: str | None = None,
) -> tuple[SearchConfig, Dataset]:
    """Return settings and data of a recorded run, and record the settings that may change.

    space, recipe, settings: as for `prepare`, None for what is recorded. storage: URL of the server that
    holds the study now. NasError lists the settings that differ from the recorded ones.
    """
    from nas.data import check_recorded, check_recorded_objectives

    recorded = run_folder.read_config(files)
    if recorded.storage is not None and storage is None:
        own_storage(recorded.storage, None, str(files.path))  # refuses before anything is written
    if settings["data"] is None:
        check_recorded(recorded.data)
    if settings["objectives"] is None:
        check_recorded_objectives(recorded.objectives)
    for network in recorded.seed_with:
        setting_network(network)  # a path, which no run records, is refused
    if recorded.trials >= UNBOUNDED and settings["seconds"] is None and settings["trials"] is None:
        hint = "say how long it may go on (--time 30m), or how many trials there are to be (--trials 48)"
        raise NasError("was limited by time, and stopped before", where=str(files.path), hint=hint)
    space = space or parse_space(run_folder.read_space(files, recorded), str(files.space))
    ours = dict(settings)
    if settings["seconds"] is not None and settings["trials"] is None:
        ours["trials"] = UNBOUNDED  # as many as fit; those that are recorded may be all that were asked for
    chosen = {key: getattr(recorded, key, None) if value is None else value for key, value in ours.items()}
    loaded = space if isinstance(space, SearchSpace) else load_space(space)
    fields = {name: v for name, v in asdict(recorded.recipe).items() if name not in loaded.spec.recipe}
    config, dataset = prepare(loaded, recipe={**fields, **recipe}, **chosen)
    changes = differences(recorded.to_dict(), config.run_config(dataset).to_dict(), FREE)
    if changes:
        message = "\n  ".join(("cannot resume with other settings", *lines(changes, BECAME)))
        hint = "leave these settings out to resume, or start a new run"
        raise NasError(message, where=str(files.path), hint=hint)
    _renew(files, recorded, config.trials, storage)
    return config, dataset


def _renew(files: RunFolder, recorded: RunConfig, trials: int, storage: str | None) -> None:
    """Record the new number of trials, the server and the layout in which trials are written from now on."""
    update: dict[str, Any] = {"trials": trials, "layout": VERSION, "exhausted": None, "networks": None}
    if storage is not None:
        if recorded.storage is None:
            raise NasError("the study of this run is a file in its folder", where="storage")
        update["storage"] = without_password(storage)
    if (renewed := recorded.model_copy(update=update)) != recorded:
        run_folder.write_config(files, renewed)
