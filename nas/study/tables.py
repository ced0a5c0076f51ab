"""The tables of a study: one row per study, one row per trial.

Columns are what people ask for in SQL; `details` is one JSON object with the rest of a trial. A checksum
in each row covers its other columns. docs/reference/run_folder.md documents the schema.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, NotFoundError, StorageError, did_you_mean
from nas.study.trial import Trial
from nas.study.trial_json import check_plain, from_attributes, to_attributes

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCHEMA_VERSION = 1
BLOCK = 1000
"""Rows that are fetched at once."""

STUDY_COLUMNS = {
    "name": "TEXT NOT NULL UNIQUE",
    "schema_version": "BIGINT NOT NULL",
    "objectives": "TEXT NOT NULL",
    "domains": "TEXT NOT NULL",
    "meta": "TEXT NOT NULL",
    "checksum": "TEXT NOT NULL",
}
"""Objectives: JSON names; domains: JSON, the options of each decision; meta: JSON of the caller."""

TRIAL_COLUMNS = {
    "study_id": "BIGINT NOT NULL REFERENCES studies",
    "number": "BIGINT NOT NULL",
    "state": "TEXT NOT NULL",
    "reason": "TEXT NOT NULL",
    "error": "DOUBLE PRECISION",
    "flops": "BIGINT NOT NULL",
    "params": "BIGINT NOT NULL",
    "activations": "BIGINT NOT NULL",
    "peak_memory": "BIGINT NOT NULL",
    "digest": "TEXT NOT NULL",
    "module_types": "TEXT NOT NULL",
    "proposer": "TEXT NOT NULL",
    "parent": "BIGINT",
    "duplicate_of": "BIGINT",
    "seed": "BIGINT NOT NULL",
    "epochs": "BIGINT NOT NULL",
    "duration": "DOUBLE PRECISION NOT NULL",
    "started": "TEXT NOT NULL",
    "finished": "TEXT NOT NULL",
    "genotype": "TEXT NOT NULL",
    "curve": "TEXT NOT NULL",
    "details": "TEXT NOT NULL",
    "checksum": "TEXT NOT NULL",
}

TABLES = {"studies": STUDY_COLUMNS, "trials": TRIAL_COLUMNS}
KEY_OF = {"studies": "study_id", "trials": "trial_id"}
"""The column that numbers the rows of a table in the order in which they were written."""
KEY_TYPES = {
    "sqlite": "INTEGER PRIMARY KEY",
    "postgresql": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}
CONSTRAINTS = {"studies": (), "trials": ("UNIQUE (study_id, number)",)}

CHECKED = tuple(name for name in TRIAL_COLUMNS if name != "checksum")
"""Columns that the checksum covers, in its order."""
OTHERS = ("study_id", "started", "finished", "details")
ATTRIBUTES = tuple(name for name in CHECKED if name not in OTHERS)
"""Columns that are attributes of a trial (`nas.study.trial_json`) as they are."""

Options = Mapping[str, Mapping[tuple[type, Any], Any]]


@dataclass(frozen=True)
class StudyRow:
    """A study as it is created: its name, the names of its objectives, the options of each decision of the
    space, and any JSON. `key` is 0 until it is read from a database."""

    name: str
    objectives: tuple[str, ...]
    domains: Mapping[str, Sequence[Any]]
    meta: dict[str, Any]
    key: int = 0


def create_statement(table: str, dialect: str) -> str:
    """Return the SQL that makes a table; an SQLite file keeps it word for word."""
    columns = {KEY_OF[table]: KEY_TYPES[dialect], **TABLES[table]}
    lines = [*(f"{name} {kind}" for name, kind in columns.items()), *CONSTRAINTS[table]]
    return f"CREATE TABLE {table} (\n    {{body}}\n)".format(body=",\n    ".join(lines))


def insert_study(connection: Connection, study: StudyRow) -> None:
    """Insert an empty study in the transaction of `connection`. NasError for values that could not be read
    back."""
    try:
        check_plain([study.objectives, study.domains, study.meta])
    except ValueError as error:
        raise NasError(f"cannot be recorded: {error}", where=f"study {study.name}") from error
    texts = [json.dumps(study.objectives), json.dumps(dict(study.domains)), json.dumps(study.meta)]
    values = [study.name, SCHEMA_VERSION, *texts]
    row = dict(zip(STUDY_COLUMNS, [*values, checksum(values)], strict=True))
    connection.execute(_insert("studies"), row)


def read_study(connection: Connection, name: str | None, where: str) -> StudyRow:
    """Return the study of this name, or the only one. NotFoundError if there is none, LookupError, TypeError
    or ValueError if its row is damaged."""
    rows = connection.exec_driver_sql(f"SELECT study_id, {', '.join(STUDY_COLUMNS)} FROM studies").fetchall()
    names = [row[1] for row in rows]
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        message = f"no study {name!r}" if name else "holds several studies or none"
        raise NotFoundError(message, where=where, hint=did_you_mean(name or "", map(str, names)))
    key, *values, stored = rows[names.index(name)]
    if stored != checksum(values):
        raise ValueError(f"the checksum of the study {name!r} does not fit")
    _, version, objectives, domains, meta = values
    if version != SCHEMA_VERSION:
        message = f"has schema version {version}, and this program reads version {SCHEMA_VERSION}"
        raise StorageError(message, where=where, hint="another version of nas wrote it; install that")
    held = check_plain([json.loads(text) for text in (objectives, domains, meta)])
    return StudyRow(str(name), tuple(held[0]), held[1], held[2], key)


def insert_trial(connection: Connection, study: StudyRow, trial: Trial, finished: datetime) -> int:
    """Insert a trial in the transaction of `connection`; returns its key, which grows with every trial.

    `finished` is the time its result came. NasError if a value is out of the bounds of the record.
    """
    try:
        values = _values(study.key, trial, finished)
    except (ValueError, OverflowError) as error:
        raise NasError(f"cannot be recorded: {error}", where=f"trial {trial.number}") from error
    row = dict(zip(TRIAL_COLUMNS, [*values, checksum(values)], strict=True))
    return int(connection.execute(_insert("trials"), row).scalar_one())


def _values(key: int, trial: Trial, finished: datetime) -> list[Any]:
    """Return the values of all columns except the checksum."""
    attributes = to_attributes(trial)
    started = finished - timedelta(seconds=trial.duration)
    values = {name: attributes.pop(name) for name in ATTRIBUTES}
    values["details"] = json.dumps(attributes)
    values |= {"study_id": key, "started": _utc(started), "finished": _utc(finished)}
    return [values[name] for name in CHECKED]


def read_trials(
    connection: Connection, study: StudyRow, after: int = 0
) -> Iterator[tuple[int, datetime, Trial]]:
    """Yield the trials of a study with keys greater than `after`, in the order of recording, each with its
    key and the time of its result. ValueError names the row that is damaged."""
    columns = ", ".join(TRIAL_COLUMNS)
    query = f"SELECT trial_id, {columns} FROM trials WHERE study_id = {study.key:d} AND trial_id > {after:d}"
    options = options_of(study.domains)
    for block in connection.exec_driver_sql(f"{query} ORDER BY trial_id").partitions(BLOCK):
        for key, *values, stored in block:
            try:
                if stored != checksum(values):
                    raise ValueError("its checksum does not fit")
                row = dict(zip(CHECKED, values, strict=True))
                yield key, datetime.fromisoformat(row["finished"]).replace(tzinfo=UTC), _read(row, options)
            except (AttributeError, LookupError, TypeError, ValueError, RecursionError, NasError) as error:
                raise ValueError(f"the row of trial_id {key} cannot be read: {error}") from error


def _read(row: Mapping[str, Any], options: Options) -> Trial:
    attributes = {name: row[name] for name in ATTRIBUTES}
    trial = from_attributes(json.loads(row["details"]) | attributes)
    check_decisions(trial.decisions, options)
    return trial


def options_of(domains: Mapping[str, Sequence[Any]]) -> Options:
    """Return the options of each decision, to look up with their type: 1 is not True."""
    return {path: {(type(option), option): option for option in options} for path, options in domains.items()}


def check_decisions(decisions: Mapping[str, Any], options: Options) -> None:
    """Raise NasError, naming the decision, if a choice is not an option of the study's space."""
    for path, value in decisions.items():
        if path not in options or (type(value), value) not in options[path]:
            raise NasError(f"{value!r} is not an option of the study's space", where=path)


@cache
def _insert(table: str) -> Any:
    """Return the statement, made once so that SQLAlchemy reuses its compiled form."""
    from sqlalchemy import text

    values = ", ".join(f":{name}" for name in TABLES[table])
    columns = ", ".join(TABLES[table])
    return text(f"INSERT INTO {table} ({columns}) VALUES ({values}) RETURNING {KEY_OF[table]}")


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def checksum(values: Sequence[Any]) -> str:
    """Return 16 hex digits of BLAKE2b over the values as one JSON array."""
    return hashlib.blake2b(json.dumps(list(values)).encode(), digest_size=8).hexdigest()
