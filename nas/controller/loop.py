"""The loop of a search: propose, count costs, train, record, with every slot busy.

There are no generations: whenever a slot is free, the searcher is asked again with all results known by
then. Each finished trial is recorded in one transaction before the next is looked at, so a search that is
interrupted loses only the trainings in progress."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.controller.evaluators.base import Evaluator, OnTimes
from nas.controller.planned_trial import PlannedTrial, training_seed
from nas.controller.progress import Event, Progress
from nas.controller.record import record
from nas.controller.signals import Interrupted, Stop, stop_on_signals
from nas.errors import AllTrialsFailedError, ClusterLostError
from nas.graph.cost import cost
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
"""Seconds between two looks at whether the search was asked to stop."""

REUSED = ("", "diverged", "oom", "timeout")
"""Reasons that lie in the network. After any other failure a network that is proposed again is trained
again."""


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
    """A running search: its settings, and its state from `running` on.

    running: by number. twins: trials that wait for the result of an equal network, by digest. failures: the
    latest failures in a row. already: trials that were done when this search began. failed: failures of the
    whole study. exhausted: whether the space holds nothing new. lap: how this process spends its time.
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
                time.sleep(TICK)  # other drivers train the rest; if one is lost, its trials are free again
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
        twins = {planned.number for twins in self.twins.values() for planned in twins}
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
        """Begin the next trial, by training it or by reusing a result. Return False where there is none."""
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
            self.study.start(number, genotype.digest, genotype)
        self.begin(self.planned(number, proposal), earlier, in_flight)
        return True

    def planned(self, number: int, proposal: Proposal) -> PlannedTrial:
        genotype, seed = proposal.genotype, proposal.design.get("seed")
        figures = cost(expand(genotype, self.space.input_shape, self.space.num_classes))
        decisions = decisions_of(self.space, genotype, strict=not proposal.design)
        return PlannedTrial(number, proposal, figures, decisions, seed or training_seed(self.seed, number))

    def begin(self, planned: PlannedTrial, earlier: Trial | None, in_flight: bool) -> None:
        """Train a trial, or reuse the result of an `earlier` one or of one in flight.

        Of a design each trial is trained, as equal networks differ in their seeds.
        """
        self.lap("proposing")
        proposal = planned.proposal
        if not proposal.design and earlier and earlier.reason in REUSED and earlier.state != "stopped":
            self.reuse(planned, earlier)
        elif not proposal.design and in_flight:
            self.twins[proposal.genotype.digest].append(planned)
        else:
            self.dispatch(planned)

    @cached_property
    def measures(self) -> dict[str, Callable[..., Any]]:
        return measures(self.study.objectives)

    def dispatch(self, planned: PlannedTrial) -> None:
        self.running[planned.number] = planned
        asked = "latency" in self.study.objectives
        genotype, seed = planned.proposal.genotype, planned.seed
        part = self.scheduler.next_epochs(planned.number)
        task = Task(planned.number, genotype, seed, latency=asked, measures=self.measures, part=part)
        self.evaluator.submit(task)
        self.lap("dispatching")
        self.on_event(Event("start", planned.number, planned.proposal, planned.cost))

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        planned = self.running[number]
        self.on_event(Event("epoch", number, planned.proposal, planned.cost, row))

    def finish(self, result: Result) -> None:
        """Record the trial of a result, or pause it at its rung."""
        planned = self.running.pop(result.number)
        trial = planned.trial(result, self.epochs, self.study.waiting.get(result.number))
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
        """Record a trial that has ended, and its twins with the same result."""
        self.record(trial, weights)
        for twin in self.twins.pop(trial.digest, ()):
            if trial.reason in REUSED:
                self.reuse(twin, trial)
            elif not self.stop.signal:
                self.dispatch(twin)

    def reuse(self, planned: PlannedTrial, earlier: Trial) -> None:
        """Record a trial with the result of an earlier training of its network."""
        self.record(planned.copy_of(earlier))

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


def _all_failed(failures: Any, message: str) -> AllTrialsFailedError:
    first = failures[0]
    return AllTrialsFailedError(
        f"{message}; the first, trial {first.number} ({first.reason}):\n{first.message.rstrip()}",
        hint="--workers 0 trains in this process, where a debugger reaches",
    )
