"""The default searcher: expected hypervolume improvement, with costs that are exact before training.

A Gaussian process (`nas.surrogate.gaussian_process`) predicts the error of a network. Its FLOPs, parameters
and memory are known before training, so the expected hypervolume gain is a sum over the steps of the front
(Emmerich et al. 2005). With the error as the only objective it is the expected improvement (Jones et al.
1998). Other measured objectives, such as latency, count as a process of their own predicts them.

The first trials are spread over FLOPs. After that the candidates are networks one decision away from the
front, and random ones (`nas.searchers.candidates`). What a proposal draws at random keeps the search from
one model's blind spots: the scale of the error in the model (`nas.surrogate.warps`), the error from which
hypervolumes are measured, and the scale of the costs. Trials in training count with the error predicted for
them, so parallel workers train different networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import NasError
from nas.pareto import Floats, front, reference_point
from nas.schedulers import Scheduler
from nas.searchers.base import Searcher, SearcherSettings, uniform_proposal
from nas.searchers.candidates import Candidates, CostedCandidate, costed
from nas.searchers.results import ERRORS, Results
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Proposal, Trial
from nas.surrogate.warps import MIN_ERROR, WARPS

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

INITIAL = 7
"""Trials spread over FLOPs before the model is asked."""

SPREAD = 32
"""Random networks of which each of the first trials is the nearest to a target of FLOPs."""

BEST = 5
"""Parents where there is only one objective."""

MAX_PARENTS = 30
"""Parents at most, spread evenly over the front."""

CORNERS = (0.5, 0.75, 0.9)
"""Quantiles of the errors from which hypervolumes are measured, one drawn per proposal."""

MEASURED_CORNERS = (*CORNERS, 1.0)
"""The same with a measured cost. Its ends are unknown at first, so gains also count above most errors."""

LOG_COSTS = 1 / 3
"""Share of the proposals for which gains are measured on the logarithmic scale of costs."""

MIN_COST = 1e-9
"""Costs are raised to this before their logarithm is taken."""

CELLS = 100
"""Boxes into which the front cuts the space of costs, about; a longer front is thinned for it."""

NODES = np.linspace(-3.5, 3.5, 15)
DENSITY = np.exp(-(NODES**2) / 2)
WEIGHTS = DENSITY / DENSITY.sum()
"""Standard normal deviates and their weights, for expectations."""


class Hypervolume(Searcher):
    """Proposes the candidate with the highest expected hypervolume gain.

    The first measured objective, usually the error, is uncertain. The others are exact, or predicted.
    """

    name = "hypervolume"
    reads_running = True

    def __init__(self, settings: SearcherSettings) -> None:
        super().__init__(settings)
        measured = [name for name in self.objectives if not objective(name).before_training]
        self._lead = measured[0] if measured else self.objectives[0]
        self._others = tuple(name for name in self.objectives if name != self._lead)
        self._corners = MEASURED_CORNERS if len(measured) > 1 else CORNERS
        self._candidates: Candidates | None = None
        self._results: Results | None = None

    def ask(
        self, space: SearchSpace, history: History, *, seed: int, number: int, scheduler: Scheduler
    ) -> list[Proposal]:
        rng = np.random.default_rng([seed, number])
        count, expected = scheduler.proposal_count(), scheduler.expected_history(history)
        if len(history.trials) + len(history.pending) < INITIAL or len(expected.networks) < 3:
            return [p for p in (self._spread(space, history, rng) for _ in range(count)) if p]
        if self._results is None or self._results.history is not expected:
            self._results = Results(expected, (self._lead, *self._others), space.domains())
        if self._candidates is None or (self._candidates.space, self._candidates.seed) != (space, seed):
            self._candidates = Candidates(space, seed)
        self._results.update()
        candidates = self._candidates.of(number, self._parents(self._results), history.seen)
        if not candidates:
            return [p for p in (uniform_proposal(space, history, rng) for _ in range(count)) if p]
        gains = self._gains(self._results, _pending(space, history), candidates, rng)
        best = np.argsort(-gains, kind="stable")[:count]
        return [Proposal(candidates[i].genotype, self.name, parent=candidates[i].parent) for i in best]

    def _spread(self, space: SearchSpace, history: History, rng: np.random.Generator) -> Proposal | None:
        """Return the network nearest to a FLOPs target: the fewest FLOPs of some random networks, the most,
        then points between them that fill the logarithmic scale evenly."""
        drawn = [space.sample(rng) for _ in range(SPREAD)]
        new = [genotype for genotype in drawn if not history.seen(genotype.digest)]
        if not new:
            return uniform_proposal(space, history, rng)
        sizes = np.log([max(1, space.cost(genotype).flops) for genotype in new])
        number = len(history.trials) + len(history.pending)
        place = float(number) if number < 2 else van_der_corput(number - 1)
        target = sizes.min() + place * np.ptp(sizes)
        return Proposal(new[int(np.abs(sizes - target).argmin())], self.name)

    def _parents(self, results: Results) -> list[Trial]:
        """Return the networks whose neighbours are candidates."""
        if not self._others:
            return [results.networks[i] for i in np.argsort(results.points[:, 0], kind="stable")[:BEST]]
        members = results.history.front(self.objectives)
        members.sort(key=lambda trial: (trial.objective(self._lead), trial.number))
        even = np.linspace(0, len(members) - 1, min(len(members), MAX_PARENTS))
        return [members[i] for i in even.round().astype(int)]

    def _gains(
        self,
        results: Results,
        pending: Sequence[CostedCandidate],
        candidates: Sequence[CostedCandidate],
        rng: np.random.Generator,
    ) -> Floats:
        """Return the expected hypervolume gain of each candidate, with those in training trained as
        predicted."""
        scale = self._scale(rng)
        points = scale(results.points)
        corner = reference_point(points)
        corner[0] = np.quantile(points[:, 0], self._corners[int(rng.integers(len(self._corners)))])
        outcomes = results.outcomes(int(rng.integers(len(WARPS))), pending)
        believed = np.hstack([outcomes(pending, np.zeros(1)), results.costs(pending)])
        known = np.vstack([points[front(points)], scale(believed)])
        values, costs = outcomes(candidates, NODES), results.costs(candidates)
        scaled = scale(np.hstack([values[:, :1], costs]))
        lead = scale(values.reshape(-1, 1)).reshape(values.shape)
        return expected_gains(known, scaled[:, 1:], lead, corner)

    def _scale(self, rng: np.random.Generator) -> Callable[[Floats], Floats]:
        """Return a function of objectives (n, d), or of the first alone, to the scale on which hypervolumes
        are measured: the logarithm of errors, and in some proposals that of costs."""
        costs = rng.random() < LOG_COSTS
        logarithmic = [self._lead in ERRORS, *(costs and objective(n).logarithmic for n in self._others)]
        floors = [MIN_ERROR, *[MIN_COST] * len(self._others)]

        def scale(values: Floats) -> Floats:
            columns = [
                np.log(np.maximum(column, floor)) if logs else column
                for column, logs, floor in zip(values.T, logarithmic, floors, strict=False)
            ]
            return np.array(columns).reshape(values.shape[::-1]).T

        return scale


def expected_gains(points: Floats, costs: Floats, values: Floats, corner: Floats) -> Floats:
    """Return the expected hypervolume gains of candidates, (n,).

    points: the uncertain objective and the costs of what is known, (m, 1 + d). costs: of the candidates,
    (n, d). values: of the uncertain objective of each at `NODES`, (n, nodes). corner: where hypervolumes are
    measured from, (1 + d,).
    """
    steps = points[front(points)]
    cuts = [_thinned(np.unique(column), steps.shape[1] - 1) for column in steps[:, 1:].T]
    lower = np.array(list(product(*([-np.inf, *cut] for cut in cuts))))
    ends = [np.append(cut, max(cut[-1], end)) for cut, end in zip(cuts, corner[1:], strict=True)]
    upper = np.array(list(product(*ends)))
    below = (steps[None, :, 1:] <= lower[:, None]).all(axis=2)
    best = np.where(below, np.minimum(steps[:, 0], corner[0]), corner[0]).min(axis=1)
    gains = np.zeros(len(costs))
    for low, high, value in zip(lower, upper, best, strict=True):
        sides = np.maximum(0.0, high - np.maximum(costs, low)).prod(axis=1)
        inside = sides > 0
        gains[inside] += sides[inside] * (np.maximum(0.0, value - values[inside]) @ WEIGHTS)
    return gains


def van_der_corput(number: int) -> float:
    """Return the number of a sequence that fills the interval from 0 to 1 evenly, for numbers from 1."""
    return float(int(f"{number:b}"[::-1], 2) / 2 ** number.bit_length())


def _thinned(cuts: Floats, dimensions: int) -> Floats:
    """Return the cuts along one cost, evenly thinned where all boxes would be more than `CELLS`."""
    most = max(4, int(CELLS ** (1 / dimensions)))
    even = np.linspace(0, len(cuts) - 1, min(len(cuts), most)).round().astype(int)
    return np.asarray(cuts[even])


def _pending(space: SearchSpace, history: History) -> list[CostedCandidate]:
    """Return the networks in training, but for those that wait at a rung and warm starts from outside the
    space."""
    networks = []
    for number, genotype in history.running.items():
        if number not in history.paused:
            with suppress(NasError):
                networks.append(costed(space, genotype))
    return networks
