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
from nas.study import older_rows
from nas.study.trial import Trial, from_attributes, to_attributes

if TYPE_CHECKING:
    from sqlalchemy import Connection

STUDY = "nas"
"""User attribute of the Optuna study with the meta data and the domains."""
METRIC_NAMES = "study:metric_names"
"""Where Optuna keeps the names of the objectives."""

TRIAL, GENOTYPE, CHECKSUM = "trial", "genotype", "checksum"
"""The attributes of a trial: all that it is but its network, in one text (of its decisions, the place of
each among the domains, and the place of what was chosen among its options); the network, which another text
could hold only with a backslash before every quote; and the checksum of both. Parameters and values
stand in the tables of Optuna for Optuna's own tools."""
BLOCK = 10_000
"""Rows that are fetched at once."""
Ask = Callable[[str], Iterable[Any]]
"""The rows that answer a query in SQL."""

STATES = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
"""Our states in Optuna's words."""


@dataclass(frozen=True)
class Domain:
    """The options of a decision, and its place among all."""

    options: Sequence[Any]
    place: int

    @cached_property
    def distribution(self) -> str:
        """Optuna's words for a choice among them: each trial needs those of all its decisions."""
        from optuna.distributions import CategoricalDistribution, distribution_to_json

        return str(distribution_to_json(CategoricalDistribution(self.options)))


def write_study(
    connection: Connection, name: str, objectives: Sequence[str], held: Mapping[str, Any]
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
    text = json.dumps(held)
    texts = {STUDY: text, CHECKSUM: json.dumps(_hash(text))}
    rows(models.StudyUserAttributeModel, *(every | {"key": k, "value_json": t} for k, t in texts.items()))


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
    places = [domains[path].place for path in params]
    held = to_attributes(trial) | {"decisions": [places, [*params.values()]]}
    texts = {GENOTYPE: held.pop("genotype"), TRIAL: json.dumps(held)}
    texts[CHECKSUM] = json.dumps(checksum(texts))
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


def read_study(ask: Ask, study_id: int) -> tuple[Any, Any]:
    """What `write_study` was given to hold, and the objectives. LookupError or ValueError where it is not
    what was written."""
    texts: dict[str, str] = {}
    for table in ("study_user_attributes", "study_system_attributes"):
        texts |= dict(ask(f"SELECT key, value_json FROM {table} WHERE study_id = {study_id:d}"))
    if STUDY not in texts or METRIC_NAMES not in texts:
        raise LookupError("it says nothing of its objectives and decisions")
    if CHECKSUM in texts and texts[CHECKSUM] != json.dumps(_hash(texts[STUDY])):  # layouts 1 and 2 have none
        raise ValueError("the checksum of its settings does not fit")
    return json.loads(texts[STUDY]), json.loads(texts[METRIC_NAMES])


def read_trials(
    ask: Ask, study_id: int, domains: Mapping[str, Domain], after: int = 0
) -> Iterator[tuple[int, Trial]]:
    """The trials of a study with keys greater than `after`, and their keys, in the order of recording."""
    keys = f"SELECT trial_id FROM trials WHERE study_id = {study_id:d} AND trial_id > {after:d}"
    texts: dict[int, dict[str, str]] = {key: {} for (key,) in ask(f"{keys} ORDER BY trial_id")}
    for key, name, text in ask(
        f"SELECT trial_id, key, value_json FROM trial_user_attributes WHERE trial_id IN ({keys})"
    ):
        texts[key][name] = text
    choices = [(path, domain.options) for path, domain in domains.items()]
    older = any(TRIAL not in held for held in texts.values())
    params = older_rows.read_params(ask, keys) if older else {}
    for key, held in texts.items():
        yield key, _read_trial(key, held, params, domains, choices)


def _read_trial(
    key: int,
    texts: Mapping[str, str],
    params: Mapping[int, Mapping[str, int]],
    domains: Mapping[str, Domain],
    choices: Sequence[tuple[str, Sequence[Any]]],
) -> Trial:
    try:
        if TRIAL in texts:
            attributes = read_attributes(texts)
            taken = [(choices[at], index) for at, index in zip(*attributes["decisions"], strict=True)]
            decisions = {path: options[index] for (path, options), index in taken}
        else:
            chosen = params.get(key, {})
            attributes = older_rows.read_attributes(texts, chosen)
            decisions = {path: domains[path].options[index] for path, index in chosen.items()}
        return from_attributes(attributes, decisions)
    except UnknownTypeError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, NasError) as error:
        raise ValueError(f"the row of trial_id {key} cannot be read: {error}") from error


def read_attributes(texts: Mapping[str, str]) -> dict[str, Any]:
    """All that makes a trial. LookupError or ValueError where it is not what was written."""
    if texts[CHECKSUM] != json.dumps(checksum(texts)):
        raise ValueError("its checksum does not fit")
    return {**json.loads(texts[TRIAL]), GENOTYPE: texts[GENOTYPE]}


def checksum(texts: Mapping[str, str]) -> str:
    """Over what makes the trial; attributes that other tools add do not matter."""
    return _hash(texts[TRIAL] + texts[GENOTYPE])


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _index(domains: Mapping[str, Domain], path: str, value: Any) -> int:
    for index, option in enumerate(domains[path].options if path in domains else ()):
        if option == value and type(option) is type(value):
            return index
    raise NasError(f"{value!r} is not an option of the study's space", where=path)
