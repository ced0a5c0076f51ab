"""Replays a run: asks its searcher for every proposal again, with the history it was made from.

Every proposal holds a snapshot of its history: how many trials were recorded, what was in flight and how many
rung results there were (`nas.study.trial.HistorySnapshot`). So a run can be replayed proposal by proposal,
whatever its number of workers and whether or not it was resumed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.schedulers import make_scheduler, rung_results
from nas.searchers import make_searcher
from nas.searchers.base import REPEATS, propose
from nas.searchers.warm_start import find_warm_starts, warm_start_proposals
from nas.study.history import History
from nas.study.trial import HistorySnapshot, Proposal, Trial

if TYPE_CHECKING:
    from nas.study.run import Run


@dataclass(frozen=True)
class Replay:
    """The outcome of a replay.

    same: how many proposals came out the same. unknown: numbers of the trials without a snapshot, or made
    beside a network that was lost in training, if the searcher looks at these. differs:
    the first trial whose proposal differs, with what is `proposed` now (None for nothing)."""

    same: int
    unknown: tuple[int, ...] = ()
    differs: Trial | None = None
    proposed: Proposal | None = None


def replay(run: Run) -> Replay:
    """Ask the searcher of a run for its proposals again, each from the history it was made from. Trains
    nothing.

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
    unknown = [trial.number for trial in recorded if trial.proposal.snapshot is None]
    scheduler = make_scheduler(config.fidelity, history, run.space, folder=None)  # promotes nothing
    results = deque(rung_results(recorded, config.fidelity))
    same = 0
    for trial in sorted(recorded, key=_in_order_of_proposal):
        known = trial.proposal.snapshot
        if known is None:
            continue
        complete = _advance(history, run.study, results, known)
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
        for number, _ in known.pending:
            history.discard(number)
        if searcher.reads_running and not complete:
            unknown.append(trial.number)
            continue
        if proposed is None or _essence(proposed) != _essence(trial.proposal):
            return Replay(same, tuple(sorted(unknown)), trial, proposed)
        same += 1
    return Replay(same, tuple(sorted(unknown)))


def _advance(history: History, study: History, results: deque[Trial], known: HistorySnapshot) -> bool:
    """Bring a history to a snapshot of the study; takes the rung results that it adds from `results`.

    Returns whether every network in training is known: a snapshot holds digests, and the network of a trial
    that was lost with its driver is recorded nowhere."""
    for trial in study.trials[len(history.trials) : known.recorded]:
        history.record(trial)
    while results and results[0].rung_order[-1] <= known.rung_results:
        paused = results.popleft()
        if history.by_number(paused.number) is None:
            history.mark_running(paused.number, paused.digest)
        history.pause(paused)
    complete = True
    for number, digest in known.pending:
        later = study.by_number(number)
        genotype = later.genotype if later and later.digest == digest else None
        complete &= genotype is not None
        history.mark_running(number, digest, genotype)
    return complete


def _in_order_of_proposal(trial: Trial) -> tuple[int, int, int]:
    """Sort trials by snapshot, which only grows, then by number, the order within equal snapshots."""
    known = trial.proposal.snapshot
    return (known.recorded, known.rung_results, trial.number) if known else (0, 0, trial.number)


def _essence(proposal: Proposal) -> tuple[Any, ...]:
    return proposal.genotype, proposal.proposer, proposal.parent
