"""The loop of a search: propose, count, train, record, with every slot busy.

There are no generations: whenever a slot is free the searcher is asked again, with all
that is known by then. Each finished trial is recorded in one transaction before the next
is looked at, so a search that is cut short loses only what was being trained.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nas.controller.evaluators.base import Evaluator, OnTimes
from nas.controller.progress import Event, Progress
from nas.controller.record import record
from nas.controller.signals import Interrupted, Stop, stop_on_signals
from nas.errors import AllTrialsFailedError, ClusterLostError
from nas.graph.cost import Cost, cost
from nas.schedulers import Scheduler, TrainFully
from nas.searchers import Searcher, propose
from nas.space.genotype import expand
from nas.space.space import SearchSpace, decisions_of
from nas.study.history import History
from nas.study.objectives import measures
from nas.study.trial import Proposal, Trial
from nas.training.profile import DRIVER, Laps, Times
from nas.training.task import Result, Task, ignore

MAX_FAILURES_IN_ROW = 10
TICK = 1.0
"""Seconds after which the loop looks whether it has been asked to stop."""

REUSED = ("", "diverged", "oom", "timeout")
"""Reasons that lie in the network; other failures are tried again when it is proposed again."""


@dataclass(frozen=True)
class PlannedTrial:
    """A proposal with all that is known before it is trained."""

    number: int
    proposal: Proposal
    cost: Cost
    decisions: Mapping[str, Any]
    seed: int


def run_search(
    study: History,
    space: SearchSpace,
    searcher: Searcher,
    evaluator: Evaluator,
    *,
    trials: int,
    seed: int,
    epochs: int,
    uniform_share: float = 0.2,
    seeds: Sequence[Proposal] = (),
    scheduler: Scheduler | None = None,
    max_failures_in_row: int = MAX_FAILURES_IN_ROW,
    weights_dir: Path | None = None,
    on_trial: Callable[[Trial, Progress], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_times: OnTimes | None = None,
    stop: Stop | None = None,
) -> None:
    """Fill `study` up to `trials` trials, `seeds` first; those it already has are left as they are.

    Ends early where the space is exhausted. With `rungs` a trial is trained on from each of them only
    where it is promoted, and recorded as stopped if the search ends before. Weights of the trials on
    the front are kept as weights_dir/<number>.safetensors. Raises Interrupted after a signal or a request on
    `stop`, AllTrialsFailedError when nothing succeeds or too many trials fail in a row,
    StorageError when a trial cannot be recorded; whatever is recorded then stays.
    """
    search = _Search(
        study=study,
        space=space,
        searcher=searcher,
        evaluator=evaluator,
        trials=trials,
        seed=seed,
        epochs=epochs,
        uniform_share=uniform_share,
        seeds=seeds,
        scheduler=scheduler or TrainFully(),
        max_failures_in_row=max_failures_in_row,
        weights_dir=weights_dir,
        on_trial=on_trial or ignore,
        on_event=on_event or ignore,
        on_times=on_times or ignore,
        stop=stop or Stop(),
    )
    evaluator.on_epoch, evaluator.on_times = search.epoch, search.on_times
    try:
        with stop_on_signals(search.stop):
            search.run()
    except (KeyboardInterrupt, ClusterLostError):
        if not search.stop.signal:
            raise
    finally:
        evaluator.on_epoch = evaluator.on_times = ignore
        for number in list(study.pending):
            study.give_up(number)
    if search.stop.signal:
        raise Interrupted(search.stop.signal)
    search.check_outcome()


@dataclass(kw_only=True)
class _Search:
    """A running search; what is not given is its state.

    twins: candidates that wait for the result of an equal one, by digest; failures: the
    last failures in a row; already: trials done when it began; failed: of the whole study;
    exhausted: nothing new is found; lap: what this process does with its time.
    """

    study: History
    space: SearchSpace
    searcher: Searcher
    evaluator: Evaluator
    trials: int
    seed: int
    epochs: int
    uniform_share: float
    seeds: Sequence[Proposal]
    scheduler: Scheduler
    max_failures_in_row: int
    weights_dir: Path | None
    on_trial: Callable[[Trial, Progress], None]
    on_event: Callable[[Event], None]
    on_times: OnTimes
    stop: Stop
    running: dict[int, PlannedTrial] = field(default_factory=dict)
    twins: dict[str, list[PlannedTrial]] = field(default_factory=lambda: defaultdict(list))
    failures: list[Trial] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    already: int = 0
    failed: int = 0
    exhausted: bool = False
    lap: Laps = field(default_factory=Laps)

    def run(self) -> None:
        self.already = self.done
        self.failed = sum(trial.state == "failed" for trial in self.study.trials)
        while True:
            while not self.stop.signal and len(self.running) < self.evaluator.slots and self.fill():
                pass
            if not self.running:
                if self.stop.signal or self.exhausted or not self.trained_elsewhere():
                    break
                time.sleep(TICK)  # other drivers train the rest, and one of them may be lost
            results = self.evaluator.wait(TICK)
            self.lap("waiting")
            for result in results:
                self.finish(result)
        if not self.stop.signal:
            for trial in list(self.study.waiting.values()):
                self.settle(trial)

    def trained_elsewhere(self) -> bool:
        """Return whether other drivers train trials: what is pending and is neither paused nor a twin
        here."""
        twins = {candidate.number for twins in self.twins.values() for candidate in twins}
        return bool(self.study.pending.keys() - self.study.waiting.keys() - twins)

    def fill(self) -> bool:
        """Promote a trial, or begin a new one. Return False where there is neither."""
        return self.promote(closing=False) or self.start() or self.promote(closing=True)

    def promote(self, *, closing: bool) -> bool:
        trial = self.scheduler.promote(self.running, closing=closing)
        if trial is not None:
            self.dispatch(PlannedTrial(trial.number, trial.proposal, trial.cost, trial.decisions, trial.seed))
        return trial is not None

    def start(self) -> bool:
        """Propose the next trial and dispatch it, or reuse a result. False where there is none."""
        if self.exhausted:
            return False
        with self.study.turn(self.trials) as number:
            if number is None:
                return False
            proposal = propose(
                self.searcher,
                self.space,
                self.study,
                seed=self.seed,
                number=number,
                uniform_share=self.uniform_share,
                seeds=self.seeds,
                scheduler=self.scheduler,
            )
            if proposal is None:
                self.exhausted = True
                return False
            genotype = proposal.genotype
            earlier = self.study.by_digest(genotype.digest)
            in_flight = genotype.digest in self.study.pending.values()
            self.study.start(number, genotype.digest)
        candidate = PlannedTrial(
            number,
            proposal,
            cost(expand(genotype, self.space.input_shape, self.space.num_classes)),
            decisions_of(self.space, genotype, strict=not proposal.design),
            proposal.design.get("seed") or training_seed(self.seed, number),
        )
        self.lap("proposing")
        if proposal.design:  # planned as a training of its own
            self.dispatch(candidate)
        elif earlier is not None and earlier.reason in REUSED and earlier.state != "stopped":
            self.reuse(candidate, earlier)
        elif in_flight:
            self.twins[genotype.digest].append(candidate)
        else:
            self.dispatch(candidate)
        return True

    @cached_property
    def measures(self) -> dict[str, Callable[..., Any]]:
        return measures(self.study.objectives)

    def dispatch(self, candidate: PlannedTrial) -> None:
        self.running[candidate.number] = candidate
        asked = "latency" in self.study.objectives
        genotype, seed = candidate.proposal.genotype, candidate.seed
        part = self.scheduler.next_epochs(candidate.number)
        task = Task(candidate.number, genotype, seed, latency=asked, measures=self.measures, part=part)
        self.evaluator.submit(task)
        self.lap("dispatching")
        self.on_event(Event("start", candidate.number, candidate.proposal, candidate.cost))

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        candidate = self.running[number]
        self.on_event(Event("epoch", number, candidate.proposal, candidate.cost, row))

    def finish(self, result: Result) -> None:
        """Record a result, or let the trial wait at the rung that it has come to."""
        candidate = self.running.pop(result.number)
        trial = self.trial(candidate, result)
        self.failures = [*self.failures, trial] if trial.state == "failed" else []
        if result.checkpoint:
            self.scheduler.pause(trial, result.checkpoint)
            progress, row = self.progress(), trial.curve[-1]
            self.on_event(Event("rung", trial.number, trial.proposal, trial.cost, row, progress))
        else:
            self.settle(trial, result.weights)
        if len(self.failures) >= self.max_failures_in_row:
            raise _all_failed(self.failures, f"{len(self.failures)} trials in a row have failed")

    def settle(self, trial: Trial, weights: bytes | None = None) -> None:
        """Record a trial that has ended, and with it the candidates that waited for its result."""
        self.record(trial, weights)
        for twin in self.twins.pop(trial.digest, ()):
            if trial.reason in REUSED:
                self.reuse(twin, trial)
            elif not self.stop.signal:
                self.dispatch(twin)

    def reuse(self, candidate: PlannedTrial, earlier: Trial) -> None:
        """Record a network that was trained before with the result of then."""
        origin = earlier.number if earlier.duplicate_of is None else earlier.duplicate_of
        fields = ("state", "reason", "message", "error", "curve", "latency", "measured")
        result = Result(candidate.number, **{name: getattr(earlier, name) for name in fields})
        trial = self.trial(candidate, result)
        self.record(replace(trial, duplicate_of=origin, seed=earlier.seed, epochs=earlier.epochs))

    def trial(self, candidate: PlannedTrial, result: Result) -> Trial:
        """With what it had come to before, where the result is of a part of its training."""
        before = self.study.waiting.get(candidate.number)
        curve = (*before.curve, *result.curve) if before else result.curve
        return Trial(
            number=candidate.number,
            proposal=candidate.proposal,
            state=result.state,
            cost=candidate.cost,
            decisions=candidate.decisions,
            seed=candidate.seed,
            epochs=len(curve) if result.state == "stopped" else self.epochs,
            reason=result.reason,
            message=result.message,
            error=result.error,
            duration=result.duration + (before.duration if before else 0.0),
            retries=result.retries + (before.retries if before else 0),
            curve=curve,
            latency=result.latency,
            measured=result.measured,
            arrivals=before.arrivals if before else (),
        )

    def record(self, trial: Trial, weights: bytes | None = None) -> None:
        trial = self.scheduler.finish(trial)
        record(self.study, trial, weights, self.weights_dir)
        self.scheduler.forget(trial)
        self.failed += trial.state == "failed"
        self.on_trial(trial, self.progress())
        self.lap("recording")
        self.on_times(Times(self.lap.start, self.lap.last, self.lap.phases, trial.number, DRIVER))
        self.lap = Laps(self.lap.last)

    @property
    def done(self) -> int:
        return len(self.study.trials) + len(self.study.waiting)

    def progress(self) -> Progress:
        done, complete, running = self.done, len(self.study.complete), len(self.running)
        elapsed, left, lately = time.monotonic() - self.began, max(0, self.trials - done), done - self.already
        remaining = elapsed / lately * left if lately and (left or not running) else None
        return Progress(done, self.trials, complete, self.failed, running, elapsed, remaining)

    def check_outcome(self) -> None:
        if self.failed and not self.study.complete:
            failed = [trial for trial in self.study.trials if trial.state == "failed"]
            raise _all_failed(failed, f"all {len(failed)} trials have failed")


def training_seed(seed: int, number: int) -> int:
    """Of trial `number` in a search of this seed."""
    return int(np.random.default_rng([seed, number, 1]).integers(2**31))


def _all_failed(failures: Any, message: str) -> AllTrialsFailedError:
    first = failures[0]
    return AllTrialsFailedError(
        f"{message}; the first, trial {first.number} ({first.reason}):\n{first.message.rstrip()}",
        hint="--workers 0 trains in this process, where a debugger reaches",
    )
