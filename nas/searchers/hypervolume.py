"""Expected hypervolume improvement, with costs that are exact before training.

A Gaussian process (`nas.surrogate.gaussian_process`) predicts the error of a network. Its FLOPs, parameters
and memory are known before training, so the expected hypervolume gain is a sum over the steps of the front
(Emmerich et al. 2005). With the error as the only objective it is the expected improvement (Jones et al.
1998).

The first trials are spread over FLOPs. After that the candidates are networks one decision away from the
front, and random ones. What a proposal draws at random keeps the search from one model's blind spots: the
scale of the error (`nas.surrogate.warps`) and the error from which hypervolumes are measured. Trials in
training count with the error predicted for them, so parallel workers train different networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import NasError
from nas.pareto import Floats, front, reference_point
from nas.schedulers import Scheduler
from nas.searchers.base import RandomizedSearcher, SearcherSettings, uniform_proposal
from nas.space.decisions import replay
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Proposal, Trial
from nas.surrogate.gaussian_process import Encoder, GaussianProcess, fit_parameters
from nas.surrogate.warps import WARPS

if TYPE_CHECKING:
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

INITIAL = 7
"""Trials spread over FLOPs before the model is asked."""

SPREAD = 32
"""Random networks of which each of the first trials is the nearest to a target of FLOPs."""

NEIGHBOURS, RANDOM = 200, 100
"""Candidates of a proposal, at most: neighbours of the front, and random networks."""

BEST = 5
"""Networks whose neighbours are candidates where the error is the only objective."""

MAX_TRIALS = 300
"""Trials that the model is fitted to, at most: half of them the nearest to the front, half of all the
others."""

GROWTH = 1.1
"""Factor by which the trials grow between two fits of the parameters."""

INFLATION = 1.5
"""Factor of the standard deviation of predictions, which are too sure of networks unlike all trained ones."""

CORNERS = (0.5, 0.75, 0.9)
"""Quantiles of the errors from which hypervolumes are measured, one drawn per proposal."""

NODES = np.linspace(-3.5, 3.5, 29)
DENSITY = np.exp(-(NODES**2) / 2)
WEIGHTS = DENSITY / DENSITY.sum()
"""Standard normal deviates and their weights, for expectations."""


class Hypervolume(RandomizedSearcher):
    """Proposes the candidate with the highest expected hypervolume gain. Objectives besides the error must be
    known before training."""

    name = "hypervolume"
    reads_running = True

    def __init__(self, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self._costs = [name for name in self.objectives if name != "error"]
        measured = [name for name in self._costs if not objective(name).before_training]
        if "error" not in self.objectives or measured:
            message = "hypervolume needs the error and, beside it, objectives that are known before training"
            raise NasError(message, where="searcher", hint="--searcher evolution takes any objectives")
        self._history: History | None = None

    def draw(
        self, space: SearchSpace, history: History, scheduler: Scheduler, rng: np.random.Generator
    ) -> Proposal | None:
        results = scheduler.expected_history(history)
        trials = results.networks
        if len(trials) < 3 or len(history.trials) + len(history.pending) < INITIAL:
            return self._spread(space, history, rng)
        candidates = self._candidates(space, history, trials, rng)
        if not candidates:
            return uniform_proposal(space, history, rng)
        if results is not self._history:
            self._history, self._encoder = results, Encoder.of(space.domains())
            self._parameters: dict[int, tuple[int, Floats]] = {}
        gains = self._gains(space, history, trials, [genotype for genotype, _ in candidates], rng)
        genotype, parent = candidates[int(gains.argmax())]
        return Proposal(genotype, self.name, parent=parent)

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

    def _candidates(
        self, space: SearchSpace, history: History, trials: Sequence[Trial], rng: np.random.Generator
    ) -> list[tuple[Genotype, int | None]]:
        """Return new networks with the number of the trial they are a neighbour of, if any."""
        moves = [
            (parent, decisions, path, option)
            for parent in self._parents(trials)
            for decisions in _inside(space, parent.genotype)
            for path, taken in decisions.items()
            for option in space.domains()[path]
            if option != taken
        ]
        drawn: list[tuple[Genotype, int | None]] = []
        for i in rng.permutation(len(moves))[:NEIGHBOURS]:
            parent, decisions, path, option = moves[i]
            drawn.append((space.build(replay({**decisions, path: option}, rng)), parent.number))
        drawn = [pair for pair in drawn if not space.violations(pair[0])]
        drawn += [(space.sample(rng), None) for _ in range(RANDOM)]
        new = {genotype.digest: (genotype, parent) for genotype, parent in reversed(drawn)}
        return [pair for digest, pair in new.items() if not history.seen(digest)]

    def _parents(self, trials: Sequence[Trial]) -> list[Trial]:
        if not self._costs:
            return sorted(trials, key=lambda trial: trial.error or 0.0)[:BEST]
        return [trials[i] for i in front([trial.values(self.objectives) for trial in trials])]

    def _gains(
        self,
        space: SearchSpace,
        history: History,
        trials: Sequence[Trial],
        candidates: Sequence[Genotype],
        rng: np.random.Generator,
    ) -> Floats:
        """Return the expected hypervolume gain of each candidate."""
        columns = ["error", *self._costs]
        points = np.array([trial.values(columns) for trial in trials])
        corner = reference_point(points)
        corner[0] = np.quantile(points[:, 0], CORNERS[int(rng.integers(len(CORNERS)))])
        which = int(rng.integers(len(WARPS)))
        rows = self._encoder.encode([t.decisions for t in trials], [t.flops for t in trials])
        parameters = self._fitted(which, points, rows)
        used = _subset(points)
        rows, warped = rows[used], WARPS[which](points[used, 0], rows[used, -1])
        model = GaussianProcess(self._encoder, rows, warped.values, parameters)
        running = [
            genotype
            for number, genotype in history.running.items()
            if number not in history.paused and _inside(space, genotype)
        ]
        if running:
            more, costs = self._encoded(space, running)
            predicted, _ = model.predict(more)
            believed = warped.errors(predicted[:, None], more[:, -1])
            points = np.vstack([points, np.hstack([believed, costs])])
            rows, values = np.vstack([rows, more]), np.append(warped.values, predicted)
            model = GaussianProcess(self._encoder, rows, values, parameters)
        asked, costs = self._encoded(space, candidates)
        mean, deviation = model.predict(asked)
        errors = warped.errors(mean[:, None] + INFLATION * deviation[:, None] * NODES, asked[:, -1])
        return expected_gains(points, costs, errors, corner)

    def _fitted(self, which: int, points: Floats, rows: Floats) -> Floats:
        """Return the parameters for a warp, fitted to the first trials: to all up to the last step of
        `GROWTH`."""
        step = int(np.log(len(points)) / np.log(GROWTH))
        if which not in self._parameters or self._parameters[which][0] != step:
            count = min(len(points), int(np.ceil(GROWTH**step)))
            used = np.arange(count)[_subset(points[:count])]
            values = WARPS[which](points[used, 0], rows[used, -1]).values
            self._parameters[which] = step, fit_parameters(self._encoder, rows[used], values)
        return self._parameters[which][1]

    def _encoded(self, space: SearchSpace, genotypes: Sequence[Genotype]) -> tuple[Floats, Floats]:
        """Return rows for the model and the costs (n, d) of networks."""
        costs = [space.cost(genotype) for genotype in genotypes]
        decisions = [space.decisions(genotype) for genotype in genotypes]
        rows = self._encoder.encode(decisions, [cost.flops for cost in costs])
        exact = [[float(getattr(cost, name)) for name in self._costs] for cost in costs]
        return rows, np.array(exact).reshape(len(costs), len(self._costs))


def expected_gains(points: Floats, costs: Floats, errors: Floats, corner: Floats) -> Floats:
    """Return the expected hypervolume gains of candidates, (n,).

    points: error and costs of what is known, (m, 1 + d). costs: of the candidates, (n, d). errors: of each at
    `NODES`, (n, nodes). corner: where hypervolumes are measured from, (1 + d,).
    """
    steps = points[front(points)]
    cuts = [np.unique(column) for column in steps[:, 1:].T]
    lower = np.array(list(product(*([-np.inf, *cut] for cut in cuts))))
    ends = [np.append(cut, max(cut[-1], end)) for cut, end in zip(cuts, corner[1:], strict=True)]
    upper = np.array(list(product(*ends)))
    below = (steps[None, :, 1:] <= lower[:, None]).all(axis=2)
    best = np.where(below, np.minimum(steps[:, 0], corner[0]), corner[0]).min(axis=1)
    sides = np.maximum(0.0, upper - np.maximum(costs[:, None], lower))
    gains = np.maximum(0.0, best[None, :, None] - errors[:, None, :]) @ WEIGHTS
    return np.asarray((sides.prod(axis=2) * gains).sum(axis=1))


def van_der_corput(number: int) -> float:
    """Return the number of a sequence that fills the interval from 0 to 1 evenly, for numbers from 1."""
    return float(int(f"{number:b}"[::-1], 2) / 2 ** number.bit_length())


def _subset(points: Floats) -> Any:
    """Return which points the model is fitted to."""
    if len(points) <= MAX_TRIALS:
        return slice(None)
    scaled = np.argsort(np.argsort(points, axis=0), axis=0)
    nearest = np.argsort(scaled.sum(axis=1), kind="stable")[: MAX_TRIALS // 2]
    others = np.setdiff1d(np.arange(len(points)), nearest)
    even = others[np.arange(MAX_TRIALS // 2) * len(others) // (MAX_TRIALS // 2)]
    return np.sort(np.concatenate([nearest, even]))


def _inside(space: SearchSpace, genotype: Genotype) -> list[Mapping[str, Any]]:
    """Return the decisions of a network, none where it is a warm start from outside the space."""
    try:
        return [space.decisions(genotype)]
    except NasError:
        return []
