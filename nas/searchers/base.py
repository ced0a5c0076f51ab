"""Base class of searchers, and the making of the proposal for a trial.

Searchers are stateless: the history is the state, and the random generator of a proposal follows from the
seed of the search and the number of the trial. So a search that was interrupted resumes without a
checkpoint of its searcher. What a searcher keeps between calls follows from the history and only saves
time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.schedulers import Scheduler, TrainFully
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import HistorySnapshot, Proposal

if TYPE_CHECKING:
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

TRIES = 100
"""Draws before a searcher stops looking for a network that was not proposed before."""

ENUMERATED = 10_000
"""Genotypes enumerated if random draws find no new one."""

LOOKED_AT = 100_000
"""Genotypes looked at to enumerate so many, where constraints forbid most."""


REPEATS = 2
"""Training seeds of each network of a paired design, by default."""


@dataclass(frozen=True)
class SearcherSettings:
    """Settings of a searcher: the objectives to minimise, and the training seeds per network for searchers
    that take `repeats`."""

    objectives: tuple[str, ...]
    repeats: int = REPEATS


class Searcher(ABC):
    """Proposes networks.

    `ask` never changes the history. For equal space, history, seed and number it returns equal proposals,
    whatever was asked before.
    """

    name: str
    """Name that users give it, recorded with each trial that it proposes."""

    plans_every_trial: bool = False
    """Whether the searcher plans a fixed sample from space and seed alone, in which equal networks are
    trained with several seeds. Then no trial is drawn at random, warm-started, stopped early or reused."""

    reads_running: bool = False
    """Whether proposals depend on which networks are in training, and not only on their digests."""

    repeats: int | None = None
    """Training seeds per network, None for a searcher without that setting."""

    def __init__(self, settings: SearcherSettings) -> None:
        self.objectives = settings.objectives

    @abstractmethod
    def ask(
        self, space: SearchSpace, history: History, *, seed: int, number: int, scheduler: Scheduler
    ) -> list[Proposal]:
        """Return proposals for trial `number` of the search with this seed, [] if the space is exhausted.

        One proposal is enough. `scheduler.proposal_count()` says among how many the scheduler would like to
        choose, and `scheduler.expected_history(history)` holds the results to expect of paused trials.
        """

    def default_trials(self, space: SearchSpace, seed: int) -> int | None:
        """Return how many trials the searcher needs, None if that is for the user to say."""
        return None

    def summary(self, space: SearchSpace, seed: int, trials: int) -> dict[str, Any]:
        """Return what a plan of `trials` trials holds, as JSON whose `lines` say it in words; {} without a
        plan."""
        return {}


class RandomizedSearcher(Searcher):
    """A searcher that draws one proposal at a time."""

    def ask(
        self, space: SearchSpace, history: History, *, seed: int, number: int, scheduler: Scheduler
    ) -> list[Proposal]:
        rng = np.random.default_rng([seed, number])
        draws = (self.draw(space, history, scheduler, rng) for _ in range(scheduler.proposal_count()))
        return [proposal for proposal in draws if proposal is not None]

    @abstractmethod
    def draw(
        self, space: SearchSpace, history: History, scheduler: Scheduler, rng: np.random.Generator
    ) -> Proposal | None:
        """Return a network that the history has not seen, None if none is found."""


def propose(
    searcher: Searcher,
    space: SearchSpace,
    history: History,
    *,
    seed: int,
    number: int,
    uniform_share: float = 0.2,
    seeds: Sequence[Proposal] = (),
    scheduler: Scheduler | None = None,
) -> Proposal | None:
    """Return the proposal for trial `number`, None if the space is exhausted and the search should stop.

    The first trials are `seeds`. The others come from the searcher, but for a uniform share: these are spread
    evenly over the numbers (every fifth at 0.2) and drawn without looking at results, so they support claims
    about the whole space. They are drawn without replacement, too: no network that was evaluated or is being
    evaluated is drawn. A searcher that plans every trial is asked for all of them. The proposal holds a
    snapshot of the history.
    """
    proposal = _next_proposal(
        searcher, space, history, seed, number, uniform_share, seeds, scheduler or TrainFully()
    )
    return proposal and replace(proposal, snapshot=_snapshot(history))


def _next_proposal(
    searcher: Searcher,
    space: SearchSpace,
    history: History,
    seed: int,
    number: int,
    uniform_share: float,
    seeds: Sequence[Proposal],
    scheduler: Scheduler,
) -> Proposal | None:
    if not searcher.plans_every_trial:
        if number < len(seeds):
            return seeds[number]
        before, after = (int(round(count * uniform_share, 9)) for count in (number, number + 1))
        if after > before:
            return uniform_proposal(space, history, np.random.default_rng([seed, number]))
    asked = searcher.ask(space, history, seed=seed, number=number, scheduler=scheduler)
    proposals = list({proposal.genotype.digest: proposal for proposal in asked}.values())
    if len(proposals) < 2:
        return proposals[0] if proposals else None
    # Results had a say in the choice, so the proposal is no longer a uniform draw.
    return replace(scheduler.choose(proposals, space), uniform=False, log_probability=None)


def _snapshot(history: History) -> HistorySnapshot | None:
    """Return a snapshot of the history. None if trials wait at rungs and their results cannot be
    reconstructed later: those of an older version, and objectives that are measured again at each rung."""
    measured = any(name != "error" and not objective(name).before_training for name in history.objectives)
    if history.paused and (measured or not all(trial.rung_order for trial in history.paused.values())):
        return None
    running = tuple(item for item in history.pending.items() if item[0] not in history.paused)
    return HistorySnapshot(len(history.trials), running, history.rung_result_count)


def uniform_proposal(space: SearchSpace, history: History, rng: np.random.Generator) -> Proposal | None:
    """Return a network the history has not seen, each decision uniform over its options unless the
    constraints are too tight to draw so; None if none is found."""
    genotype, uniform = _unseen(space, history, rng)
    if genotype is None:
        return None
    probability = space.log_probability(genotype) if uniform else None
    return Proposal(genotype, "random", uniform=uniform, log_probability=probability)


def exhausted(space: SearchSpace, history: History) -> bool:
    """Tell whether every network of the space is known to have been evaluated or to be in flight."""
    networks = space.networks()
    return networks is not None and all(map(history.seen, networks))


def _unseen(space: SearchSpace, history: History, rng: np.random.Generator) -> tuple[Genotype | None, bool]:
    """Return a new network, and whether its decisions are uniform; None if none is found."""
    for tries in range(TRIES):
        genotype, uniform = space.draw(rng)
        if not history.seen(genotype.digest):
            return genotype, uniform
        if tries == TRIES // 10 and exhausted(space, history):
            return None, False
    allowed = islice(space.enumerate(LOOKED_AT), ENUMERATED)
    left = {g.digest: g for g in allowed if not history.seen(g.digest)}
    whole = space.networks() is not None  # else these are the first of the enumeration
    return (list(left.values())[int(rng.integers(len(left)))], whole) if left else (None, False)
