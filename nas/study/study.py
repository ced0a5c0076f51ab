"""A search's history, recorded in a database: each trial is one transaction."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nas.errors import NasError, NotFoundError
from nas.files import replace_durably
from nas.study import database
from nas.study.database import refuse_damage, translate_db_errors
from nas.study.history import History
from nas.study.objectives import check_objectives
from nas.study.storage_url import is_url, shown
from nas.study.tables import (
    StudyRow,
    check_decisions,
    insert_study,
    insert_trial,
    options_of,
    read_study,
    read_trials,
)
from nas.study.trial import Trial

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["History", "Study"]


class Study(History):
    """A history that is recorded in a database; made by `Study.create` and `Study.open`.

    `where` is the path of an SQLite file or the URL of a PostgreSQL database. Use it as a context
    manager, or `close` it.
    """

    def __init__(self, where: str | Path, engine: Engine, row: StudyRow) -> None:
        super().__init__(row.objectives)
        self._where, self._engine, self._row = where, engine, row
        # A study that nobody closed, such as that of a run in a notebook, is closed when it is dropped.
        weakref.finalize(self, engine.dispose)
        self._options = options_of(row.domains)
        self._last = 0  # the key of the last trial that was read or written
        self._ends: dict[int, datetime] = {}
        self.meta = row.meta

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
        """Make a new, empty study.

        objectives: what is minimised, of `nas.study.objectives`; domains: the options of each
        decision of the space; meta: any JSON; name: of the study, by default that of the folder.
        NasError if it exists already, StorageError if it cannot be written.
        """
        default = "nas" if is_url(where) else Path(where).resolve().parent.name or "nas"
        row = StudyRow(name or default, check_objectives(objectives), domains, dict(meta or {}))
        if is_url(where):
            _create_on_server(str(where), row)
        else:
            _create_file(Path(where), row)
        return cls.open(where, name=row.name)

    @classmethod
    def open(cls, where: str | Path, *, name: str | None = None) -> Self:
        """Open the study in a database; `name` says which one, where there are several.

        NotFoundError if there is none, StorageError if the database is damaged or cannot be read.
        """
        from sqlalchemy.exc import OperationalError

        if is_url(where):
            with translate_db_errors(where):
                return cls._open(where, database.open_engine(where), name)
        database.require_file(Path(where))
        with translate_db_errors(where):
            try:
                opened = database.open_engine(where)
                return database.wait_for_lock(where, partial(cls._open, where, opened, name))
            except OperationalError as error:
                if not database.is_read_only(error):
                    raise
            return cls._open(where, database.open_read_only(Path(where)), name)

    @classmethod
    def _open(cls, where: str | Path, engine: Engine, name: str | None) -> Self:
        study = None
        try:
            with engine.connect() as connection:
                study = cls._read(where, engine, connection, name)
            return study
        finally:
            if study is None or not is_url(where):  # a file is opened again only to write
                engine.dispose()

    @classmethod
    def _read(cls, where: str | Path, engine: Engine, connection: Connection, name: str | None) -> Self:
        if not is_url(where):
            database.check_file(connection, Path(where))
        elif not database.has_tables(connection, shown(where)):
            raise NotFoundError("holds no study", where=shown(where))
        with refuse_damage(where):
            study = cls(where, engine, read_study(connection, name, shown(where)))
        study._learn(connection)
        return study

    @property
    def name(self) -> str:
        return self._row.name

    @property
    def domains(self) -> Mapping[str, Sequence[Any]]:
        """The options of each decision of the space, by path."""
        return self._row.domains

    def resolve_precision(self, precision: str) -> str:
        """Return the precision of all trainings, given the one that suits this driver's first worker."""
        return precision

    def connect(self) -> None:
        """Connect before the first record, where there is time for it; StorageError if that fails."""
        with translate_db_errors(self._where):
            self._engine.connect().close()

    def record(self, trial: Trial) -> None:
        """Append a finished trial in one transaction; returns when it is on disk.

        StorageError, and nothing recorded, if it cannot be written. NasError if its number is taken or
        a decision is none of the study's space.
        """
        self._check_number(trial)
        with translate_db_errors(self._where):
            key, finished = database.wait_for_lock(self._where, partial(self._write, trial))
        self._note(key, finished, trial)

    def refresh(self) -> None:
        """Read the trials that another process has recorded since. StorageError if they cannot be read."""
        with translate_db_errors(self._where), self._engine.connect() as connection:
            self._learn(connection)

    def ends(self) -> dict[int, datetime]:
        """Return the time at which each trial's result arrived (UTC), by trial number."""
        return dict(self._ends)

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, trial: Trial) -> tuple[int, datetime]:
        with self._engine.begin() as connection:
            key, finished = self._insert(connection, trial)
            self._learn(connection, before=key)  # `_last` will pass what another process has recorded
            return key, finished

    def _insert(self, connection: Connection, trial: Trial) -> tuple[int, datetime]:
        check_decisions(trial.decisions, self._options)
        finished = datetime.now(UTC)
        return insert_trial(connection, self._row, trial, finished), finished

    def _note(self, key: int, finished: datetime, trial: Trial) -> None:
        self._append(trial)
        self._last, self._ends[trial.number] = key, finished

    def _learn(self, connection: Connection, before: int | None = None) -> None:
        """Read the trials recorded since, up to the key `before`."""
        with refuse_damage(self._where):
            for key, finished, trial in read_trials(connection, self._row, self._last):
                if key == before:
                    break
                self._note(key, finished, trial)


def _create_file(path: Path, row: StudyRow) -> None:
    if path.exists():
        raise NasError("exists already", where=str(path), hint="use --resume to continue it")
    draft = path.with_name(f"{path.name}.new")  # renamed when complete: a kill leaves no partial study
    with translate_db_errors(path):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{draft}{suffix}").unlink(missing_ok=True)
        engine = database.create_file(draft)
        with engine.begin() as connection:
            insert_study(connection, row)
        with engine.connect() as connection:  # closing does so too, but keeps to itself that it failed
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.dispose()
        replace_durably(draft, path)


def _create_on_server(url: str, row: StudyRow) -> None:
    from sqlalchemy.exc import IntegrityError

    with translate_db_errors(url):
        engine = database.open_engine(url)
        try:
            with engine.begin() as connection:
                database.create_tables(connection, shown(url))
                insert_study(connection, row)
        except IntegrityError:
            hint = "choose another --name, or join it with --resume"
            raise NasError(f"study {row.name!r} exists already", where=shown(url), hint=hint) from None
        finally:
            engine.dispose()
