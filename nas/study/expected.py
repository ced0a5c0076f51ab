"""Errors to expect of networks at the end of training, and the front that they make.

One training per network is partly luck, and the front of measured errors collects the lucky ones. A model of
the error (`nas.surrogate`) weighs each network's own trainings against those of its kin, by their noise. The
front, the knee and the best network are chosen by what it expects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nas import pareto
from nas.pareto import Floats
from nas.stats.estimate import Estimate
from nas.study.trial import Trial

if TYPE_CHECKING:
    from nas.study.history import History

MIN_TRAININGS = 10
"""Trainings from which on the model chooses. Below, measured errors do."""

SURE = 0.95
"""Probability from which on a place on the front is taken as certain."""

DRAWS = 1000
"""Draws of all errors from which memberships follow."""

HALF = 1.959964
"""Standard deviations from the mean to a 95 % limit."""


@dataclass(frozen=True)
class Expected:
    """Expected final errors of networks, (n,) each in the order of `digests`.

    mean, sd: of the error that many trainings would have on average. member: probability that the network is
    on the front, from independent normal errors. points: (n, d) expected error and the other objectives.
    trainings: how many the model is of.
    """

    digests: tuple[str, ...]
    mean: Floats
    sd: Floats
    member: Floats
    points: Floats
    trainings: int

    def __repr__(self) -> str:
        return f"<Expected errors of {len(self.digests)} networks, {len(self.front)} of them on the front>"

    @cached_property
    def place(self) -> Mapping[str, int]:
        """The row of each network by its digest."""
        return {digest: i for i, digest in enumerate(self.digests)}

    @cached_property
    def front(self) -> frozenset[str]:
        """Digests of the networks on the front of expected errors."""
        return frozenset(self.digests[i] for i in pareto.front(self.points))

    @property
    def uncertain(self) -> list[str]:
        """Digests of the networks of which a further training may decide whether they are on the front, the
        least certain first."""
        open_places = np.flatnonzero((self.member > 1 - SURE) & (self.member < SURE))
        return [self.digests[i] for i in open_places[np.argsort(np.abs(self.member[open_places] - 0.5))]]

    def of(self, digest: str) -> Estimate:
        """Return the expected error of a network with its 95 % interval."""
        i = self.place[digest]
        half = HALF * self.sd[i]
        return Estimate(float(self.mean[i]), max(0.0, self.mean[i] - half), min(1.0, self.mean[i] + half))

    def membership(self, digest: str) -> float:
        """Return the probability that a network is on the front."""
        return float(self.member[self.place[digest]])


def expected(
    study: History,
    objectives: Sequence[str],
    further: Sequence[Trial] = (),
    images: int | None = None,
) -> Expected | None:
    """Return what to expect of the networks of a study; None where measured errors choose: below
    `MIN_TRAININGS` trainings, or where the error is no objective.

    further: trainings with other seeds, of the same schedule. images: see `nas.surrogate.fit`.
    """
    networks = study.networks
    trainings = [trial for first in networks for trial in study.trainings(first)]
    trainings += [trial for trial in further if trial.complete]
    known = expected_errors(trainings, networks, images) if "error" in objectives else None
    if known is None:
        return None
    mean, sd = known
    others = [name for name in objectives if name != "error"]
    exact = [study.means(trial, others) if others else () for trial in networks]
    points = np.column_stack([mean, np.array(exact, float).reshape(len(networks), len(others))])
    digests, member = tuple(trial.digest for trial in networks), memberships(points, sd)
    return Expected(digests, mean, sd, member, points, len(trainings))


def expected_errors(
    trainings: Sequence[Trial],
    networks: Sequence[Trial] | None = None,
    images: int | None = None,
) -> tuple[Floats, Floats] | None:
    """Return mean and standard deviation (n,) of the final error of each of the networks, by default those of
    the trainings; None below `MIN_TRAININGS` complete trainings. images: see `nas.surrogate.fit`.
    """
    if len(trainings) < MIN_TRAININGS:
        return None
    from nas.surrogate import fit

    model = fit(trainings, images=images)
    return None if model is None else model.predict(trainings if networks is None else networks)


def memberships(points: Floats, sd: Floats, *, seed: int = 0) -> Floats:
    """Return the share of draws (n,) in which each point is on the front; the error is column 0 of `points`
    (n, d), with standard deviations `sd` (n,), and the rest is exact."""
    rng, counts = np.random.default_rng(seed), np.zeros(len(points))
    near = _candidates(points, sd)
    drawn = points[near].copy()
    for _ in range(DRAWS):
        drawn[:, 0] = points[near, 0] + sd[near] * rng.standard_normal(len(near))
        counts[near[pareto.front(drawn)]] += 1
    return counts / DRAWS


def _candidates(points: Floats, sd: Floats) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the indices of points that some likely draw has on the front: those whose error, four standard
    deviations lower, no point dominates whose error is four higher."""
    low, high = points.copy(), points.copy()
    low[:, 0] -= 4 * sd
    high[:, 0] += 4 * sd
    worst = high[pareto.front(high)]
    beaten = ((worst[:, None] <= low[None]).all(axis=2) & (worst[:, None] < low[None]).any(axis=2)).any(
        axis=0
    )
    return np.flatnonzero(~beaten)
