"""The rule of successive halving: which networks at a rung may be trained on.

Points are rows of objectives, the error in column 0 and costs that are known before a training after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from nas.errors import NasError
from nas.pareto import Bools, Floats, front
from nas.study.trial import Trial

BANDS = 5
"""Bands of FLOPs; fewer while a rung holds too few trials to promote one of each."""


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


def excess(points: Floats) -> Floats:
    """Return how far each error lies above the lowest error among the points that cost no more in any
    objective, (n,). It is 0 on the front; elsewhere it is what a point would have to gain to be on it."""
    best = points[front(points)]
    no_dearer = (best[None, :, 1:] <= points[:, None, 1:]).all(axis=2)
    return np.asarray(points[:, 0] - np.where(no_dearer, best[None, :, 0], np.inf).min(axis=1))


def best_share(points: Floats, flops: Floats, eta: float, gone: Bools) -> Bools:
    """Return whether each point is among the best 1 / eta of its band of FLOPs, (n,).

    Points are ranked by excess and then by error. Trials that went on before (`gone`) have taken places of
    their band, also where better ones have come since. Where the error is the only objective there is one
    band."""
    n = len(points)
    bands = max(1, min(BANDS, int(n / eta))) if points.shape[1] > 1 else 1
    band = np.argsort(np.argsort(flops, kind="stable"), kind="stable") * bands // n
    order = np.lexsort((points[:, 0], excess(points), band))
    sizes = np.bincount(band)
    places = np.floor(sizes / eta)
    rank = np.empty(n)
    rank[order] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    left = np.bincount(band, weights=gone) < places
    return np.asarray(~gone & left[band] & (rank < places[band]))


def near_front(points: Floats, images: int) -> Bools:
    """Return whether each point is on the front or within the standard error of its own error, which was
    measured on `images` images, (n,)."""
    error = points[:, 0]
    return np.asarray(excess(points) <= np.sqrt(error * (1 - error) / images))


def eligible(points: Floats, measured: Floats, flops: Floats, eta: float, gone: Bools, images: int) -> Bools:
    """Return whether each network at a rung may be trained on, (n,).

    points: with the errors expected at the end; measured: the errors at the rung; eta: the ratio of the next
    rung to this one; gone: which of them went on before; images: how many the errors were measured on.
    """
    leads = excess(np.column_stack([measured, points[:, 1:]])) <= 0
    return np.asarray(best_share(points, flops, eta, gone) | near_front(points, images) | leads)


def rung_results(trials: Iterable[Trial], rungs: Sequence[int]) -> list[Trial]:
    """Return each trial as it stood at each rung it came to, in the order in which they came there."""
    results = [
        (place, replace(trial.after(epochs), rung_order=trial.rung_order[: rung + 1]))
        for trial in trials
        for rung, (place, epochs) in enumerate(zip(trial.rung_order, rungs, strict=False))
        if epochs <= len(trial.curve)
    ]
    return [trial for _, trial in sorted(results, key=lambda result: result[0])]
