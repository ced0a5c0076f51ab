"""Opening the database of a study: an SQLite file in the run folder, or a PostgreSQL server.

A file may be a stranger's. Nothing but our two tables is read, and only where their definitions are
ours to the letter: a view, a trigger, a virtual table, a generated column, a CHECK or an index on an
expression would run when it is read.
"""

from __future__ import annotations

import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nas.errors import NasError, NotFoundError, StorageError
from nas.files import require_plain
from nas.study.storage_url import connection_of, is_url, shown
from nas.study.tables import KEY_OF, TABLES, create_statement

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")

FILE_HINT = "free some space, or see that the place exists and can be written"
SERVER_HINT = "see that the server answers; a password is taken from your URL, PGPASSWORD or ~/.pgpass"
DAMAGE_HINT = "restore a copy, or save what can be read with: sqlite3 FILE .recover"

WAL_HINT = (
    "the latest trials are in its -wal file, which SQLite cannot read where nothing can be written; "
    "copy the folder to a place where you can write"
)

MAX_VALUE = 1 << 24
"""Longest row or value that is read, in bytes; a trial takes some thousands."""
MAX_FILE = 1 << 32
"""Largest database that is read, in bytes: all of it is checked, and a million trials take half of this."""

LOCK_LIMIT = 120.0
"""Seconds to wait for another program that has locked the file."""
LOCK_PATIENCE = 5.0
"""Seconds after which the wait is told, and who is waited for."""

TABLE_LOCK = 0x6E6173
"""Advisory lock of a server: two programs may not make the tables at the same time."""


def open_engine(where: str | Path) -> Engine:
    """Return an engine for the database at a path or the URL of a server; it connects when it is first used.

    NasError for a URL that is not one of a PostgreSQL database.
    """
    from sqlalchemy import URL, create_engine, event

    if is_url(where):
        url, arguments = connection_of(str(where))
        return create_engine(url, connect_args=arguments)
    url = URL.create("sqlite", database=str(Path(where).resolve()))
    engine = create_engine(url, connect_args={"timeout": LOCK_PATIENCE})
    event.listen(engine, "connect", _distrust)
    return engine


def open_read_only(path: Path) -> Engine:
    """Return an engine for a database where nothing can be written, not even the files by which SQLite keeps
    readers and writers apart. StorageError if there are trials that cannot be read so."""
    from sqlalchemy import URL, create_engine, event

    waiting = any(_size(Path(f"{path}{suffix}")) for suffix in ("-wal", "-journal"))
    if waiting and not _size(Path(f"{path}-shm")):
        raise StorageError("cannot be read in a read-only place", where=str(path), hint=WAL_HINT)
    mode = {"mode": "ro"} if waiting else {"immutable": "1"}
    url = URL.create("sqlite", database=path.resolve().as_uri(), query={**mode, "uri": "true"})
    engine = create_engine(url, connect_args={"timeout": LOCK_PATIENCE})
    event.listen(engine, "connect", _distrust)
    return engine


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def is_read_only(error: Exception) -> bool:
    """Return whether SQLite failed because it could not write where it only had to read."""
    return _code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _code(error: Exception) -> int:
    """Return SQLite's primary error code; 0 for an error of another origin."""
    return getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) & 0xFF


def wait_for_lock(where: str | Path, transaction: Callable[[], T]) -> T:
    """Return what a transaction returns. While another program has locked the file, it is tried again.

    StorageError, naming the program, after `LOCK_LIMIT` seconds.
    """
    from sqlalchemy.exc import OperationalError

    start, message = time.monotonic(), ""
    while True:
        try:
            return transaction()
        except OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise
            waited = time.monotonic() - start
            if waited > LOCK_LIMIT:
                hint = "end that program, or its transaction"
                message = f"was locked for {waited:.0f} s by {_holders(Path(where))}"
                raise StorageError(message, where=str(where), hint=hint) from error
        if not message:
            message = f"{where}: is locked by {_holders(Path(where))}; waiting up to {LOCK_LIMIT:.0f} s"
            warnings.warn(message, stacklevel=2)


