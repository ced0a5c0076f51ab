"""Networks trained again with further seeds: intervals, and the stability of places on the front.

The trainings are those that `nas.controller.reseed` records. All networks share their seeds, so seeds are
resampled for all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats, rank_correlation
from nas.study.objectives import objective
from nas.study.trial import Trial

LEVEL = 0.95
"""Level of intervals, and share of fronts below which a place on the front depends on the seed."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Member:
    """A network with its trainings at one budget. `errors` are those that completed, `failed`
    counts the others; `error` is their mean; `front_share` is the share of the fronts of
    resampled seeds that hold it, NaN where some member has fewer than two seeds."""

    trial: Trial
    errors: tuple[float, ...]
    failed: int
    error: Estimate
    front_share: float

    @property
    def depends(self) -> bool:
        """Return whether its place on the front depends on the seed."""
        return self.front_share < LEVEL


@dataclass(frozen=True)
class Repeated:
    """The members of a front, each trained with `seeds` seeds for `epochs` epochs."""

    epochs: int
    seeds: int
    members: tuple[Member, ...]


def repeated(
    members: Sequence[Trial], trainings: Sequence[Trial], objectives: Sequence[str], *, seed: int = 0
) -> list[Repeated]:
    """Return the trainings of `members` for each number of epochs that some member was trained for,
    ascending. Trainings of other networks are left out; `seed` is that of the resampling."""
    first = {trial.digest: trial for trial in reversed(members)}
    known = [trial for trial in trainings if trial.digest in first]
    budgets = sorted({trial.epochs for trial in known})
    chosen = list(first.values())[::-1]
    return [
        _repeated(chosen, [trial for trial in known if trial.epochs == epochs], objectives, seed)
        for epochs in budgets
    ]


def seed_interval(errors: Sequence[float], least: float = 0.0) -> Estimate:
    """Return the mean over seeds with its 95 % limits, by Student's t: seeds are few, and the noise between
    them near normal. Limits are NaN below two seeds, and no further out than `least` and 1."""
    if not errors:
        return UNKNOWN
    from scipy.special import stdtrit

    value, count = fmean(errors), len(errors)
    if count < 2:
        return Estimate(value, float("nan"), float("nan"))
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2) * np.std(errors, ddof=1) / np.sqrt(count))
    return Estimate(value, max(value - half, least), min(value + half, 1.0))


def seed_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Estimate:
    """Return the mean error of b less that of a, both by training seed, with 95 % limits.

    Seeds in common are paired where there are two or more of them, so that what a seed does to both
    cancels. Else seeds are independent (Welch); limits are NaN where either has one seed only.
    """
    shared = sorted(a.keys() & b.keys())
    if len(shared) > 1:
        return seed_interval([b[seed] - a[seed] for seed in shared], least=-1.0)
    if not a or not b:
        return UNKNOWN
    from scipy.special import stdtrit

    value = fmean(b.values()) - fmean(a.values())
    if len(a) < 2 or len(b) < 2:
        return Estimate(value, float("nan"), float("nan"))
    parts = [float(np.var(list(by_seed.values()), ddof=1)) / len(by_seed) for by_seed in (a, b)]
    if not sum(parts):
        return Estimate(value, value, value)
    freedom = sum(parts) ** 2 / sum(
        p**2 / (len(by_seed) - 1) for p, by_seed in zip(parts, (a, b), strict=True)
    )
    half = float(stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(sum(parts)))
    return Estimate(value, max(value - half, -1.0), min(value + half, 1.0))


def front_shares(values: Floats, rng: np.random.Generator) -> Floats:
    """Return the share of resamples in which each network is on the front (networks,).

    `values` (networks, seeds, objectives) are NaN where a training failed or measured no such objective.
    Seeds are drawn with replacement, and deviations widened by sqrt(k / (k - 1)) for k seeds, without which
    the spread of so few would be too small (Rao and Wu, 1988). A network without a training in a resample is
    not on its front. NaN where a network has fewer than two seeds.
    """
    known = np.isfinite(values).all(axis=2)
    count = known.sum(axis=1)
    if not len(values) or count.min() < 2:
        return np.full(len(values), np.nan)
    seeds = values.shape[1]
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)
    times = drawn @ known.T
    widened = np.sqrt(count / (count - 1)) / np.maximum(times, 1)
    moved = np.stack([_moved(column, known, drawn, widened) for column in np.moveaxis(values, 2, 0)], axis=2)
    moved[times == 0] = np.inf
    return np.array([_on_front(moved, member) for member in range(len(values))])


def _moved(values: Floats, known: Any, drawn: Any, widened: Floats) -> Floats:
    """Return the means (resamples, networks) of one objective, exactly its value where all seeds have one."""
    first = values[np.arange(len(values)), known.argmax(axis=1)][:, None]
    offsets = np.where(known, values - first, 0)
    mean = offsets.sum(axis=1) / known.sum(axis=1)
    deviations = np.where(known, offsets - mean[:, None], 0)
    found: Floats = first.T + mean + widened * (drawn @ deviations.T)
    return found


def _on_front(moved: Floats, member: int) -> float:
    """Share of resamples (resamples, networks, objectives) in which no other network dominates."""
    own = moved[:, [member]]
    dominates: Any = ~(moved > own).any(axis=2) & (moved < own).any(axis=2)
    free = ~dominates.any(axis=1) & np.isfinite(own[:, 0]).all(axis=1)
    return float(free.mean())


def budget_correlation(short: Sequence[float], long: Sequence[float], *, seed: int = 0) -> Estimate:
    """Spearman's rho between the errors of networks at two budgets, by bootstrap over networks."""
    x, y = np.asarray(short, float), np.asarray(long, float)
    known = np.isfinite(x) & np.isfinite(y)
    return Estimate(*rank_correlation(x[known], y[known], RESAMPLES, np.random.default_rng(seed)))


def _repeated(
    members: Sequence[Trial], trainings: Sequence[Trial], objectives: Sequence[str], seed: int
) -> Repeated:
    seeds = sorted({trial.seed for trial in trainings})
    row = {trial.digest: at for at, trial in enumerate(members)}
    errors, tried = np.full((len(members), len(seeds)), np.nan), np.zeros((len(members), len(seeds)), bool)
    values = np.full((*errors.shape, len(objectives)), np.nan)
    for trial in trainings:
        at = row[trial.digest], seeds.index(trial.seed)
        tried[at] = True
        if trial.error is not None:
            errors[at] = trial.error
            values[at] = [objective(name).read(trial) for name in objectives]  # None is NaN
    failed = (tried & ~np.isfinite(errors)).sum(axis=1)
    shares = front_shares(values, np.random.default_rng(seed))
    known_errors = [tuple(line[np.isfinite(line)].tolist()) for line in errors]
    rows = zip(members, known_errors, failed, shares, strict=True)
    return Repeated(
        trainings[0].epochs,
        len(seeds),
        tuple(Member(t, e, int(f), seed_interval(e), float(share)) for t, e, f, share in rows),
    )
