"""A study in PostgreSQL that several drivers fill at once, each through an object of its own.

One driver at a time has its turn: it holds the row of the study, learns what the others have
recorded, and then claims the number of a trial or records one. So all drivers see the trials in one
order, and what one proposes is known to the next.

A claim is a row in a table of ours, with the number of its driver. It counts for as long as that
driver's connection holds an advisory lock of the server on this number. The server ends the lock with the
connection, however the driver ends, and whoever has the next turn deletes what is left of it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from nas.errors import StorageError
from nas.study.optuna_tables import Ask, asking, write_trial
from nas.study.storage_url import shown
from nas.study.study import Study, guarded
from nas.study.trial import Trial

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from nas.space.genotype import Genotype

TABLE = """
CREATE TABLE IF NOT EXISTS nas_claims (
    study_id INTEGER NOT NULL REFERENCES studies ON DELETE CASCADE,
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,
    driver BIGINT NOT NULL,
    PRIMARY KEY (study_id, number)
)
"""
TABLE_LOCK = 0x6E6173
"""Two drivers may not make the table at the same time."""

ALIVE = ("SET tcp_keepalives_idle = 30", "SET tcp_keepalives_interval = 10", "SET tcp_keepalives_count = 3")
"""The server asks a silent driver whether it is there: one whose machine is lost loses its claims in a
minute."""

TAKE_TURN = "SELECT 1 FROM studies WHERE study_id = :study FOR UPDATE"
DELETE_DEAD = """
DELETE FROM nas_claims WHERE study_id = :study AND driver <> :driver AND pg_try_advisory_xact_lock(driver)
"""
CLAIMS = "SELECT number, digest FROM nas_claims WHERE study_id = :study"
CLAIM = "INSERT INTO nas_claims VALUES (:study, :number, :digest, :driver)"
PRECISION = "nas:precision"
"""User attribute of the Optuna study: in which precision all drivers train."""
RECORDED_PRECISION = "SELECT value_json FROM study_user_attributes WHERE study_id = :study AND key = :key"
RECORD_PRECISION = (
    "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (:study, :key, :value)"
)
DELETE = "DELETE FROM nas_claims WHERE study_id = :study AND number = :number AND driver = :driver"


class SharedStudy(Study):
    """For a driver of a search; to read such a study, `Study` does. `pending` is what all drivers
    evaluate; `turn` and `record` wait for those of other drivers."""

    def __init__(self, where: str, study_id: int, ask: Ask, storage: RDBStorage | None = None) -> None:
        super().__init__(where, study_id, ask, storage)
        self._driver = secrets.randbits(62)
        self._connection = self._storage.engine.connect()
        with ExitStack() as stack:
            stack.callback(self._connection.close)
            with self._transaction():
                self._ask("SELECT pg_advisory_xact_lock(:key)", key=TABLE_LOCK)
                for statement in (TABLE, *ALIVE):
                    self._ask(statement)
                self._ask("SELECT pg_advisory_lock(:driver)")
            stack.pop_all()

    @contextmanager
    def turn(self, below: int) -> Iterator[int | None]:
        with self._transaction():
            self._take_turn()
            with super().turn(below) as number:
                yield number

    def start(self, number: int, digest: str, genotype: Genotype | None = None) -> None:
        """Claim a trial; only in a `turn`."""
        with guarded(self._where):
            self._ask(CLAIM, number=number, digest=digest)
        super().start(number, digest, genotype)

    def give_up(self, number: int) -> None:
        """Free a trial, if this driver has claimed it. What cannot be freed now ends with the connection."""
        with suppress(StorageError), self._transaction():
            self._ask(DELETE, number=number)
        super().give_up(number)

    def record(self, trial: Trial) -> None:
        """As for any study. StorageError where this driver's claim has ended with its connection."""
        with self._transaction():
            self._take_turn()
            if not self._ask(DELETE, number=trial.number).rowcount:
                raise self._lost()
            with guarded(self._where):
                key = write_trial(self._connection, self._study_id, self.objectives, self._domains, trial)
        self._append(trial)
        self._last = key

    def resolve_precision(self, precision: str) -> str:
        """Record the precision if no driver has yet; return the recorded one."""
        with self._transaction():
            self._take_turn()
            with guarded(self._where):
                known = self._ask(RECORDED_PRECISION, key=PRECISION).scalar()
                if known is None:
                    self._ask(RECORD_PRECISION, key=PRECISION, value=json.dumps(precision))
        return precision if known is None else str(json.loads(known))

    def close(self) -> None:
        with suppress(StorageError), guarded(self._where):
            self._connection.close()
        super().close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Errors of the database are StorageErrors; what else is raised within passes as it is."""
        if self._connection.invalidated:
            raise self._lost()
        with guarded(self._where):
            transaction = self._connection.begin()
        try:
            yield
        except BaseException:
            with suppress(StorageError), guarded(self._where):
                transaction.rollback()
            raise
        with guarded(self._where):
            transaction.commit()

    def _lost(self) -> StorageError:
        message = "the connection was lost, and with it the claims on what was in flight"
        return StorageError(message, where=shown(self._where), hint="go on with --resume")

    def _take_turn(self) -> None:
        with guarded(self._where):
            self._ask(TAKE_TURN)
            self._learn(asking(self._connection))
            self._ask(DELETE_DEAD)
            self._pending = {row[0]: row[1] for row in self._ask(CLAIMS)}
            self._free = 0

    def _ask(self, statement: str, **values: Any) -> Any:
        from sqlalchemy import text

        known = {"study": self._study_id, "driver": self._driver} | values
        used = {name: value for name, value in known.items() if f":{name}" in statement}
        return self._connection.execute(text(statement), used)
