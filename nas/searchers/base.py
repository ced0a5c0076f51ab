"""What a searcher is, and how a proposal is drawn from one.

Searchers are stateless: the history is the state, and the generator of a proposal is
derived from the seed and the number of the proposal. So a search that was cut short goes
on without a checkpoint of its searcher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nas.graph.cost import cost
from nas.schedulers.successive_halving import Drawn, Standings
from nas.searchers.designs.base import Design
from nas.space.genotype import expand
from nas.space.space import decisions_of
from nas.study.history import History
from nas.study.objectives import objective
from nas.study.trial import Known, Proposal

if TYPE_CHECKING:
    from nas.space.genotype import Genotype
    from nas.space.space import SearchSpace

TRIES = 100
"""Draws before a searcher stops looking for a network that nobody has proposed."""

ENUMERATED = 10_000
"""Genotypes looked through where random draws find none that is new."""


class Searcher(Protocol):
    """Proposes networks. `ask` reads the history and never changes it; given equal space,
    history and generator it proposes the same, and nothing that the history has seen. None
    when no unseen network is found."""

    @property
    def name(self) -> str: ...

    def ask(self, space: SearchSpace, history: History, rng: np.random.Generator) -> Proposal | None: ...


def propose(
    searcher: Searcher | Design,
    space: SearchSpace,
    history: History,
    *,
    seed: int,
    number: int,
    uniform_share: float = 0.2,
    seeds: Sequence[Proposal] = (),
    standings: Standings | None = None,
) -> Proposal | None:
    """The proposal for trial `number`: the first are `seeds`, then the searcher's, or one of
    the uniform slice.

    The slice is spread evenly over the numbers (every fifth at 0.2) and looks at no
    result, so it supports claims about the whole space. It is drawn without replacement:
    what has been evaluated or is in flight is drawn again. None when the space is
    exhausted, which means to stop the search. A design plans every trial itself. With `standings`, where
    trials stop at rungs, a searcher is asked for several, of which one is chosen. The proposal says what the
    history held.
    """
    found = _chosen(searcher, space, history, seed, number, uniform_share, seeds, standings)
    return found and replace(found, known=_known(history))


def _known(history: History) -> Known | None:
    """None where trials wait at rungs and nobody can say later how they stood: those of an older program, and
    those with objectives that are measured anew at each rung."""
    measured = any(name != "error" and not objective(name).before_training for name in history.objectives)
    if history.waiting and (measured or not all(trial.arrivals for trial in history.waiting.values())):
        return None
    pending = tuple(each for each in history.pending.items() if each[0] not in history.waiting)
    return Known(len(history.trials), pending, history.arrivals)


def _chosen(
    searcher: Searcher | Design,
    space: SearchSpace,
    history: History,
    seed: int,
    number: int,
    uniform_share: float,
    seeds: Sequence[Proposal],
    standings: Standings | None,
) -> Proposal | None:
    if isinstance(searcher, Design):
        return searcher.proposal(space, seed, number)
    if number < len(seeds):
        return seeds[number]
    rng = np.random.default_rng([seed, number])
    before, after = (int(round(count * uniform_share, 9)) for count in (number, number + 1))
    if after > before:
        return uniform_proposal(space, history, rng)
    count = standings.draws() if standings else 1
    asked = [searcher.ask(space, history, rng) for _ in range(count)]
    found = list({each.genotype.digest: each for each in asked if each}.values())
    if standings is None or len(found) < 2:
        return found[0] if found else None
    drawn = [
        Drawn(
            cost(expand(each.genotype, space.input_shape, space.num_classes)),
            decisions_of(space, each.genotype, strict=not each.design),
        )
        for each in found
    ]
    chosen = found[standings.preferred(drawn)]
    return replace(chosen, uniform=False, log_probability=None)  # as results had a say


def uniform_proposal(space: SearchSpace, history: History, rng: np.random.Generator) -> Proposal | None:
    """An unseen network, each decision uniform over its options. None if none is found."""
    genotype = _unseen(space, history, rng)
    if genotype is None:
        return None
    return Proposal(genotype, "random", uniform=True, log_probability=space.log_probability(genotype))


def _unseen(space: SearchSpace, history: History, rng: np.random.Generator) -> Genotype | None:
    for _ in range(TRIES):
        genotype = space.sample(rng)
        if not history.seen(genotype.digest):
            return genotype
    left = {g.digest: g for g in islice(space.enumerate(), ENUMERATED) if not history.seen(g.digest)}
    return list(left.values())[int(rng.integers(len(left)))] if left else None
