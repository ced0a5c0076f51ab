"""A search's history, kept in the tables of an Optuna study.

Each record is one transaction, and Optuna's own tools (optuna-dashboard,
optuna.importance) read the database as it is. The rows are written here:
`optuna.Study.add_trial` asks the database twice for each parameter and attribute, which
takes thirty times as long.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nas.errors import NasError, NotFoundError, StorageError, did_you_mean
from nas.history import History
from nas.modules.base import UnknownTypeError
from nas.trial import ATTRIBUTES, Trial, check_objectives, from_attributes, to_attributes

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

__all__ = ["History", "Study", "check_database"]

CHECKSUM = "checksum"
STATES = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
"""Our states in Optuna's words."""

HELD = "nas"
"""User attribute of the Optuna study with the meta data and the domains."""

PROGRAMS = "SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE '%VIRTUAL%'"
"""What runs when it is read or written: Optuna makes none, but a stranger may have."""


class Study(History):
    """A history kept in an Optuna study; made by `Study.create` and `Study.open`.

    `where` is the path of an SQLite file, or any storage URL of Optuna
    (`postgresql://…`). Numbers of trials are those of Optuna. Use as a context manager,
    or `close` it.
    """

    def __init__(self, storage: RDBStorage, study_id: int, where: str) -> None:
        self._storage, self._study_id, self._where = storage, study_id, where
        try:
            held = storage.get_study_user_attrs(study_id)[HELD]
            super().__init__(storage.get_study_system_attrs(study_id)["study:metric_names"])
            domains = dict(held["domains"])
            self._domains: dict[str, list[Any]] = {path: list(domains[path]) for path in domains}
            self.meta: dict[str, Any] = dict(held["meta"])
            for trial in _read_trials(storage, study_id, self._domains):
                self._append(trial)
        except UnknownTypeError as error:
            raise error.at(_shown(where)) from None
        except (LookupError, TypeError, ValueError, NasError) as error:
            raise _damaged(_shown(where), str(error)) from error

    @classmethod
    def create(
        cls,
        where: str | Path,
        *,
        objectives: Sequence[str],
        domains: Mapping[str, Sequence[Any]],
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Study:
        """A new, empty study. `domains` are the space's: the options of each decision;
        `meta` is any JSON; `name` is that of the Optuna study, by default of the folder.

        NasError if it exists already, StorageError if it cannot be written.
        """
        names, held = check_objectives(objectives), {"meta": dict(meta or {}), "domains": dict(domains)}
        if _is_url(where):
            with _guarded(where):
                _create(str(where), name or "nas", names, held)
            return cls.open(where, name=name or "nas")
        path = Path(where)
        if path.exists():
            raise NasError("exists already", where=str(path), hint="use --resume to go on with it")
        draft = path.with_name(f"{path.name}.new")  # renamed when whole, so a kill leaves no half study
        with _guarded(path):
            draft.unlink(missing_ok=True)
            with closing(sqlite3.connect(draft)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            _create(f"sqlite:///{draft.resolve()}", name or path.resolve().parent.name or "nas", names, held)
            os.replace(draft, path)
        return cls.open(path)

    @classmethod
    def open(cls, where: str | Path, *, name: str | None = None) -> Study:
        """The study in a database; `name` says which, where there are several.

        NotFoundError if there is none, StorageError if the database is damaged.
        """
        from optuna.storages import RDBStorage

        url = str(where)
        if not _is_url(where):
            check_database(Path(where))
            url = f"sqlite:///{Path(where).resolve()}"
        with _guarded(where):
            storage = RDBStorage(url, skip_table_creation=not _is_url(where))
            studies = {study.study_name: study._study_id for study in storage.get_all_studies()}
            if name is None and len(studies) == 1:
                name = next(iter(studies))
            if name not in studies:
                message = f"no study {name!r}" if name else "holds several studies or none"
                raise NotFoundError(message, where=_shown(where), hint=did_you_mean(name or "", studies))
            return cls(storage, studies[name], str(where))

    def record(self, trial: Trial) -> None:
        """Append a finished trial in one transaction; returns when it is on disk.

        StorageError, and nothing recorded, if it cannot be written.
        """
        self._check_number(trial)
        with _guarded(self._where):
            _write_trial(self._storage, self._study_id, self.objectives, self._domains, trial)
        self._append(trial)

    def ends(self) -> dict[int, datetime]:
        """When each trial ended (UTC), by its number."""
        from optuna.storages._rdb import models
        from sqlalchemy import select

        trials = models.TrialModel.__table__.c
        rows = select(trials.number, trials.datetime_complete).where(trials.study_id == self._study_id)
        with _guarded(self._where), self._storage.engine.connect() as connection:
            return {number: end for number, end in connection.execute(rows) if end is not None}

    def close(self) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_database(path: Path) -> None:
    """NotFoundError without the file, StorageError if SQLite finds it damaged."""
    if not path.is_file():
        raise NotFoundError("no such study", where=str(path))
    with _guarded(path), closing(sqlite3.connect(path)) as connection:
        found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
        found += [f"holds {name}, which is no plain table" for (name,) in connection.execute(PROGRAMS)]
    if found != ["ok"]:
        raise _damaged(str(path), "; ".join(found))


def _is_url(where: str | Path) -> bool:
    return "://" in str(where)


def _create(url: str, name: str, objectives: tuple[str, ...], held: Mapping[str, Any]) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url)
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=["minimize"] * len(objectives)
        )
    except optuna.exceptions.DuplicatedStudyError:
        raise NasError(f"study {name!r} exists already", where=url, hint="choose another name") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(objectives))
    study.set_user_attr(HELD, held)
    storage.remove_session()
    storage.engine.dispose()


