"""A study in PostgreSQL that several drivers fill at once, each through an object of its own.

One driver at a time has its turn: it locks the row of the study, reads what the others have
recorded, and then claims the number of a trial or records one. So all drivers see the trials in one
order, and the proposals of one are known to the next.

A claim is a row in a table of its own, with the number of its driver. It counts for as long as that
driver's connection holds an advisory lock of the server on this number. The server ends the lock with the
connection, however the driver ends, and the driver with the next turn deletes the claims that are left.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import StorageError
from nas.study.database import TABLE_LOCK, translate_db_errors
from nas.study.storage_url import shown
from nas.study.study import Study
from nas.study.tables import StudyRow
from nas.study.trial import Trial

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from nas.space.genotype import Genotype

CLAIMS_TABLE = """
CREATE TABLE IF NOT EXISTS claims (
    study_id BIGINT NOT NULL REFERENCES studies ON DELETE CASCADE,
    number BIGINT NOT NULL,
    digest TEXT NOT NULL,
    driver BIGINT NOT NULL,
    PRIMARY KEY (study_id, number)
)
"""
PRECISIONS_TABLE = """
CREATE TABLE IF NOT EXISTS precisions (
    study_id BIGINT PRIMARY KEY REFERENCES studies ON DELETE CASCADE,
    precision TEXT NOT NULL
)
"""
"""The precision in which all drivers train."""

KEEP_ALIVE = (
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
"""The server probes a silent driver, so a driver whose machine is lost loses its claims within a minute."""

TAKE_TURN = "SELECT 1 FROM studies WHERE study_id = :study FOR UPDATE"
DELETE_DEAD = """
DELETE FROM claims WHERE study_id = :study AND driver <> :driver AND pg_try_advisory_xact_lock(driver)
"""
CLAIMS = "SELECT number, digest FROM claims WHERE study_id = :study"
CLAIM = "INSERT INTO claims VALUES (:study, :number, :digest, :driver)"
DELETE = "DELETE FROM claims WHERE study_id = :study AND number = :number AND driver = :driver"
RECORD_PRECISION = "INSERT INTO precisions VALUES (:study, :precision) ON CONFLICT DO NOTHING"
RECORDED_PRECISION = "SELECT precision FROM precisions WHERE study_id = :study"


class SharedStudy(Study):
    """The study of one driver among several; to read such a study, use `Study`.

    `pending` holds the trials of all drivers; `reserve_number` and `record` wait for other drivers.
    """

    def __init__(self, where: str | Path, engine: Engine, row: StudyRow) -> None:
        super().__init__(where, engine, row)
        self._driver = secrets.randbits(62)
        self._connection = engine.connect()
        with ExitStack() as stack:
            stack.callback(self._connection.close)
            with self._transaction():
                self._ask("SELECT pg_advisory_xact_lock(:key)", key=TABLE_LOCK)
                for statement in (CLAIMS_TABLE, PRECISIONS_TABLE, *KEEP_ALIVE):
                    self._ask(statement)
                self._ask("SELECT pg_advisory_lock(:driver)")
            stack.pop_all()

    @contextmanager
    def reserve_number(self, below: int) -> Iterator[int | None]:
        with self._transaction():
            self._take_turn()
            with super().reserve_number(below) as number:
                yield number

    def mark_running(self, number: int, digest: str, genotype: Genotype | None = None) -> None:
        """Claim a trial; only within `reserve_number`."""
        with translate_db_errors(self._where):
            self._ask(CLAIM, number=number, digest=digest)
        super().mark_running(number, digest, genotype)

    def discard(self, number: int) -> None:
        """Free a trial, if this driver has claimed it. A claim that cannot be freed now ends with the
        connection."""
        with suppress(StorageError), self._transaction():
            self._ask(DELETE, number=number)
        super().discard(number)

    def record(self, trial: Trial) -> None:
        """Record as `Study.record` does. StorageError where the claim of this driver has ended with its
        connection."""
        with self._transaction():
            self._take_turn()
            if not self._ask(DELETE, number=trial.number).rowcount:
                raise self._lost()
            with translate_db_errors(self._where):
                key, finished = self._insert(self._connection, trial)
        self._note(key, finished, trial)

    def resolve_precision(self, precision: str) -> str:
        """Record the precision if no driver has yet; return the recorded one."""
        with self._transaction(), translate_db_errors(self._where):
            self._ask(RECORD_PRECISION, precision=precision)
            return str(self._ask(RECORDED_PRECISION).scalar_one())

    def close(self) -> None:
        with suppress(StorageError), translate_db_errors(self._where):
            self._connection.close()
        super().close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run a transaction. Errors of the database become StorageErrors; other errors pass unchanged."""
        if self._connection.invalidated:
            raise self._lost()
        with translate_db_errors(self._where):
            transaction = self._connection.begin()
        try:
            yield
        except BaseException:
            with suppress(StorageError), translate_db_errors(self._where):
                transaction.rollback()
            raise
        with translate_db_errors(self._where):
            transaction.commit()

    def _lost(self) -> StorageError:
        message = "the connection was lost, and with it the claims on the trials in flight"
        return StorageError(message, where=shown(self._where), hint="continue with --resume")

    def _take_turn(self) -> None:
        with translate_db_errors(self._where):
            self._ask(TAKE_TURN)
            self._learn(self._connection)
            self._ask(DELETE_DEAD)
            self._pending = {row[0]: row[1] for row in self._ask(CLAIMS)}
            self._free = 0

    def _ask(self, statement: str, **values: Any) -> Any:
        from sqlalchemy import text

        known = {"study": self._row.key, "driver": self._driver} | values
        used = {name: value for name, value in known.items() if f":{name}" in statement}
        return self._connection.execute(text(statement), used)
