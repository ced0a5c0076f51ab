"""A study as one of Optuna, in memory and by its public functions alone, for its tools."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nas.study.study import Study
from nas.study.trial import Trial

if TYPE_CHECKING:
    import optuna

STATES = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
"""The states of a trial in Optuna's words."""


def to_optuna(study: Study, name: str) -> optuna.Study:
    """A complete `optuna.Study` in memory with the trials of a study, in the order of their numbers.

    Objectives are directions to minimise, decisions are categorical parameters, validation errors by epoch
    are intermediate values, and figures such as the digest and FLOPs are user attributes. Failed trials are
    FAIL, stopped ones PRUNED.
    """
    converted = empty_study(study, name)
    add_trials(converted, study, sorted(study.trials, key=lambda trial: trial.number))
    return converted


def empty_study(study: Study, name: str, storage: optuna.storages.BaseStorage | None = None) -> optuna.Study:
    """An `optuna.Study` with the objectives of a study and no trial, by default in memory."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        directions = [optuna.study.StudyDirection.MINIMIZE] * len(study.objectives)
        made = optuna.create_study(study_name=name, directions=directions, storage=storage)
    finally:
        optuna.logging.set_verbosity(level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made.set_metric_names(list(study.objectives))
    return made


def add_trials(converted: optuna.Study, study: Study, trials: Sequence[Trial]) -> None:
    """Add trials of a study to its `optuna.Study`."""
    import optuna

    domains = study.domains
    distributions = {path: optuna.distributions.CategoricalDistribution(domains[path]) for path in domains}
    ends = study.ends()
    for trial in trials:
        finished = ends[trial.number].astimezone().replace(tzinfo=None)
        made = optuna.trial.create_trial(
            state=optuna.trial.TrialState[STATES[trial.state]],
            values=list(trial.values(study.objectives)) if trial.complete else None,
            params=dict(trial.decisions),
            distributions={path: distributions[path] for path in trial.decisions},
            user_attrs=user_attributes(trial),
            intermediate_values=_errors_by_epoch(trial),
        )
        made.datetime_start = finished - timedelta(seconds=trial.duration)
        made.datetime_complete = finished
        converted.add_trial(made)


def user_attributes(trial: Trial) -> dict[str, Any]:
    """Figures of a trial; Optuna counts its own numbers, so ours is one of them."""
    figures = {
        "number": trial.number,
        "digest": trial.digest,
        "module_types": list(trial.module_types),
        "flops": trial.flops,
        "params": trial.params,
        "activations": trial.cost.activations,
        "peak_memory": trial.cost.peak_memory,
        "error": trial.error,
        "seed": trial.seed,
        "epochs": trial.epochs,
        "duration": trial.duration,
        "proposer": trial.proposal.proposer,
        "parent": trial.proposal.parent,
        "duplicate_of": trial.duplicate_of,
        "reason": trial.reason or None,
        "message": trial.message or None,
        "latency": None if trial.latency is None else trial.latency.seconds,
        **trial.measured,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _errors_by_epoch(trial: Trial) -> dict[int, float]:
    pairs = [(row.get("epoch"), row.get("val_error")) for row in trial.curve]
    return {e: float(error) for e, error in pairs if type(e) is int and isinstance(error, (int, float))}
