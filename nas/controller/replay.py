"""Asking the searcher of a run again for what it proposed, with what it knew then.

Every proposal says how many trials were recorded, what was in flight and how many had come to a rung
when it was made (`trial.Known`). With that a run of any number of workers, and one that was resumed,
can be followed proposal by proposal.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.schedulers import make_scheduler, rung_results
from nas.searchers import REPEATS, make_searcher
from nas.searchers.base import propose
from nas.searchers.warm_start import find_seeds, seed_proposals
from nas.study.history import History
from nas.study.trial import Proposal, Trial

if TYPE_CHECKING:
    from nas.study.run import Run


@dataclass(frozen=True)
class Replay:
    """How many proposals came out the same; `differs` is the first that did not, with what is
    proposed now (None: nothing); `unknown` are the trials that do not say what was known."""

    same: int
    unknown: tuple[int, ...] = ()
    differs: Trial | None = None
    proposed: Proposal | None = None


def replay(run: Run) -> Replay:
    """Ask the searcher of a run for its proposals again, each with what it knew then. Trains nothing.

    Args:
        run: The run, as `nas.open_run` returns it.

    Returns:
        How many proposals are the same, and the first that differs, if any.

    Raises:
        StorageError: The study is damaged.

    Example:
        >>> import nas
        >>> replayed = nas.replay(nas.open_run("first"))
        >>> replayed.same, replayed.differs
        (6, None)
    """
    config, recorded = run.config, run.study.trials
    searcher = make_searcher(config.searcher, config.objectives, config.repeats or REPEATS)
    seeds = seed_proposals(find_seeds(run.space, config.seed_with))
    history = History(run.study.objectives)
    unknown = tuple(sorted(trial.number for trial in recorded if trial.proposal.known is None))
    rungs = config.fidelity
    scheduler = make_scheduler(rungs, history, run.space, images=1, folder=None)  # nothing is promoted here
    came = deque(rung_results(recorded, rungs))
    same = 0
    for trial in sorted(recorded, key=_when):
        known = trial.proposal.known
        if known is None:
            continue
        for earlier in recorded[len(history.trials) : known.recorded]:
            history.record(earlier)
        while came and came[0].arrivals[-1] <= known.arrivals:
            rested = came.popleft()
            if history.by_number(rested.number) is None:
                history.start(rested.number, rested.digest)
            history.wait(rested)
        for number, digest in known.pending:
            history.start(number, digest)
        proposed = propose(
            searcher,
            run.space,
            history,
            seed=config.seed,
            number=trial.number,
            uniform_share=config.uniform_share,
            seeds=seeds,
            scheduler=scheduler,
        )
        if proposed is None or _figures(proposed) != _figures(trial.proposal):
            return Replay(same, unknown, trial, proposed)
        for number, _ in known.pending:
            history.give_up(number)
        same += 1
    return Replay(same, unknown)


def _when(trial: Trial) -> tuple[int, int, int]:
    """What was known only grows; among equals a searcher is asked in the order of numbers."""
    known = trial.proposal.known
    return (known.recorded, known.arrivals, trial.number) if known else (0, 0, trial.number)


def _figures(proposal: Proposal) -> tuple[Any, ...]:
    return proposal.genotype, proposal.proposer, proposal.parent
