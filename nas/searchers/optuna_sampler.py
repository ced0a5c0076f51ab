"""Any Optuna sampler that takes categorical decisions, as a searcher."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.schedulers import Scheduler
from nas.searchers.base import RandomizedSearcher, SearcherSettings, uniform_proposal
from nas.study.history import History
from nas.study.trial import Proposal, Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler

    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

SAMPLERS = {
    "gp": "GPSampler",
    "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler",
    "random": "RandomSampler",
    "tpe": "TPESampler",
}
UNSUPPORTED = dict.fromkeys(
    ("optuna:cmaes", "optuna:qmc"),
    f"it samples numbers, and every decision here is a category; try {', '.join(SAMPLERS)}",
)
"""Samplers of Optuna that cannot be used, by the name of the searcher, and why."""

TRIES = 20
"""Answers of a sampler before a uniform draw takes its place: it may only repeat itself."""

POPULATION = 20
"""Of the genetic samplers. Optuna's 50 is more than many a search has trials in all."""


class OptunaSearcher(RandomizedSearcher):
    """Asks a sampler, on an in-memory study that is rebuilt from the history.

    The study is kept between calls and only brought up to date; it follows from the
    history alone, and a new sampler is seeded for every proposal.
    """

    def __init__(self, sampler: str, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self.name = f"optuna:{sampler}"
        self._sampler = sampler
        self._history: History | None = None
        self._study: Study | None = None
        self._known = 0

    def draw(
        self, space: SearchSpace, history: History, scheduler: Scheduler, rng: np.random.Generator
    ) -> Proposal | None:
        with _quiet():
            study = self._updated(space, history)
            study.sampler = self._new_sampler(int(rng.integers(2**31)))
            for _ in range(TRIES):
                genotype = _build(space, study)
                if not history.seen(genotype.digest) and not space.violations(genotype):
                    return Proposal(genotype, self.name)
        return uniform_proposal(space, history, rng)

    def _new_sampler(self, seed: int) -> BaseSampler:
        import optuna

        genetic = {"population_size": POPULATION} if self._sampler.startswith("nsga") else {}
        sampler: BaseSampler = getattr(optuna.samplers, SAMPLERS[self._sampler])(seed=seed, **genetic)
        return sampler

    def _updated(self, space: SearchSpace, history: History) -> Study:
        """The Optuna study with every complete trial of the history, in order."""
        import optuna

        # NSGA-III draws when it selects a generation, and Optuna keeps what it drew.
        if self._study is None or history is not self._history or self._sampler == "nsgaiii":
            minimize = [optuna.study.StudyDirection.MINIMIZE] * len(self.objectives)
            self._study, self._history, self._known = optuna.create_study(directions=minimize), history, 0
        domains = space.domains()
        for trial in history.complete[self._known :]:
            self._study.add_trial(self._frozen(trial, domains))
            self._known += 1
        return self._study

    def _frozen(self, trial: Trial, domains: Any) -> Any:
        from optuna.distributions import CategoricalDistribution
        from optuna.trial import create_trial

        generation = {f"{SAMPLERS[self._sampler]}:generation": self._known // POPULATION}
        return create_trial(
            values=list(trial.values(self.objectives)),
            params=dict(trial.decisions),
            distributions={path: CategoricalDistribution(domains[path]) for path in trial.decisions},
            system_attrs=generation if self._sampler.startswith("nsga") else None,
        )


def _build(space: SearchSpace, study: Study) -> Genotype:
    """Let Optuna answer the decisions. Its trial is dropped: results come by the history."""
    from optuna.trial import TrialState

    trial = study.ask()
    try:
        choose: Callable[[str, Sequence[Any]], Any] = trial.suggest_categorical
        return space.build(choose)
    finally:
        study.tell(trial, state=TrialState.FAIL)


@contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