def _holders(path: Path) -> str:
    """Return the other processes that have a file open, as far as Linux shows them."""
    processes = set()
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if entry.readlink() == path.resolve():
                processes.add(entry.parents[1])
    named = []
    for process in sorted(processes - {Path(f"/proc/{os.getpid()}")}):
        with suppress(OSError):
            named.append(f"process {process.name} ({(process / 'comm').read_text().strip()})")
    return ", ".join(named) or "another program"


def _distrust(connection: sqlite3.Connection, _: object) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # a build of SQLite may have another default


def create_file(path: Path) -> Engine:
    """Return an engine for a new, empty database with our tables. Its permissions, and with them those of the
    files that SQLite makes beside it, follow the umask."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    engine = open_engine(path)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    with engine.begin() as connection:
        for table in TABLES:
            connection.exec_driver_sql(create_statement(table, "sqlite"))
    return engine


def create_tables(connection: Connection, where: str) -> None:
    """Make our tables on a server that has none, in the transaction of `connection`."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TABLE_LOCK})")
    if not has_tables(connection, where):
        for table in TABLES:
            connection.exec_driver_sql(create_statement(table, "postgresql"))


def has_tables(connection: Connection, where: str) -> bool:
    """Return whether a server has our tables. StorageError if it has others of these names."""
    from sqlalchemy import inspect

    server = inspect(connection)
    if not any(server.has_table(table) for table in TABLES):
        return False
    for table, columns in TABLES.items():
        names = [column["name"] for column in server.get_columns(table)] if server.has_table(table) else []
        if names != [KEY_OF[table], *columns]:
            hint = "another program, or another version of nas, made it; name another database"
            raise StorageError(f"its table {table!r} is not of this program", where=where, hint=hint)
    return True


def check_file(connection: Connection, path: Path) -> None:
    """Raise StorageError if an SQLite file holds more or less than our tables, or is damaged. Damage includes
    rows that an index misses or that belong to no row, because a study would lose them silently."""
    _check_schema(connection, path)
    problems = [text for (text,) in connection.exec_driver_sql("PRAGMA integrity_check(3)") if text != "ok"]
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(3):
        problems.append(f"row {row} of {table} belongs to no row of {parent}")
    if problems:
        raise damaged(path, "; ".join(problems))


def _check_schema(connection: Connection, path: Path) -> None:
    rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    ours: set[tuple[Any, ...]] = {
        ("table", table, table, create_statement(table, "sqlite")) for table in TABLES
    }
    ours |= {("index", f"sqlite_autoindex_{table}_1", table, None) for table in TABLES}
    strange = [row for row in rows if tuple(row) not in ours]
    if strange:
        kind, name, *_ = strange[0]
        raise damaged(path, f"the {kind} {name!r} is not one that this program makes")
    if len(rows) != len(ours):
        raise damaged(path, "it lacks a table")


def require_file(path: Path) -> None:
    """Raise NotFoundError if there is no file at `path`, which SQLite would make, and StorageError if it or
    a file that SQLite reads beside it is no plain file."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        require_plain(Path(f"{path}{suffix}"))
    if not path.exists():
        raise NotFoundError("no such study", where=str(path))
    if path.stat().st_size > MAX_FILE:
        raise StorageError(f"is larger than {MAX_FILE:,} bytes", where=str(path), hint=DAMAGE_HINT)


def damaged(where: str | Path, cause: str) -> StorageError:
    return StorageError(f"the study is damaged: {cause}", where=shown(where), hint=DAMAGE_HINT)


@contextmanager
def refuse_damage(where: str | Path) -> Iterator[None]:
    """Turn the errors of reading a damaged row into a StorageError."""
    try:
        yield
    except (NotFoundError, StorageError):
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError, NasError) as error:
        raise damaged(where, str(error)) from error


@contextmanager
def translate_db_errors(where: str | Path) -> Iterator[None]:
    """Turn the errors of databases and disks into a StorageError with a hint."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (sqlite3.Error, SQLAlchemyError, OSError, UnicodeError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        broken = isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError)
        if broken or isinstance(cause, UnicodeError):
            raise damaged(where, str(cause)) from error
        hint = SERVER_HINT if is_url(where) else FILE_HINT
        message = f"cannot read or write the study: {cause}"
        raise StorageError(message, where=shown(where), hint=hint) from error
