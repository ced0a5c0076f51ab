"""Rungs of successive halving: what they cost, and the results of trials that came to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from nas.errors import NasError
from nas.study.trial import Trial


def check_rungs(rungs: Sequence[int]) -> tuple[int, ...]:
    """Return the rungs as a tuple; NasError unless they are two or more ascending numbers of epochs."""
    checked = tuple(rungs)
    if len(checked) < 2 or checked[0] < 1 or any(b <= a for a, b in pairwise(checked)):
        given = ",".join(map(str, checked)) or "nothing"
        message = f"must be two or more ascending numbers of epochs, not {given}"
        raise NasError(message, where="fidelity", hint="the last is the full budget, as in 1,3,9")
    return checked


def expected_epochs(rungs: Sequence[int]) -> float:
    """Return the mean epochs of a trial where each rung promotes its share and no more."""
    epochs = np.array(rungs)
    return float((np.diff(epochs, prepend=0) * epochs[0] / epochs).sum())


def rung_results(trials: Iterable[Trial], rungs: Sequence[int]) -> list[Trial]:
    """Return each trial as it stood at each rung it came to, in the order in which they came there."""
    results = [
        (place, replace(trial.after(epochs), rung_order=trial.rung_order[: rung + 1]))
        for trial in trials
        for rung, (place, epochs) in enumerate(zip(trial.rung_order, rungs, strict=False))
        if epochs <= len(trial.curve)
    ]
    return [trial for _, trial in sorted(results, key=lambda result: result[0])]
