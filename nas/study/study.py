"""A search's history, kept in the tables of an Optuna study.

Each record is one transaction, and Optuna's own tools (optuna-dashboard,
optuna.importance) read the database as it is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nas.errors import NasError, NotFoundError, StorageError, did_you_mean
from nas.garbage import no_collection
from nas.modules.base import UnknownTypeError
from nas.study.history import History
from nas.study.objectives import check_objectives
from nas.study.optuna_tables import Ask, Domain, asking, read_study, read_trials, write_study, write_trial
from nas.study.storage_url import connection_of, is_url, shown
from nas.study.trial import Trial

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

__all__ = ["History", "Study", "check_database"]

TABLES = "v3.2.0.a"
"""Version of Optuna's tables that is read."""

FILE_HINT = "free some space, or see that the place exists and can be written"
SERVER_HINT = "see that the server answers; a password is taken from your URL, PGPASSWORD or ~/.pgpass"

PROGRAMS = "SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE '%VIRTUAL%'"
"""What runs when it is read or written: Optuna makes none, but a stranger may have."""


class Study(History):
    """A history kept in an Optuna study; made by `Study.create` and `Study.open`.

    `where` is the path of an SQLite file, or any storage URL of Optuna
    (`postgresql://…`). Numbers of trials are those of Optuna. Use as a context manager,
    or `close` it.
    """

    def __init__(self, where: str, study_id: int, ask: Ask, storage: RDBStorage | None = None) -> None:
        self._where, self._study_id = where, study_id
        if storage is not None:
            self._storage = storage
        try:
            held, objectives = read_study(ask, study_id)
            super().__init__(objectives)
            domains = dict(held["domains"])
            self._domains = {path: Domain(list(domains[path]), at) for at, path in enumerate(domains)}
            self.meta: dict[str, Any] = dict(held["meta"])
            self._last = 0  # the key of the last trial that is known
            self._learn(ask)
        except UnknownTypeError as error:
            raise error.at(shown(where)) from None
        except (LookupError, TypeError, ValueError, NasError) as error:
            raise _damaged(shown(where), str(error)) from error

    @classmethod
    def create(
        cls,
        where: str | Path,
        *,
        objectives: Sequence[str],
        domains: Mapping[str, Sequence[Any]],
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Self:
        """A new, empty study. `domains` are the space's: the options of each decision;
        `meta` is any JSON; `name` is that of the Optuna study, by default of the folder.

        NasError if it exists already, StorageError if it cannot be written.
        """
        names, held = check_objectives(objectives), {"meta": dict(meta or {}), "domains": dict(domains)}
        if is_url(where):
            with guarded(where):
                _create(str(where), name or "nas", names, held)
            return cls.open(where, name=name or "nas")
        path = Path(where)
        if path.exists():
            raise NasError("exists already", where=str(path), hint="use --resume to go on with it")
        draft = path.with_name(f"{path.name}.new")  # renamed when whole, so a kill leaves no half study
        with guarded(path):
            draft.unlink(missing_ok=True)
            with closing(sqlite3.connect(draft)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            _create(f"sqlite:///{draft.resolve()}", name or path.resolve().parent.name or "nas", names, held)
            os.replace(draft, path)
        return cls.open(path)

    @classmethod
    def open(cls, where: str | Path, *, name: str | None = None) -> Self:
        """The study in a database; `name` says which, where there are several.

        NotFoundError if there is none, StorageError if the database is damaged.
        """
        if not is_url(where):
            return cls._open_file(Path(where), name)
        with guarded(where), ExitStack() as stack:
            storage = _storage(str(where))
            stack.callback(_close, storage)
            with storage.engine.connect() as server:
                ask = asking(server)
                found = cls(str(where), _number(ask, name, where), ask, storage)
            stack.pop_all()
            return found

    @classmethod
    def _open_file(cls, path: Path, name: str | None) -> Self:
        """SQLite looks for damage while the trials are read: each takes about as long, and what is wrong
        with the file is the better message where its trials cannot be read."""
        check_no_programs(path)
        with ThreadPoolExecutor(1) as pool:
            checked = pool.submit(check_database, path)
            try:
                with guarded(path), closing(sqlite3.connect(path)) as connection:
                    connection.execute("BEGIN")  # so that all queries see the same moment
                    _check_tables(connection, path)
                    return cls(str(path), _number(connection.execute, name, path), connection.execute)
            finally:
                checked.result()

    @cached_property
    def _storage(self) -> RDBStorage:
        """Optuna's way to a file, made when the first trial is recorded: to read needs no more than SQL,
        and takes half the time without."""
        return _storage(f"sqlite:///{Path(self._where).resolve()}")

    def resolve_precision(self, precision: str) -> str:
        """Return the precision of all trainings, given the one that suits this driver's first worker."""
        return precision

    def connect(self) -> None:
        """Load what the first record needs, where there is time for it; StorageError if that fails."""
        with guarded(self._where):
            self._storage.engine.connect().close()

    def record(self, trial: Trial) -> None:
        """Append a finished trial in one transaction; returns when it is on disk.

        StorageError, and nothing recorded, if it cannot be written.
        """
        self._check_number(trial)
        with guarded(self._where), self._storage.engine.begin() as connection:
            key = write_trial(connection, self._study_id, self.objectives, self._domains, trial)
        self._append(trial)
        self._last = key

    def _learn(self, ask: Ask) -> None:
        """Read what has been recorded since."""
        with no_collection():
            for key, trial in read_trials(ask, self._study_id, self._domains, self._last):
                self._append(trial)
                self._last = key

    def ends(self) -> dict[int, datetime]:
        """When each trial ended (UTC), by its number."""
        from optuna.storages._rdb import models
        from sqlalchemy import select

        trials = models.TrialModel.__table__.c
        rows = select(trials.number, trials.datetime_complete).where(trials.study_id == self._study_id)
        with guarded(self._where), self._storage.engine.connect() as connection:
            return {number: end for number, end in connection.execute(rows) if end is not None}

    def close(self) -> None:
        if "_storage" in vars(self):
            _close(self._storage)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_database(path: Path) -> None:
    """NotFoundError without the file, StorageError if SQLite finds it damaged: also where an index misses
    a row, or a row belongs to nothing, as either would be left out of a study in silence."""
    check_no_programs(path)
    with guarded(path), closing(sqlite3.connect(path)) as connection:
        found = [text for (text,) in connection.execute("PRAGMA integrity_check(3)") if text != "ok"]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchmany(3)
    found += [f"row {row} of {table} belongs to no row of {parent}" for table, row, parent, _ in orphans]
    if found:
        raise _damaged(str(path), "; ".join(found))


def check_no_programs(path: Path) -> None:
    """NotFoundError without the file, StorageError if it holds more than tables to read."""
    if not path.is_file():
        raise NotFoundError("no such study", where=str(path))
    with guarded(path), closing(sqlite3.connect(path)) as connection:
        found = [f"holds {name}, which is no plain table" for (name,) in connection.execute(PROGRAMS)]
    if found:
        raise _damaged(str(path), "; ".join(found))


def _check_tables(connection: sqlite3.Connection, where: str | Path) -> None:
    """Leave it to Optuna to say what it thinks of tables of another version than the one that is read."""
    if connection.execute("SELECT version_num FROM alembic_version").fetchall() != [(TABLES,)]:
        _close(_storage(f"sqlite:///{Path(where).resolve()}"))


def _number(ask: Ask, name: str | None, where: str | Path) -> int:
    """Of the study of this name, or of the only one."""
    studies = {str(found): int(number) for number, found in ask("SELECT study_id, study_name FROM studies")}
    if name is None and len(studies) == 1:
        name = next(iter(studies))
    if name not in studies:
        message = f"no study {name!r}" if name else "holds several studies or none"
        raise NotFoundError(message, where=shown(where), hint=did_you_mean(name or "", studies))
    return studies[name]


def _create(url: str, name: str, objectives: tuple[str, ...], held: Mapping[str, Any]) -> None:
    from sqlalchemy.exc import IntegrityError

    storage = _storage(url, create=True)
    try:
        with storage.engine.begin() as connection:
            write_study(connection, name, objectives, held)
    except IntegrityError:
        hint = "choose another --name, or join it with --resume"
        raise NasError(f"study {name!r} exists already", where=shown(url), hint=hint) from None
    finally:
        _close(storage)


def _storage(url: str, *, create: bool = False) -> RDBStorage:
    """Optuna's tables at a URL, made if `create`; NotFoundError where a server has none."""
    import optuna
    from sqlalchemy import create_engine, inspect

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place, arguments = connection_of(url)
    if not create and not place.startswith("sqlite"):
        engine = create_engine(place, **arguments)
        found = inspect(engine).has_table("studies")
        engine.dispose()
        if not found:
            raise NotFoundError("holds no study", where=shown(url))
    return optuna.storages.RDBStorage(place, engine_kwargs=arguments, skip_table_creation=not create)


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _damaged(where: str, cause: str) -> StorageError:
    hint = "restore a copy, or save what can be read with: sqlite3 FILE .recover"
    return StorageError(f"the study is damaged: {cause}", where=where, hint=hint)


@contextmanager
def guarded(where: str | Path) -> Iterator[None]:
    """Turn what databases and disks raise into a StorageError with a way out."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, _of_disks()):
            raise
        cause = getattr(error, "orig", None) or error.__cause__ or error
        broken = isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError)
        if broken or isinstance(cause, UnicodeError):
            raise _damaged(shown(where), str(cause)) from error
        hint = SERVER_HINT if is_url(where) else FILE_HINT

        message = f"cannot read or write the study: {cause}"
        raise StorageError(message, where=shown(where), hint=hint) from error


def _of_disks() -> tuple[type[Exception], ...]:
    """What databases and disks raise; to read needs none of what is loaded here."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return sqlite3.Error, SQLAlchemyError, StorageInternalError, OSError, RuntimeError, UnicodeError
