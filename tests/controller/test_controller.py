"""The loop of a search: budget, duplicates, resume, failures, signals and a full disk."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig
from nas.controller.loop import run_search
from nas.controller.planned_trial import training_seed
from nas.controller.record import LAYERS, kept_weights
from nas.controller.signals import Interrupted, Stop
from nas.errors import AllTrialsFailedError, StorageError
from nas.pareto import front
from nas.schedulers.base import TrainFully
from nas.searchers import make_searcher
from nas.searchers.base import Searcher
from nas.space.load import load_space
from nas.study.history import History
from nas.study.study import Study
from nas.study.trial import Proposal
from nas.training.recipe import Recipe
from nas.training.task import Result, Task, ignore


class Scripted:
    """Evaluator in memory: `outcome(task)` is the result; the newest task ends first."""

    def __init__(self, outcome, slots=3):
        self.outcome, self.slots = outcome, slots
        self.tasks: list[Task] = []
        self.executed: list[int] = []
        self.most = 0

    def submit(self, task):
        self.tasks.append(task)
        self.most = max(self.most, len(self.tasks))

    def wait(self, timeout=None, *, on_epoch=ignore, on_times=ignore):
        task = self.tasks.pop()
        self.executed.append(task.number)
        on_epoch(task.number, {"epoch": 1})
        return [self.outcome(task)]

    def drain(self):
        pass

    def close(self):
        self.tasks.clear()


def complete(task):
    error = np.random.default_rng(task.seed).random()
    return Result(task.number, "complete", error=error, weights=b"weights of %d" % task.number)


def failed(task, reason="exception"):
    return Result(task.number, "failed", reason, f"Traceback of trial {task.number}")


class Fixed(Searcher):
    """Searcher that proposes the given genotypes in turn, with repeats."""

    name = "fixed"

    def __init__(self, genotypes):
        self.genotypes = genotypes

    def ask(self, space, history, **request):
        index = len(history.trials) + len(history.pending)
        return [Proposal(self.genotypes[index], self.name)]


@pytest.fixture(scope="module")
def space():
    return load_space("residual_vs_fractal")


@pytest.fixture(scope="module")
def genotypes(space):
    by_digest = {g.digest: g for g in map(space.sample, range(10))}
    return list(by_digest.values())


def search(space, outcome=complete, *, study=None, searcher=None, evaluator=None, trials=12, **options):
    study = History() if study is None else study
    searcher = searcher or make_searcher("random", study.objectives)
    evaluator = evaluator or Scripted(outcome)
    given = {field.name: options.pop(field.name) for field in fields(SearchConfig) if field.name in options}
    callbacks = Callbacks(**{name: options.pop(name) for name in [*options] if name.startswith("on_")})
    config = SearchConfig(space, searcher, Recipe(epochs=2), trials, seed=7, **given)
    run_search(config, study, evaluator, callbacks=callbacks, **options)
    return study


def test_fills_the_budget_with_every_slot_busy(space):
    evaluator = Scripted(complete)
    study = search(space, evaluator=evaluator)
    assert sorted(trial.number for trial in study.trials) == list(range(12))
    assert all(trial.complete and trial.epochs == 2 and trial.flops > 0 for trial in study.trials)
    assert evaluator.most == 3
    assert not study.pending
    assert len({trial.seed for trial in study.trials}) == 12
    assert [trial.number for trial in study.trials if trial.proposal.uniform]


def test_nothing_starts_that_would_end_after_the_time(space):
    def slow(task):
        time.sleep(0.05)
        return Result(task.number, "complete", error=0.5, duration=0.05)

    study = search(space, slow, evaluator=Scripted(slow, slots=1), trials=1000, seconds=0.5)
    assert 1 <= len(study.trials) <= 10
    assert not study.pending
    assert len(search(space, slow, trials=3, seconds=60.0).trials) == 3
    half = lambda task: Result(task.number, "complete", error=0.5, duration=30.0)  # noqa: E731
    assert len(search(space, half, evaluator=Scripted(half, slots=1), trials=9, seconds=60.0).trials) == 9
    started = time.monotonic()
    long = lambda task: Result(task.number, "complete", error=0.5, duration=1000.0)  # noqa: E731
    assert len(search(space, long, evaluator=Scripted(long, slots=1), trials=9, seconds=900.0).trials) == 1
    assert time.monotonic() - started < 60


def test_a_scheduler_is_told_when_no_new_trial_is_to_come(space):
    asked = []

    class Asked(TrainFully):
        def promote(self, running, *, closing):
            asked.append(closing)

    search(space, trials=5, scheduler=Asked())
    assert asked[:7] == [False] * 6 + [True]  # before each of five trials, and twice where there is no sixth


def test_same_seed_and_one_slot_give_the_same_search(space):
    runs = [
        search(space, evaluator=Scripted(complete, slots=1), searcher=make_searcher(name, ("error", "flops")))
        for name in ("evolution", "evolution")
    ]
    digests = [[(trial.digest, trial.error, trial.seed) for trial in run.trials] for run in runs]
    assert digests[0] == digests[1]


def test_callbacks_get_every_trial_and_event(space):
    trials, events, times = [], [], []
    search(
        space,
        trials=5,
        on_trial=lambda *seen: trials.append(seen),
        on_event=events.append,
        on_times=times.append,
    )
    assert {(spent.worker, spent.trial) for spent in times} == {("driver", number) for number in range(5)}
    assert all(spent.start <= spent.end and "recording" in spent.phases for spent in times)
    phases = {"proposing", "dispatching", "waiting", "recording"}
    assert {phase for spent in times for phase in spent.phases} == phases
    assert [progress.done for _, progress in trials] == [1, 2, 3, 4, 5]
    last = trials[-1][1]
    assert (last.total, last.complete, last.failed, last.running, last.remaining) == (5, 5, 0, 0, 0)
    assert Counter(event.kind for event in events) == {"start": 5, "epoch": 5}
    assert (
        events[0].proposal.genotype.digest == next(trial for trial, _ in trials if trial.number == 0).digest
    )
    assert events[-1].row == {"epoch": 1}


def test_resume_redoes_only_the_missing_numbers(space, tmp_path):
    path = tmp_path / "study.db"
    stop = Stop()
    with Study.create(path, objectives=("error", "flops"), domains=space.domains()) as study:

        def halt(trial, progress):
            if progress.done == 4:
                stop.request()

        with pytest.raises(Interrupted) as caught:
            search(space, study=study, on_trial=halt, stop=stop)
        assert caught.value.exit_code == 130
        before = [(trial.number, trial.digest) for trial in study.trials]
        assert 4 <= len(before) < 12
    with Study.open(path) as study:
        evaluator = Scripted(complete)
        search(space, study=study, evaluator=evaluator)
        assert [(t.number, t.digest) for t in study.trials][: len(before)] == before
        assert sorted([n for n, _ in before] + evaluator.executed) == list(range(12))
        again = Scripted(complete)
        search(space, study=study, evaluator=again)
        assert again.executed == []


def test_a_request_to_stop_is_acknowledged_and_workers_that_it_ends_fail_no_trial(space):
    """A signal to all processes of a job ends the workers, too."""
    acknowledged, said = threading.Event(), []

    class Ended(Scripted):
        drained = False

        def drain(self):
            self.drained = True

    def on_stop(*what):
        said.append(what)
        acknowledged.set()

    def outcome(task):
        if task.number == 4:
            os.kill(os.getpid(), signal.SIGINT)
            assert acknowledged.wait(10)
        return failed(task, "worker_lost") if evaluator.drained else complete(task)

    evaluator, study = Ended(outcome), History()
    with pytest.raises(Interrupted):
        search(space, study=study, evaluator=evaluator, on_stop=on_stop)
    assert said == [(signal.SIGINT, 3)]
    assert {trial.state for trial in study.trials} == {"complete"}
    assert not study.pending
    assert len(evaluator.executed) == len(study.trials) + 3


def test_the_time_left_leaves_out_the_start_of_the_workers(space, monkeypatch):
    """Two workers that take a minute to start and ten seconds a trial; trials of before count for nothing."""
    study = search(space, trials=2)
    clock = iter([0.0, *(60.0 + 10 * (i // 2 + 1) for i in range(8))])
    now = [next(clock)]
    monkeypatch.setattr("nas.controller.loop.time.monotonic", lambda: now[0])
    progresses = []

    class Pair(Scripted):
        def wait(self, timeout=None, *, on_epoch=ignore, on_times=ignore):
            now[0] = next(clock)
            task = self.tasks.pop(0)
            return [Result(task.number, "complete", error=task.number / 20, duration=10.0)]

    search(
        space,
        study=study,
        evaluator=Pair(complete, slots=2),
        trials=10,
        on_trial=lambda _, progress: progresses.append(progress),
    )
    left = [progress.remaining for progress in progresses]
    assert left[1] == pytest.approx(10 / 2.5 * 5.5)  # one more is in training, on average half done
    assert left[3] == pytest.approx(20 / 4.5 * 3.5)
    assert left[-1] == 0


def test_the_number_of_a_lost_trial_is_used_again(space):
    study = search(space, trials=6)
    holed = History()
    for trial in study.trials:
        if trial.number not in (1, 4):
            holed.record(trial)
    evaluator = Scripted(complete)
    search(space, study=holed, evaluator=evaluator, trials=6)
    assert sorted(evaluator.executed) == [1, 4]


def test_duplicate_reuses_the_earlier_result_without_training(space, genotypes):
    a, b, c = genotypes[:3]
    evaluator = Scripted(complete, slots=1)
    searcher = Fixed([a, b, a, c, a, b])
    study = search(space, searcher=searcher, evaluator=evaluator, trials=6, uniform_share=0)
    assert [trial.duplicate_of for trial in study.trials] == [None, None, 0, None, 0, 1]
    assert evaluator.executed == [0, 1, 3]
    first, copy = study.trials[0], study.trials[4]
    assert (first.error, first.seed, first.digest) == (copy.error, copy.seed, copy.digest)
    assert copy.duration == 0


def test_duplicate_of_a_running_trial_waits_for_it(space, genotypes):
    a, b = genotypes[:2]
    evaluator = Scripted(complete, slots=2)
    study = search(space, searcher=Fixed([a, a, a, b]), evaluator=evaluator, trials=4, uniform_share=0)
    assert sorted(evaluator.executed) == [0, 3]
    assert {trial.number: trial.duplicate_of for trial in study.trials} == {0: None, 1: 0, 2: 0, 3: None}


@pytest.mark.parametrize(("reason", "executed"), [("diverged", [0]), ("worker_lost", [0, 1])])
def test_failure_is_reused_if_it_lies_in_the_network(space, genotypes, reason, executed):
    def outcome(task):
        return complete(task) if task.number == 2 else failed(task, reason)

    evaluator = Scripted(outcome, slots=3)
    searcher = Fixed([genotypes[0], genotypes[0], genotypes[1]])
    study = search(space, searcher=searcher, evaluator=evaluator, trials=3, uniform_share=0)
    assert sorted(set(evaluator.executed) - {2}) == executed
    assert len(study.trials) == 3


def test_exhausted_space_ends_the_search(space):
    class Dry(Searcher):
        name = "dry"

        def __init__(self):
            pass

        def ask(self, space, history, *, number, **request):
            return [Proposal(space.sample(number), "dry")] if len(history.trials) < 2 else []

    study = History()
    config = SearchConfig(space, Dry(), Recipe(epochs=2), trials=12, seed=7, uniform_share=0)
    assert run_search(config, study, Scripted(complete, slots=1)) is True
    assert len(study.trials) == 2
    config = SearchConfig(space, Dry(), Recipe(epochs=2), trials=2, seed=7, uniform_share=0)
    assert run_search(config, History(), Scripted(complete, slots=1)) is False


def test_failures_in_a_row_stop_the_search_with_the_first_traceback(space):
    def outcome(task):
        return complete(task) if task.number < 3 else failed(task)

    study = History()
    with pytest.raises(AllTrialsFailedError, match="4 trials in a row") as caught:
        search(space, evaluator=Scripted(outcome, slots=1), study=study, trials=50, max_failures_in_row=4)
    assert caught.value.exit_code == 4
    assert "Traceback of trial 3" in str(caught.value)
    assert len(study.trials) == 7
    assert not study.pending


def test_scattered_failures_do_not_stop_the_search(space):
    study = search(space, lambda t: failed(t) if t.number % 3 else complete(t), max_failures_in_row=4)
    assert len(study.trials) == 12
    assert len(study.complete) == 4


def test_search_without_a_success_is_an_error(space):
    with pytest.raises(AllTrialsFailedError, match="all 3 trials have failed"):
        search(space, failed, trials=3)


def test_weights_of_the_first_layers_are_kept_and_no_others(space, tmp_path):
    seen = []

    def check(trial, progress):
        kept = {path.name for path in tmp_path.iterdir()}
        assert kept == kept_weights(study) >= {f"{member.number}.safetensors" for member in study.front()}
        seen.append(len(kept))

    study = History()
    search(space, study=study, trials=40, weights_dir=tmp_path, on_trial=check)
    left, near = {trial.number: trial.values(study.objectives) for trial in study.trials}, set()
    for _ in range(LAYERS):
        numbers = list(left)
        layer = {numbers[index] for index in front(list(left.values()))}
        near |= layer
        left = {number: values for number, values in left.items() if number not in layer}
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.safetensors" for n in near}
    assert left
    assert all(path.read_bytes() == b"weights of %d" % int(path.stem) for path in tmp_path.iterdir())
    assert len(seen) == 40


def test_trial_that_cannot_be_recorded_ends_the_search(space):
    class Full(History):
        def record(self, trial):
            if len(self.trials) == 3:
                raise StorageError("disk full")
            super().record(trial)

    study = Full()
    with pytest.raises(StorageError):
        search(space, study=study)
    assert len(study.trials) == 3
    assert not study.pending


def test_durations_and_progress_ignore_the_wall_clock(space, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: (_ for _ in ()).throw(AssertionError("wall clock")))
    seen = []
    began = time.monotonic()
    search(space, trials=3, on_trial=lambda trial, progress: seen.append(progress.elapsed))
    bounds = [0, *seen, time.monotonic() - began]
    assert bounds == sorted(bounds)


def test_runs_outside_the_main_thread(space):
    studies = []
    thread = threading.Thread(target=lambda: studies.append(search(space, trials=3)))
    thread.start()
    thread.join(30)
    assert len(studies[0].trials) == 3


def test_signal_handlers_are_restored(space):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    search(space, trials=2)
    with pytest.raises(AllTrialsFailedError):
        search(space, failed, trials=2)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == before


def test_each_trial_has_a_seed_of_its_own_that_is_kept():
    seeds = {training_seed(seed, number) for seed in range(3) for number in range(300)}
    assert len(seeds) == 900
    assert max(seeds) > 2**30
    assert (training_seed(0, 0), training_seed(7, 11)) == (1910792744, 1835792078)
