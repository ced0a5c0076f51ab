"""The contract that every searcher keeps."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nas.schedulers import TrainFully
from nas.searchers import make_searcher
from nas.searchers.base import Searcher, propose
from nas.space.load import parse_space
from nas.study.history import History
from nas.study.trial import Proposal, Trial

if TYPE_CHECKING:
    from nas.space.space import SearchSpace

SPACE = """
name: small
description: Two stages of two types, for the check of searchers.
vary: block
stem: {type: conv, width: 4}
modules:
  residual: {shortcut: [A, B]}
  fractal: {columns: [1, 2]}
stages:
  - {depth: [1, 2], width: [4, 8]}
head: {type: pool}
"""
"""A space of few networks, so that a searcher meets its end."""


def check_searcher(
    searcher: str | Callable[[], Searcher],
    *,
    space: SearchSpace | None = None,
    objectives: Sequence[str] = ("error", "flops"),
    trials: int = 24,
) -> None:
    """Check that a searcher keeps the contract of `nas.searchers.base.Searcher`.

    Errors of trials are made up from their networks; every sixth trial fails. Checked are:

    - proposals lie in the space, and no network is proposed twice, nor one that is in training;
    - a proposal follows from space, history, seed and number alone: a new searcher proposes the same, in this
      process, so that the order of a set of texts, which differs between processes, is not noticed;
    - the history is only read;
    - a history of failures alone is searched on;
    - all networks of a small space are proposed, and then none.

    Args:
        searcher: Its name, after `register_searcher`, or a function that makes a new one.
        space: The space to search; by default a small one.
        objectives: The objectives to minimise.
        trials: Most trials of a search; a space with more networks is not searched to its end.

    Raises:
        AssertionError: A point of the contract is broken; the message says which.
        NasError: There is no searcher of this name.

    Example:
        >>> from nas.testing import check_searcher
        >>> check_searcher("random")
    """

    def make() -> Searcher:
        return make_searcher(searcher, tuple(objectives)) if isinstance(searcher, str) else searcher()

    where = space or parse_space(SPACE, "the space of check_searcher")
    _check_proposals(make, where, objectives, trials)
    _check_failures(make, where, objectives, trials)
    _check_the_end(make, where, objectives)


def made_up_trial(space: SearchSpace, number: int, proposal: Proposal, *, failed: bool = False) -> Trial:
    """Return a trial whose error follows from its network: it falls with FLOPs, but for some noise."""
    cost = space.cost(proposal.genotype)
    noise = zlib.crc32(proposal.genotype.digest.encode()) / 2**32
    return Trial(
        number=number,
        proposal=proposal,
        state="failed" if failed else "complete",
        reason="diverged" if failed else "",
        error=None if failed else 1 / (2 + cost.flops**0.1) + 0.01 * noise,
        cost=cost,
        decisions=space.decisions(proposal.genotype),
        seed=number,
        epochs=1,
    )


def _ask(searcher: Searcher, space: SearchSpace, history: History, number: int) -> Proposal | None:
    asked = searcher.ask(space, history, seed=0, number=number, scheduler=TrainFully())
    return asked[0] if asked else None


def _rebuilt(history: History) -> History:
    copied = History(history.objectives)
    for trial in history.trials:
        copied.record(trial)
    return copied


def _check_proposals(
    make: Callable[[], Searcher], space: SearchSpace, objectives: Sequence[str], trials: int
) -> None:
    searcher, history = make(), History(objectives)
    for number in range(trials):
        before = copy.deepcopy((list(history.trials), dict(history.pending), history.layers()))
        proposal = _ask(searcher, space, history, number)
        after = (list(history.trials), dict(history.pending), history.layers())
        assert after == before, f"trial {number}: the searcher changed the history"
        again = _ask(make(), space, _rebuilt(history), number)
        assert again == proposal, f"trial {number}: a new searcher proposes another network"
        if proposal is None:
            break
        assert proposal.genotype in space, f"trial {number}: {proposal.genotype} is not in the space"
        repeated = history.seen(proposal.genotype.digest)
        assert not repeated, f"trial {number}: {proposal.genotype} was proposed before"
        history.record(made_up_trial(space, number, proposal, failed=number % 6 == 5))


def _check_failures(
    make: Callable[[], Searcher], space: SearchSpace, objectives: Sequence[str], trials: int
) -> None:
    searcher, history = make(), History(objectives)
    networks = space.networks()
    for number in range(min(trials, len(networks) if networks is not None else trials)):
        proposal = propose(searcher, space, history, seed=0, number=number)
        assert proposal is not None, f"trial {number}: the searcher gave up after failures alone"
        history.record(made_up_trial(space, number, proposal, failed=True))


def _check_the_end(make: Callable[[], Searcher], space: SearchSpace, objectives: Sequence[str]) -> None:
    """Check that all networks are proposed while those before are in training, and then none."""
    networks = space.networks()
    if networks is None or len(networks) > 200:
        return
    searcher, history, digests = make(), History(objectives), set[str]()
    while proposal := propose(searcher, space, history, seed=0, number=len(digests)):
        digest = proposal.genotype.digest
        assert digest not in digests, f"trial {len(digests)}: a network in training was proposed again"
        history.mark_running(len(digests), digest)
        digests.add(digest)
    assert digests == networks, f"{len(digests)} of {len(networks)} networks were proposed"
