"""Searchers to compare with, which the program does not have: named in searchers.py like its own.

local    local search: all neighbours of a network, then those of the best of them, and a random network where
         none is better (White et al. 2020). With two objectives the neighbours of a network of the front
         (Pareto local search, Paquete et al. 2004).
qnehvi   noisy expected hypervolume improvement (Daulton et al. 2021) with the models, priors and reference
         point that BoTorch takes by default: a process for the logarithm of each objective, FLOPs included,
         over the columns of `nas.surrogate`, after 10 random networks. It chooses among neighbours of the
         front and random networks. Needs `pip install botorch`.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.pareto import Floats
from nas.schedulers import Scheduler
from nas.searchers import register_searcher
from nas.searchers.base import RandomizedSearcher, SearcherSettings, uniform_proposal
from nas.space.decisions import replay
from nas.study.history import History
from nas.study.trial import Proposal, Trial
from nas.surrogate.encoder import Encoder

if TYPE_CHECKING:
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

NEEDS = {"qnehvi": "botorch"}
"""Packages by the searcher that needs them."""

INITIAL = 10
CHOICES = 256
"""Random networks, and neighbours of the front at most, among which qNEHVI chooses."""


def missing(name: str) -> str | None:
    """Return the package that a searcher needs and that is not installed."""
    needed = NEEDS.get(name)
    return needed if needed and find_spec(needed) is None else None


def neighbours(space: SearchSpace, parent: Trial, rng: np.random.Generator) -> list[Genotype]:
    """Return the networks one decision away, in random order."""
    domains, taken = space.domains(), dict(parent.decisions)
    moves = [(path, o) for path, option in taken.items() for o in domains[path] if o != option]
    built = [space.build(replay({**taken, path: option}, rng)) for path, option in moves]
    return [built[i] for i in rng.permutation(len(built)) if not space.violations(built[i])]


class Local(RandomizedSearcher):
    """A climb holds the networks since the last restart; `self._open` those of the neighbourhood that is
    being tried."""

    name = "local"

    def __init__(self, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self._climb: list[str] = []
        self._done: set[str] = set()
        self._open: list[Genotype] = []

    def draw(
        self, space: SearchSpace, history: History, scheduler: Scheduler, rng: np.random.Generator
    ) -> Proposal | None:
        while True:
            while self._open:
                genotype = self._open.pop()
                self._climb.append(genotype.digest)
                if not history.seen(genotype.digest):
                    return Proposal(genotype, self.name)
            best = self._best([trial for d in self._climb if (trial := history.by_digest(d))])
            new = [trial for trial in best if trial.digest not in self._done]
            if not new:
                proposal = uniform_proposal(space, history, rng)
                self._climb = [proposal.genotype.digest] if proposal else []
                return proposal
            parent = new[int(rng.integers(len(new)))]
            self._done.add(parent.digest)
            self._open = neighbours(space, parent, rng)

    def _best(self, trials: list[Trial]) -> list[Trial]:
        climb = History(self.objectives)
        for trial in {trial.digest: trial for trial in trials}.values():
            climb.record(trial)
        return climb.front(self.objectives)


class NoisyHypervolume(RandomizedSearcher):
    name = "qnehvi"

    def draw(
        self, space: SearchSpace, history: History, scheduler: Scheduler, rng: np.random.Generator
    ) -> Proposal | None:
        if len(history.trials) < INITIAL:
            return uniform_proposal(space, history, rng)
        members = history.front(self.objectives)
        near = [genotype for trial in members for genotype in neighbours(space, trial, rng)]
        pool = [near[i] for i in rng.permutation(len(near))[:CHOICES]]
        pool += [space.sample(rng) for _ in range(CHOICES)]
        new = list({g.digest: g for g in pool if not history.seen(g.digest)}.values())
        if not new:
            return uniform_proposal(space, history, rng)
        encoder = Encoder.of(space.domains())
        rows, choices = (
            encoder.encode([space.decisions(g) for g in genotypes], np.ones(len(genotypes)))[:, :-1]
            for genotypes in ([trial.genotype for trial in history.trials], new)
        )
        points = np.array([trial.values(self.objectives) for trial in history.trials])
        return Proposal(new[_best_of(rows, points, choices, int(rng.integers(2**31)))], self.name)


def _best_of(rows: Floats, points: Floats, choices: Floats, seed: int) -> int:
    """Return the index of the choice with the highest gain that is expected."""
    import torch
    from botorch.acquisition.multi_objective import qNoisyExpectedHypervolumeImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.optim import optimize_acqf_discrete
    from botorch.utils.multi_objective import infer_reference_point, is_non_dominated
    from gpytorch.mlls import SumMarginalLogLikelihood

    torch.manual_seed(seed)
    x, y = torch.tensor(rows), -torch.tensor(np.log(points))
    model: Any = ModelListGP(*(SingleTaskGP(x, y[:, [i]]) for i in range(y.shape[1])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        corner = infer_reference_point(y[is_non_dominated(y)])
        gain = qNoisyExpectedHypervolumeImprovement(model, corner, x, prune_baseline=True)
        asked = torch.tensor(choices)
        best, _ = optimize_acqf_discrete(gain, q=1, choices=asked)
    return int((asked == best).all(dim=1).nonzero()[0, 0])


register_searcher("local", Local)
register_searcher("qnehvi", NoisyHypervolume)
