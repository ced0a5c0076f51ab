"""Optuna's samplers as searchers."""

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

TRIES = 20
"""Proposals of a sampler that are no new network before a uniform draw replaces them."""

POPULATION = 20
"""Population of the genetic samplers. Optuna's 50 is more than the trials of many searches."""


class OptunaSearcher(RandomizedSearcher):
    """Asks an Optuna sampler on a study in memory, which is rebuilt from the history.

    The study is kept between calls and only brought up to date. A new sampler is seeded for every proposal.
    """

    def __init__(self, sampler: str, kind: str, settings: SearcherSettings) -> None:
        super().__init__(settings)
        self.name = f"optuna:{sampler}"
        self._sampler, self._kind = sampler, kind
        self._history: History | None = None
        self._study: Study | None = None
        self._trials = 0

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
        sampler: BaseSampler = getattr(optuna.samplers, self._kind)(seed=seed, **genetic)
        return sampler

    def _updated(self, space: SearchSpace, history: History) -> Study:
        """Return the Optuna study with every complete trial of the history, in order."""
        import optuna

        # Optuna caches in the study how a genetic sampler selected a generation, and in which order.
        if self._study is None or history is not self._history or self._sampler.startswith("nsga"):
            minimize = [optuna.study.StudyDirection.MINIMIZE] * len(self.objectives)
            self._study, self._history, self._trials = optuna.create_study(directions=minimize), history, 0
        domains = space.domains()
        for trial in history.complete[self._trials :]:
            self._study.add_trial(self._frozen(trial, domains))
            self._trials += 1
        return self._study

    def _frozen(self, trial: Trial, domains: Any) -> Any:
        from optuna.distributions import CategoricalDistribution
        from optuna.trial import create_trial

        generation = {f"{self._kind}:generation": self._trials // POPULATION}
        return create_trial(
            values=list(trial.values(self.objectives)),
            params=dict(trial.decisions),
            distributions={path: CategoricalDistribution(domains[path]) for path in trial.decisions},
            system_attrs=generation if self._sampler.startswith("nsga") else None,
        )


def _build(space: SearchSpace, study: Study) -> Genotype:
    """Let Optuna answer the decisions of a genotype. Its own trial is dropped: results come from the
    history."""
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
