"""The rows of a trial in the tables of an Optuna study.

They are written here: `optuna.Study.add_trial` asks the database twice for each parameter and
attribute, which takes thirty times as long.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, cast

from nas.errors import NasError
from nas.modules.base import UnknownTypeError
from nas.trial import ATTRIBUTES, Trial, from_attributes, to_attributes

if TYPE_CHECKING:
    from sqlalchemy import Connection

METRIC_NAMES = "study:metric_names"
"""Where Optuna keeps the names of the objectives."""

CHECKSUM = "checksum"
BLOCK = 10_000
"""Rows that are fetched at once."""
Ask = Callable[[str], Iterable[Any]]
"""The rows that answer a query in SQL."""

STATES = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
"""Our states in Optuna's words."""


@dataclass(frozen=True)
class Domain:
    """The options of a decision."""

    options: Sequence[Any]

    @cached_property
    def distribution(self) -> str:
        """Optuna's words for a choice among them: each trial needs those of all its decisions."""
        from optuna.distributions import CategoricalDistribution, distribution_to_json

        return str(distribution_to_json(CategoricalDistribution(self.options)))


def write_study(
    connection: Connection, name: str, objectives: Sequence[str], attributes: Mapping[str, Any]
) -> None:
    """Insert an empty study in the transaction of `connection`, so that nobody sees half of one."""
    from optuna.storages._rdb import models
    from optuna.study import StudyDirection
    from sqlalchemy import insert

    def rows(model: Any, *several: Mapping[str, Any]) -> Any:
        return connection.execute(insert(model.__table__), list(several))

    study = connection.execute(insert(models.StudyModel.__table__), {"study_name": name})
    (key,) = cast("tuple[int]", study.inserted_primary_key)
    every = {"study_id": key}
    minimize = [{"objective": at, "direction": StudyDirection.MINIMIZE} for at in range(len(objectives))]
    rows(models.StudyDirectionModel, *(every | row for row in minimize))
    names = {"key": METRIC_NAMES, "value_json": json.dumps(list(objectives))}
    rows(models.StudySystemAttributeModel, every | names)
    texts = [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]
    rows(models.StudyUserAttributeModel, *(every | row for row in texts))


def write_trial(
    connection: Connection,
    study_id: int,
    objectives: Sequence[str],
    domains: Mapping[str, Domain],
    trial: Trial,
) -> int:
    """Insert a trial in the transaction of `connection`; returns its key, which grows with every trial."""
    from optuna.storages._rdb import models
    from optuna.trial import TrialState

    params = {path: _index(domains, path, value) for path, value in trial.decisions.items()}
    texts = {key: json.dumps(value) for key, value in to_attributes(trial).items()}
    texts[CHECKSUM] = json.dumps(checksum(texts, params))
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
    primary = connection.execute(_insert(models.TrialModel), row).inserted_primary_key
    (key,) = cast("tuple[int]", primary)
    rows: dict[Any, list[dict[str, Any]]] = {
        models.TrialValueModel: [{"objective": i, "value": v, "value_type": finite} for i, v in values],
        models.TrialParamModel: [
            {
                "param_name": path,
                "param_value": float(index),
                "distribution_json": domains[path].distribution,
            }
            for path, index in params.items()
        ],
        models.TrialUserAttributeModel: [{"key": k, "value_json": text} for k, text in texts.items()],
    }
    for model, several in rows.items():
        if several:
            connection.execute(_insert(model), [{"trial_id": key, **one} for one in several])
    return key


@cache
def _insert(model: Any) -> Any:
    """The statement, made once, as SQLAlchemy then finds at once what it has compiled for it."""
    from sqlalchemy import insert

    return insert(model.__table__)


def asking(connection: Connection) -> Ask:
    """Rows by SQLAlchemy, many at a time: to fetch each takes three times as long."""

    def ask(statement: str) -> Iterator[Any]:
        for block in connection.exec_driver_sql(statement).partitions(BLOCK):
            yield from block

    return ask


def read_study(ask: Ask, study_id: int, held: str) -> tuple[Any, Any]:
    """The attribute `held` of a study, and its objectives. LookupError where they are missing."""
    found = []
    for table, key in (("study_user_attributes", held), ("study_system_attributes", METRIC_NAMES)):
        rows = ask(f"SELECT value_json FROM {table} WHERE study_id = {study_id:d} AND key = '{key}'")
        found += [json.loads(text) for (text,) in rows]
    if len(found) != 2:
        raise LookupError("it says nothing of its objectives and decisions")
    return found[0], found[1]


def read_trials(
    ask: Ask, study_id: int, domains: Mapping[str, Domain], after: int = 0
) -> Iterator[tuple[int, Trial]]:
    """The trials of a study with keys greater than `after`, and their keys, in the order of recording."""
    keys = f"SELECT trial_id FROM trials WHERE study_id = {study_id:d} AND trial_id > {after:d}"
    texts: dict[int, dict[str, str]] = {key: {} for (key,) in ask(f"{keys} ORDER BY trial_id")}
    if not texts:
        return
    chosen: dict[int, dict[str, int]] = {key: {} for key in texts}
    for key, name, text in ask(
        f"SELECT trial_id, key, value_json FROM trial_user_attributes WHERE trial_id IN ({keys})"
    ):
        texts[key][name] = text
    for key, path, index in ask(
        f"SELECT trial_id, param_name, param_value FROM trial_params WHERE trial_id IN ({keys}) "
        "ORDER BY param_id"
    ):
        chosen[key][path] = int(index)
    for key, held in texts.items():
        yield key, _read_trial(key, held, chosen[key], domains)


def _read_trial(
    key: int, texts: Mapping[str, str], params: Mapping[str, int], domains: Mapping[str, Domain]
) -> Trial:
    try:
        if json.loads(texts[CHECKSUM]) != checksum(texts, params):
            raise ValueError("its checksum does not fit")
        attributes = {name: json.loads(text) for name, text in texts.items() if name in ATTRIBUTES}
        decisions = {path: domains[path].options[index] for path, index in params.items()}
        return from_attributes(attributes, decisions)
    except UnknownTypeError:
        raise
    except (LookupError, TypeError, ValueError, NasError) as error:
        raise ValueError(f"the row of trial_id {key} cannot be read: {error}") from error


def checksum(texts: Mapping[str, str], params: Mapping[str, int]) -> str:
    """Over what makes the trial; attributes that other tools add do not matter."""
    held = [[name, texts[name]] for name in ATTRIBUTES if name in texts]
    return hashlib.blake2b(json.dumps([held, sorted(params.items())]).encode(), digest_size=8).hexdigest()


def _index(domains: Mapping[str, Domain], path: str, value: Any) -> int:
    for index, option in enumerate(domains[path].options if path in domains else ()):
        if option == value and type(option) is type(value):
            return index
    raise NasError(f"{value!r} is not an option of the study's space", where=path)
