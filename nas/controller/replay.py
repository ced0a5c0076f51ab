"""Replays a run: asks its searcher for every proposal again, with the history it was made from.

Every proposal holds a snapshot of its history: how many trials were recorded, what was in flight and how many
rung results there were (`nas.study.trial.Known`). So a run can be replayed proposal by proposal, whatever its
number of workers and whether or not it was resumed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.schedulers import make_scheduler, rung_results
from nas.searchers import REPEATS, make_searcher, propose
from nas.searchers.warm_start import find_warm_starts, warm_start_proposals
from nas.study.history import History
from nas.study.trial import Known, Proposal, Trial

if TYPE_CHECKING:
    from nas.study.run import Run


@dataclass(frozen=True)
class Replay:
    """The outcome of a replay.

    same: how many proposals came out the same. unknown: numbers of the trials without a snapshot. differs:
    the first trial whose proposal differs, with what is `proposed` now (None for nothing)."""

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
    seeds = warm_start_proposals(find_warm_starts(run.space, config.seed_with))
    history = History(run.study.objectives)
    unknown = tuple(sorted(trial.number for trial in recorded if trial.proposal.known is None))
    scheduler = make_scheduler(config.fidelity, history, run.space, images=1, folder=None)  # promotes nothing
    results = deque(rung_results(recorded, config.fidelity))
    same = 0
    for trial in sorted(recorded, key=_in_order_of_proposal):
        known = trial.proposal.known
        if known is None:
            continue
        _advance(history, recorded, results, known)
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
        if proposed is None or _essence(proposed) != _essence(trial.proposal):
            return Replay(same, unknown, trial, proposed)
        for number, _ in known.pending:
            history.give_up(number)
        same += 1
    return Replay(same, unknown)


def _advance(history: History, recorded: Sequence[Trial], results: deque[Trial], known: Known) -> None:
    """Bring a history to a snapshot; takes the rung results that it adds from `results`."""
    for trial in recorded[len(history.trials) : known.recorded]:
        history.record(trial)
    while results and results[0].arrivals[-1] <= known.arrivals:
        paused = results.popleft()
        if history.by_number(paused.number) is None:
            history.start(paused.number, paused.digest)
        history.wait(paused)
    networks = {trial.digest: trial.genotype for trial in recorded} if known.pending else {}
    for number, digest in known.pending:
        history.start(number, digest, networks.get(digest))


def _in_order_of_proposal(trial: Trial) -> tuple[int, int, int]:
    """Snapshots only grow; proposals from equal snapshots were made in the order of their numbers."""
    known = trial.proposal.known
    return (known.recorded, known.arrivals, trial.number) if known else (0, 0, trial.number)


def _essence(proposal: Proposal) -> tuple[Any, ...]:
    return proposal.genotype, proposal.proposer, proposal.parent
