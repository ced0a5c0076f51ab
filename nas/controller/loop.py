"""The loop of a search: propose, count costs, train, record, with every slot busy.

There are no generations: whenever a slot is free, the searcher is asked again with all results known by
then. Each finished trial is recorded in one transaction before the next is looked at, so a search that is
interrupted loses only the trainings in progress."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig
from nas.controller.evaluators.base import Evaluator
from nas.controller.planned_trial import PlannedTrial, training_seed
from nas.controller.progress import Event, Progress
from nas.controller.record import record
from nas.controller.signals import Interrupted, Stop, stop_on_signals
from nas.errors import AllTrialsFailedError, ClusterLostError
from nas.graph.cost import cost
from nas.schedulers import Scheduler, TrainFully
from nas.searchers.base import propose
from nas.searchers.warm_start import warm_start_proposals
from nas.space.answers import decisions_of
from nas.space.genotype import expand
from nas.study.history import History
from nas.study.objectives import measures
from nas.study.trial import Proposal, Trial
from nas.training.profile import DRIVER, Laps, Times
from nas.training.task import Result, Task

MAX_FAILURES_IN_ROW = 10
NO_CALLBACKS = Callbacks()
LATELY = 20
"""Trials whose mean duration is expected of the next."""
TICK = 1.0
"""Seconds between two looks at whether the search was asked to stop."""

REUSED = ("", "diverged", "oom", "timeout")
"""Reasons that lie in the network. After any other failure a network that is proposed again is trained
again."""


def run_search(
    config: SearchConfig,
    study: History,
    evaluator: Evaluator,
    *,
    scheduler: Scheduler | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
    max_failures_in_row: int = MAX_FAILURES_IN_ROW,
    weights_dir: Path | None = None,
    stop: Stop | None = None,
) -> bool:
    """Fill `study` up to `config.trials` trials, warm starts first; recorded trials are left as they are.

    Ends early if the time is up, or if the searcher has no further network, in which case it returns True.
    Raises Interrupted after a signal or a request on `stop`, AllTrialsFailedError if nothing succeeds or too
    many trials fail in a row, StorageError if a trial cannot be recorded; what is recorded by then stays.

    evaluator: trains the networks; it stays open. scheduler: says for how many epochs, by default all of the
    recipe. max_failures_in_row: failures after which the search gives up. weights_dir: folder for the weights
    of the trials on the front, as <number>.safetensors; None keeps none.
    """
    search = _Search(
        config=config,
        study=study,
        evaluator=evaluator,
        scheduler=scheduler or TrainFully(),
        callbacks=callbacks,
        max_failures_in_row=max_failures_in_row,
        weights_dir=weights_dir,
        stop=stop or Stop(),
    )
    search.stop.on_request = search.stopping
    try:
        with stop_on_signals(search.stop):
            search.run()
    except (KeyboardInterrupt, ClusterLostError):
        if not search.stop.signal:
            raise
    finally:
        for number in list(study.pending):
            study.discard(number)
    if search.stop.signal:
        raise Interrupted(search.stop.signal)
    search.check_outcome()
    return search.exhausted


@dataclass(kw_only=True)
class _Search:
    """A running search: its settings, and its state from `running` on.

    running: by number. twins: trials that wait for the result of an equal network, by digest. failures: the
    latest failures in a row. trained_since: when the first training began, known once it has ended; the time
    left is reckoned without the start of the workers. already: trials that were done when this search began.
    failed: failures of the whole study. exhausted: whether the space holds nothing new. lap: how this process
    spends its time.
    """

    config: SearchConfig
    study: History
    evaluator: Evaluator
    scheduler: Scheduler
    callbacks: Callbacks
    max_failures_in_row: int
    weights_dir: Path | None
    stop: Stop
    running: dict[int, PlannedTrial] = field(default_factory=dict)
    twins: dict[str, list[PlannedTrial]] = field(default_factory=lambda: defaultdict(list))
    failures: list[Trial] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    trained_since: float | None = None
    already: int = 0
    failed: int = 0
    exhausted: bool = False
    lap: Laps = field(default_factory=Laps)

    def run(self) -> None:
        self.already = self.done
        self.failed = sum(trial.state == "failed" for trial in self.study.trials)
        while True:
            while self.begins and len(self.running) < self.evaluator.slots and self.fill():
                pass
            if not self.running:
                if not self.begins or self.exhausted or not self.trained_elsewhere():
                    break
                time.sleep(TICK)  # other drivers train the rest; if one is lost, its trials are free again
            results = self.evaluator.wait(TICK, on_epoch=self.epoch, on_times=self.callbacks.on_times)
            self.lap("waiting")
            for result in results:
                self.finish(result)
        if not self.stop.signal:
            for trial in list(self.study.paused.values()):
                self.settle(trial)

    @property
    def begins(self) -> bool:
        """Whether a training may begin: nothing asked to stop, and one of the typical length ends in time."""
        if self.stop.signal or self.config.seconds is None:
            return not self.stop.signal
        lately = [trial.duration for trial in self.study.complete[-LATELY:]]
        typical = sum(lately) / len(lately) if lately else 0.0
        return time.monotonic() - self.began + typical < self.config.seconds

    def trained_elsewhere(self) -> bool:
        """Return whether other drivers train trials: what is pending and is neither paused nor a twin
        here."""
        twins = {planned.number for twins in self.twins.values() for planned in twins}
        return bool(self.study.pending.keys() - self.study.paused.keys() - twins)

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
        with self.study.reserve_number(self.config.trials) as number:
            if number is None:
                return False
            proposal = propose(
                self.config.searcher,
                self.config.space,
                self.study,
                seed=self.config.seed,
                number=number,
                uniform_share=self.config.uniform_share,
                seeds=self.warm_starts,
                scheduler=self.scheduler,
            )
            if proposal is None:
                self.exhausted = True
                return False
            genotype = proposal.genotype
            earlier = self.study.by_digest(genotype.digest)
            in_flight = genotype.digest in self.study.pending.values()
            self.study.mark_running(number, genotype.digest, genotype)
        self.begin(self.planned(number, proposal), earlier, in_flight)
        return True

    def planned(self, number: int, proposal: Proposal) -> PlannedTrial:
        genotype, space = proposal.genotype, self.config.space
        figures = cost(expand(genotype, space.input_shape, space.num_classes))
        decisions = decisions_of(space, genotype, strict=not proposal.design)
        seed = proposal.design.get("seed") or training_seed(self.config.seed, number)
        return PlannedTrial(number, proposal, figures, decisions, seed)

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
    def warm_starts(self) -> list[Proposal]:
        return warm_start_proposals(self.config.warm_starts)

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
        self.callbacks.on_event(Event("start", planned.number, planned.proposal, planned.cost))

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        planned = self.running[number]
        self.callbacks.on_event(Event("epoch", number, planned.proposal, planned.cost, row))

    def finish(self, result: Result) -> None:
        """Record the trial of a result, or pause it at its rung."""
        planned = self.running.pop(result.number)
        if self.stop.signal and result.reason == "worker_lost":
            return  # what asked the search to stop may have ended the worker, too
        if self.trained_since is None:
            self.trained_since = time.monotonic() - result.duration
        trial = planned.trial(result, self.config.recipe.epochs, self.study.paused.get(result.number))
        self.failures = [*self.failures, trial] if trial.state == "failed" else []
        if result.checkpoint:
            self.scheduler.pause(trial, result.checkpoint)
            progress, row = self.progress(), trial.curve[-1]
            self.callbacks.on_event(Event("rung", trial.number, trial.proposal, trial.cost, row, progress))
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
        self.callbacks.on_trial(trial, self.progress())
        self.lap("recording")
        self.callbacks.on_times(Times(self.lap.start, self.lap.last, self.lap.phases, trial.number, DRIVER))
        self.lap = Laps(self.lap.last)

    @property
    def done(self) -> int:
        return len(self.study.trials) + len(self.study.paused)

    def progress(self) -> Progress:
        now, done, total, running = time.monotonic(), self.done, self.config.trials, len(self.running)
        left, lately, remaining = max(0, total - done), done - self.already, None
        if lately and (left or not running):
            halves = min(running, left) / 2  # what is in training is half done, on average
            trained = now - (self.began if self.trained_since is None else self.trained_since)
            remaining = trained / (lately + halves) * (left - halves)
        if self.config.seconds is not None and left:
            in_time = max(0.0, self.began + self.config.seconds - now)
            remaining = in_time if remaining is None else min(remaining, in_time)
        complete, elapsed = len(self.study.complete), now - self.began
        return Progress(done, total, complete, self.failed, running, elapsed, remaining)

    def stopping(self) -> None:
        """Report a request to stop. In a signal handler no lock may be waited for, as printing does."""
        self.evaluator.drain()
        report = self.callbacks.on_stop
        threading.Thread(target=report, args=(self.stop.signal, len(self.running)), daemon=True).start()

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