def _write_trial(
    storage: RDBStorage, study_id: int, objectives: Sequence[str], domains: Mapping[str, Any], trial: Trial
) -> None:
    from optuna.storages._rdb import models
    from optuna.trial import TrialState
    from sqlalchemy import insert

    params = {path: _index(domains, path, value) for path, value in trial.decisions.items()}
    texts = {key: json.dumps(value) for key, value in to_attributes(trial).items()}
    texts[CHECKSUM] = json.dumps(_checksum(texts, params))
    end = datetime.now(UTC).replace(tzinfo=None)
    row = {
        "study_id": study_id,
        "number": trial.number,
        "state": TrialState[STATES[trial.state]],
        "datetime_start": end - timedelta(seconds=trial.duration),
        "datetime_complete": end,
    }
    finite = models.TrialValueModel.TrialValueType.FINITE
    values = enumerate(trial.values(objectives) if trial.complete else ())
    with storage.engine.begin() as connection:
        primary = connection.execute(insert(models.TrialModel.__table__), row).inserted_primary_key
        (key,) = cast("tuple[int]", primary)
        rows: dict[Any, list[dict[str, Any]]] = {
            models.TrialValueModel: [{"objective": i, "value": v, "value_type": finite} for i, v in values],
            models.TrialParamModel: [
                {
                    "param_name": path,
                    "param_value": float(index),
                    "distribution_json": _distribution(json.dumps(domains[path])),
                }
                for path, index in params.items()
            ],
            models.TrialUserAttributeModel: [{"key": k, "value_json": text} for k, text in texts.items()],
        }
        for model, several in rows.items():
            if several:
                connection.execute(insert(model.__table__), [{"trial_id": key, **one} for one in several])


@lru_cache(maxsize=4096)
def _distribution(options: str) -> str:
    """Optuna's words for a choice among options, given as JSON: it takes long to find them, and each trial
    needs those of all its decisions."""
    from optuna.distributions import CategoricalDistribution, distribution_to_json

    return distribution_to_json(CategoricalDistribution(json.loads(options)))


def _read_trials(storage: RDBStorage, study_id: int, domains: Mapping[str, Any]) -> Iterator[Trial]:
    from optuna.storages._rdb import models
    from sqlalchemy import select

    trials, attributes, params = (
        model.__table__.c
        for model in (models.TrialModel, models.TrialUserAttributeModel, models.TrialParamModel)
    )
    of_study = trials.study_id == study_id
    keys = select(trials.trial_id).where(of_study)
    with storage.engine.connect() as connection:
        texts: dict[int, dict[str, str]] = {
            key: {} for key in connection.scalars(keys.order_by(trials.trial_id))
        }
        chosen: dict[int, dict[str, int]] = {key: {} for key in texts}
        columns = (attributes.trial_id, attributes.key, attributes.value_json)
        for key, name, text in connection.execute(select(*columns).where(attributes.trial_id.in_(keys))):
            texts[key][name] = text
        indices = (params.trial_id, params.param_name, params.param_value)
        for key, path, index in connection.execute(
            select(*indices).where(params.trial_id.in_(keys)).order_by(params.param_id)
        ):
            chosen[key][path] = int(index)
    for key, held in texts.items():
        yield _read_trial(key, held, chosen[key], domains)


def _read_trial(
    key: int, texts: Mapping[str, str], params: Mapping[str, int], domains: Mapping[str, Any]
) -> Trial:
    try:
        if json.loads(texts[CHECKSUM]) != _checksum(texts, params):
            raise ValueError("its checksum does not fit")
        attributes = {name: json.loads(text) for name, text in texts.items() if name in ATTRIBUTES}
        return from_attributes(attributes, {path: domains[path][index] for path, index in params.items()})
    except UnknownTypeError:
        raise
    except (LookupError, TypeError, ValueError, NasError) as error:
        raise ValueError(f"the row of trial_id {key} cannot be read: {error}") from error


def _checksum(texts: Mapping[str, str], params: Mapping[str, int]) -> str:
    """Over what makes the trial; attributes that other tools add do not matter."""
    held = [[name, texts[name]] for name in ATTRIBUTES if name in texts]
    return hashlib.blake2b(json.dumps([held, sorted(params.items())]).encode(), digest_size=8).hexdigest()


def _index(domains: Mapping[str, Sequence[Any]], path: str, value: Any) -> int:
    for index, option in enumerate(domains.get(path, ())):
        if option == value and type(option) is type(value):
            return index
    raise NasError(f"{value!r} is not an option of the study's space", where=path)


def _shown(where: str | Path) -> str:
    """Without the password that a URL may hold."""
    from sqlalchemy import make_url

    return make_url(str(where)).render_as_string(hide_password=True) if _is_url(where) else str(where)


def _damaged(where: str, cause: str) -> StorageError:
    hint = "restore a copy, or save what can be read with: sqlite3 FILE .recover"
    return StorageError(f"the study is damaged: {cause}", where=where, hint=hint)


@contextmanager
def _guarded(where: str | Path) -> Iterator[None]:
    """Turn what databases and disks raise into a StorageError with a way out."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    known = (sqlite3.Error, SQLAlchemyError, StorageInternalError, OSError, RuntimeError, UnicodeError)
    try:
        yield
    except known as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        broken = isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError)
        if broken or isinstance(cause, UnicodeError):
            raise _damaged(_shown(where), str(cause)) from error
        hint = "free some space, or see that the place exists and can be written"
        message = f"cannot read or write the study: {cause}"
        raise StorageError(message, where=_shown(where), hint=hint) from error
