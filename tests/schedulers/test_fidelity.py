"""Successive halving: the rule of promotion, and searches that stop and go on at rungs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from testing.paths import ROOT

from nas.controller.config import prepare
from nas.controller.loop import run_search
from nas.controller.signals import Interrupted, Stop
from nas.data import load_data
from nas.errors import NasError, StorageError
from nas.graph.cost import Cost, cost
from nas.pareto import front
from nas.schedulers.extrapolated_history import Standing
from nas.schedulers.rung_store import Rungs
from nas.schedulers.successive_halving import (
    BANDS,
    FEW,
    Drawn,
    Halving,
    Standings,
    best_share,
    check_rungs,
    excess,
    expected_epochs,
    near_front,
)
from nas.searchers import make_searcher
from nas.space.genotype import expand
from nas.space.space import load_space
from nas.study.history import History
from nas.study.run import open_run
from nas.study.study import Study
from nas.study.trial import Proposal, Trial
from nas.surrogate.learning_curve import GROWTH
from nas.training.candidate import train_candidate
from nas.training.recipe import Recipe, staged
from nas.training.task import Result, Task, ignore

RUNGS = (1, 3, 9)


@pytest.fixture(scope="module")
def space():
    return load_space("residual_vs_fractal")


def stood(space, number, errors, flops, decisions=None):
    """A trial after as many epochs as there are errors."""
    rows = tuple({"epoch": at, "val_error": error} for at, error in enumerate(errors, 1))
    return Trial(
        number=number,
        proposal=Proposal(space.sample(number), "random"),
        state="stopped",
        cost=Cost(0, flops, 0, 0),
        decisions=decisions or {},
        seed=number,
        epochs=len(rows),
        error=errors[-1],
        curve=rows,
    )


def drawn(n, d=2, seed=0):
    """Points (error, cost, ...) of n networks, the larger ones better by far."""
    rng = np.random.default_rng(seed)
    flops = np.exp(rng.uniform(0, 5, n))
    error = 0.6 - 0.08 * np.log(flops) + rng.uniform(0, 0.1, n)
    return np.column_stack([error, flops, *rng.random((max(0, d - 2), n))])[:, :d], flops


class TestRule:
    @pytest.mark.parametrize("d", [1, 2, 3])
    @pytest.mark.parametrize("seed", range(5))
    def test_excess_is_zero_on_the_front_and_what_is_missing_elsewhere(self, d, seed):
        points, _ = drawn(40, d, seed)
        above, on_front = excess(points), set(front(points).tolist())
        assert {at for at in range(40) if above[at] == 0} == on_front
        for at in set(range(40)) - on_front:
            moved = points.copy()
            moved[at, 0] -= above[at] + 1e-9
            assert at in front(moved)
            moved[at, 0] += 2e-9
            assert at not in front(moved)

    @pytest.mark.parametrize("n", [1, 2, 3, 7, 15, 40, 100])
    def test_every_band_promotes_its_share_and_no_more(self, n):
        points, flops = drawn(n)
        goes = best_share(points, flops, 3, np.zeros(len(points), bool))
        assert goes.sum() <= n // 3
        assert goes.sum() >= n // 3 - BANDS + 1
        bands = max(1, min(BANDS, n // 3))
        for band in np.array_split(np.argsort(flops), bands):
            assert goes[band].sum() == len(band) // 3 or n % bands

    def test_small_networks_are_not_killed_by_large_ones(self):
        points, flops = drawn(60)
        goes = best_share(points, flops, 3, np.zeros(len(points), bool))
        small = flops < np.median(flops)
        assert points[small, 0].min() > np.quantile(points[:, 0], 1 / 3)  # by error alone none would go on
        assert goes[small].sum() >= 8

    def test_who_went_on_too_early_has_taken_a_place(self):
        points, flops = drawn(15)
        first = best_share(points, flops, 3, np.zeros(15, bool))
        gone = np.zeros(15, bool)
        lowest = np.argsort(flops)[:3]
        gone[lowest[~first[lowest]][0]] = True
        goes = best_share(points, flops, 3, gone)
        assert not goes[lowest].any()
        assert goes.sum() == first.sum() - 1

    def test_with_the_error_alone_the_best_go_on_whatever_their_size(self):
        points, flops = drawn(60, d=1)
        goes = best_share(points, flops, 3, np.zeros(len(points), bool))
        assert set(np.flatnonzero(goes)) == set(np.argsort(points[:, 0])[:20])

    def test_the_front_comes_first_within_a_band(self):
        points, flops = drawn(60)
        goes = best_share(points, flops, 3, np.zeros(len(points), bool))
        above = excess(points)
        for band in np.array_split(np.argsort(flops), BANDS):
            assert above[band][goes[band]].max() <= above[band][~goes[band]].min()

    def test_what_is_near_the_front_goes_on_after_it(self, space, measured):
        """Its band has sent on its share before; 2 is no cheaper than 1, and worse by less than the noise."""
        errors = [0.5, 0.4, 0.41, *[0.9] * 7]
        standings = self.at_first_rung(space, [(error, 10 + at) for at, error in enumerate(errors)])
        waiting, found = dict.fromkeys([1, 2], 0), []
        while (number := standings.promoted(waiting, images=100, closing=True)) is not None:
            found.append(number)
            del waiting[number]
        assert found == [1, 2]

    @pytest.mark.parametrize("closing", [False, True])
    def test_halving_decides_how_much_goes_on_until_no_further_candidate_is_to_come(
        self, space, measured, closing
    ):
        """All are on the front of their rung; what goes on is taken for on its way."""
        points = [(0.9 - at / 100, 100 + at) for at in range(30)]
        standings = self.at_first_rung(space, points)
        waiting, going = dict.fromkeys(range(30), 0), []
        while (number := standings.promoted(waiting, going, images=100, closing=closing)) is not None:
            going.append(number)
            del waiting[number]
        compute = np.array([flops for _, flops in points])
        allowed = compute.sum() * (2 / 3 + 6 / 9)
        last, before = compute[going].sum() * 2, compute[going[:-1]].sum() * 2
        if closing:
            assert sorted(going) == list(range(30))
        else:
            assert before < allowed <= last

    def test_that_goes_first_from_which_most_is_hoped_for_its_compute(self, space, measured):
        """0 is complete. 1 and 2 are as good, and 2 takes ten times the FLOPs; 3 is hardly better than 0."""
        standings = self.at_first_rung(space, [(0.5, 100), (0.4, 110), (0.4, 1000), (0.53, 100)])
        standings.history.wait(stood(space, 0, [0.5] * 9, 100))
        standings.history.wait(stood(space, 4, [0.9], 2000))  # up to where hypervolumes reach
        found = []
        while left := {number: 0 for number in (3, 2, 1) if number not in found}:
            found.append(standings.promoted(left, images=100, closing=True))
        assert found == [1, 2, 3]

    def test_who_nearly_is_at_the_end_takes_less(self, space, measured):
        points = [(0.9, 10), *[(0.5, 1000 + at) for at in range(3)]]
        standings = self.at_first_rung(space, points)
        standings.history.wait(stood(space, 2, [0.5] * 3, 1002))
        assert standings.promoted({1: 0, 2: 1, 3: 0}, images=100, closing=True) == 2

    def test_of_a_few_the_front_waits_for_more(self, space):
        for count, found in ((FEW - 1, None), (FEW, FEW - 1)):
            standings = self.at_first_rung(space, [(0.9 - at / 20, 10 + at) for at in range(count)])
            waiting = {count - 1: 0}
            assert standings.promoted(waiting, images=100, closing=False) == found
            assert standings.promoted(waiting, images=100, closing=True) == count - 1

    def at_first_rung(self, space, points):
        standings = Standings(RUNGS, History())
        for at, (error, flops) in enumerate(points):
            standings.history.wait(stood(space, at, [error], flops))
        return standings

    @pytest.fixture
    def measured(self, monkeypatch):
        """What is expected is what was measured, give or take 0.02."""
        told = lambda self, trials: [(trial.error, 0.02) for trial in trials]  # noqa: E731
        monkeypatch.setattr(Standings, "expected", told)

    def test_who_was_lucky_at_a_rung_does_not_go_before_who_shares_good_decisions(self, space):
        """Equal errors, equal FLOPs: others with the option of 1 did well, those with that of 0 badly."""
        standings = Standings((1, 3), History())
        for at in range(2, 22):
            standings.history.wait(stood(space, at, [0.7 - 0.2 * (at % 2)], 100, {"width": at % 2}))
        for at in (0, 1):
            standings.history.wait(stood(space, at, [0.5], 100, {"width": at}))
        assert standings.promoted({0: 0, 1: 0}, images=100, closing=False) == 1
        (lucky, _), (good, _) = standings.expected([standings.trials[0], standings.trials[1]])
        assert good < lucky

    def test_how_a_trial_stood_before_takes_no_part(self, space):
        standings = Standings(RUNGS, History())
        before, later = stood(space, 0, [0.5], 10), stood(space, 0, [0.5, 0.4, 0.3], 10)
        for trial in (before, later):
            standings.history.wait(trial)
            assert standings.promoted({}, images=100, closing=True) is None
            assert standings.trials == {0: trial}

    def test_a_resumed_search_promotes_as_one_in_a_single_go(self, space):
        """As one that follows a resumed search is asked first when much is there."""
        rng = np.random.default_rng(0)
        asked = Standings(RUNGS, History())
        waiting = {}
        for number in range(60):
            decisions = {"width": int(rng.integers(3)), "type": int(rng.integers(3))}
            errors = [0.5 + 0.1 * decisions["width"] + 0.1 * rng.random()]
            asked.history.wait(stood(space, number, errors, 10 + number, decisions))
            waiting[number] = 0
            found = asked.promoted(waiting, images=100, closing=False)
            again = Standings(asked.rungs, asked.history)
            assert again.promoted(waiting, images=100, closing=False) == found
            if found is not None:
                rung, resting = waiting.pop(found) + 1, asked.trials[found]
                rows = [row["val_error"] for row in resting.curve]
                rows += [rows[-1] * 0.9] * (RUNGS[rung] - len(rows))
                asked.history.wait(stood(space, found, rows, resting.flops, resting.decisions))
                if RUNGS[rung] < RUNGS[-1]:
                    waiting[found] = rung
        assert {len(trial.curve) for trial in asked.trials.values()} == set(RUNGS)

    def test_of_as_many_proposals_as_the_ratio_of_rungs_one_is_begun(self, space):
        standings = Standings(RUNGS, History())
        for number in range(FEW):
            assert standings.draws() == 1
            standings.history.wait(
                stood(space, number, [0.7 - 0.2 * (number % 2)], 100, {"width": number % 2})
            )
        assert standings.draws() == 3
        bad, good, dear = (
            Drawn(Cost(0, flops, 0, 0), {"width": width}) for width, flops in ((0, 100), (1, 100), (1, 10**4))
        )
        assert [standings.preferred(drawn) for drawn in ((bad, good), (good, bad), (dear, good))] == [1, 0, 1]

    @pytest.mark.parametrize(
        ("rungs", "others", "count"),
        [
            (RUNGS, (), 3),
            (RUNGS, ("flops", "params"), 3),
            (RUNGS, ("latency",), 1),  # known only of what is trained
            ((2, 3), (), 1),
            ((1, 100), (), 4),
        ],
    )
    def test_how_many_proposals_there_are_for_a_trial(self, space, rungs, others, count):
        standings = Standings(rungs, History(("error", *others)))
        for number in range(FEW):
            standings.history.wait(stood(space, number, [0.5], 100))
        assert standings.draws() == count

    def test_a_proposal_on_which_results_had_a_say_is_not_uniform(self, space, tmp_path):
        study = search(space, tmp_path, searcher="random", trials=30, uniform_share=0.2)
        uniform = [trial.number for trial in study.trials if trial.proposal.uniform]
        slice_ = [number for number in range(30) if number % 5 == 4]
        assert {trial.proposal.proposer for trial in study.trials} == {"random"}
        assert set(range(FEW)) <= set(uniform)
        assert set(uniform) - set(range(FEW + 3)) <= set(slice_)
        assert all((t.proposal.log_probability is None) != t.proposal.uniform for t in study.trials)

    def test_near_the_front_is_within_the_standard_error(self):
        points = np.array([[0.5, 1.0], [0.54, 1.0], [0.56, 1.0], [0.4, 2.0]])
        assert near_front(points, 100).tolist() == [True, True, False, True]
        assert near_front(points, 10_000).tolist() == [True, False, False, True]

    @pytest.mark.parametrize("rungs", [(), (3,), (3, 1), (0, 3), (1, 1, 3)])
    def test_rungs_ascend(self, rungs):
        with pytest.raises(NasError, match="ascending numbers of epochs"):
            check_rungs(rungs)

    def test_expected_epochs(self):
        assert expected_epochs((1, 3, 9)) == pytest.approx(1 + 2 / 3 + 6 / 9)


class Parts:
    """Trains in memory, part by part: the error after an epoch follows from the seed. `after` is
    called with every task that has ended."""

    def __init__(self, slots=3, fails=lambda task: False, after=ignore):
        self.slots, self.on_epoch, self.fails, self.after = slots, ignore, fails, after
        self.tasks, self.executed = [], []

    def submit(self, task):
        self.tasks.append(task)

    def wait(self, timeout=None):
        task = self.tasks.pop(0)
        part = task.part
        assert part.state == (b"%d after %d" % (task.number, part.done) if part.done else None)
        self.executed.append((task.number, part.done, part.until))
        rows = tuple(row(task.seed, epoch) for epoch in range(part.done + 1, part.until + 1))
        self.after(task)
        if self.fails(task):
            return [Result(task.number, "failed", "diverged", "the loss was nan", curve=rows[:-1])]
        if part.until == RUNGS[-1]:
            return [Result(task.number, "complete", error=rows[-1]["val_error"], curve=rows, weights=b"w")]
        checkpoint = b"%d after %d" % (task.number, part.until)
        error = rows[-1]["val_error"]
        return [Result(task.number, "stopped", error=error, curve=rows, checkpoint=checkpoint, duration=1.0)]

    def close(self):
        self.tasks.clear()


def row(seed, epoch):
    rng = np.random.default_rng([seed, epoch])
    return {"epoch": epoch, "val_error": float(np.random.default_rng(seed).random() / 2 + rng.random() / 20)}


def search(space, folder, *, study=None, evaluator=None, searcher="evolution", trials=40, **options):
    study = History() if study is None else study
    planner = make_searcher(searcher, study.objectives) if isinstance(searcher, str) else searcher
    rungs = Rungs(Halving(RUNGS, 500), folder / "rungs", study, space)
    run_search(
        study,
        space,
        planner,
        evaluator or Parts(),
        trials=trials,
        seed=7,
        epochs=RUNGS[-1],
        rungs=rungs,
        **options,
    )
    return study


class TestSearch:
    @pytest.mark.slow
    @pytest.mark.parametrize("searcher", ["random", "evolution", "optuna:tpe"])
    def test_most_stop_and_what_may_be_on_the_front_is_complete(self, space, tmp_path, searcher):
        evaluator = Parts()
        study = search(space, tmp_path, evaluator=evaluator, searcher=searcher)
        assert sorted(trial.number for trial in study.trials) == list(range(40))
        states = Counter((trial.state, trial.epochs) for trial in study.trials)
        assert set(states) == {("stopped", 1), ("stopped", 3), ("complete", 9)}
        assert 40 // 9 <= states["complete", 9] < 20
        assert all([r["epoch"] for r in t.curve] == list(range(1, t.epochs + 1)) for t in study.trials)
        assert len(set(evaluator.executed)) == len(evaluator.executed)
        for epochs in RUNGS[:-1]:
            came = [trial for trial in study.trials if trial.epochs >= epochs]
            points = [(trial.curve[epochs - 1]["val_error"], trial.flops) for trial in came]
            assert all(came[at].epochs > epochs for at in front(points))
        assert not study.waiting
        assert not study.pending
        assert not list((tmp_path / "rungs").iterdir())

    @pytest.mark.parametrize("objectives", [("error",), ("error", "flops", "params")])
    def test_with_other_objectives_the_best_are_complete_too(self, space, tmp_path, objectives):
        study = search(space, tmp_path, study=History(objectives), searcher="random")
        for epochs in RUNGS[:-1]:
            came = [trial for trial in study.trials if trial.epochs >= epochs]
            points = [(t.curve[epochs - 1]["val_error"], *t.values(objectives[1:])) for t in came]
            assert all(came[at].epochs > epochs for at in front(points))
        assert sum(trial.complete for trial in study.trials) < 20

    def test_events_tell_of_rungs(self, space, tmp_path):
        events = []
        study = search(space, tmp_path, trials=12, on_event=events.append)
        rungs = [event for event in events if event.kind == "rung"]
        assert {event.row["epoch"] for event in rungs} == {1, 3}
        assert [event.progress.done for event in rungs][-1] == 12
        assert len(rungs) == sum(1 + (trial.epochs > 1) for trial in study.trials)

    def test_a_trial_that_fails_at_a_rung_is_a_failure(self, space, tmp_path):
        def fails(task):
            return task.part.done == 1 and task.number % 2 == 0

        study = search(space, tmp_path, evaluator=Parts(fails=fails))
        failed = [trial for trial in study.trials if trial.state == "failed"]
        assert {(trial.reason, trial.epochs, len(trial.curve)) for trial in failed} == {("diverged", 9, 2)}

    def test_an_equal_network_waits_for_the_end_of_the_other(self, space, tmp_path):
        class Twice:
            name = "twice"

            def ask(self, space, history, rng):
                return Proposal(space.sample((len(history.trials) + len(history.pending)) // 2), self.name)

        study = search(space, tmp_path, searcher=Twice(), trials=12, uniform_share=0)
        by_number = {trial.number: trial for trial in study.trials}
        copies = [trial for trial in study.trials if trial.duplicate_of is not None]
        assert len(copies) == 6
        for copy in copies:
            origin = by_number[copy.duplicate_of]
            assert (copy.state, copy.error, copy.epochs) == (origin.state, origin.error, origin.epochs)
        assert {copy.state for copy in copies} == {"stopped", "complete"}

    def test_more_trials_of_a_finished_search_stand_beside_those_that_stopped(self, space, tmp_path):
        study = search(space, tmp_path)
        stopped = {trial.number for trial in study.trials if trial.state == "stopped"}
        evaluator = Parts()
        search(space, tmp_path, study=study, trials=60, evaluator=evaluator)
        assert not stopped & {number for number, _, _ in evaluator.executed}
        assert sum(until == 3 for _, _, until in evaluator.executed) < 20


class TestStanding:
    """What evolution compares."""

    def came(self, space, history, count, epochs):
        """As many further trials, trained for so long."""
        start = len(history.trials) + len(history.pending)
        for number in range(start, start + count):
            proposal = Proposal(space.sample(number), "random")
            rows = tuple(row(number, epoch) for epoch in range(1, epochs + 1))
            figures = cost(expand(proposal.genotype, space.input_shape, space.num_classes))
            state = "complete" if epochs == RUNGS[-1] else "stopped"
            trial = Trial(
                number=number,
                proposal=proposal,
                state=state,
                cost=figures,
                decisions=space.decisions(proposal.genotype),
                seed=number,
                epochs=epochs,
                error=rows[-1]["val_error"],
                curve=rows,
            )
            history.start(number, trial.digest)
            for rung in RUNGS[:-1]:
                if rung <= epochs:
                    history.wait(trial.after(rung))
            if trial.complete:
                history.record(trial)

    def test_without_rungs_it_is_the_history_itself(self, space):
        history = History()
        assert Standing().of(history) is history

    def test_it_is_all_that_came_to_a_rung_with_the_error_that_is_forecast(self, space):
        history, standing = History(), Standing()
        self.came(space, history, 30, 1)
        self.came(space, history, 10, 3)
        self.came(space, history, 5, 9)
        view = standing.of(history)
        assert [trial.number for trial in view.complete] == list(range(45))
        assert {trial.epochs for trial in view.complete} == {1, 3}
        latest = {trial.number: trial for trial in history.arrived}
        assert len(latest) == 45
        assert all(0 <= trial.error <= 1 for trial in view.complete)
        assert any(trial.error != latest[trial.number].error for trial in view.complete)

    def test_it_is_the_same_however_often_it_is_asked(self, space):
        """As one that follows a resumed search is asked first when much is there."""
        history, followed = History(), Standing()
        for _ in range(40):
            self.came(space, history, 2, 1)
            self.came(space, history, 1, 3)
            found = followed.of(history)
            asked_once = Standing().of(history)
            assert [t.number for t in found.trials] == [t.number for t in asked_once.trials]
            assert [t.error for t in found.trials] == [t.error for t in asked_once.trials]

    def test_it_is_forecast_anew_as_the_arrivals_grow(self, space):
        history, standing = History(), Standing()
        self.came(space, history, 100, 1)
        view, views = standing.of(history), 1
        for _ in range(100):
            self.came(space, history, 1, 1)
            views += standing.of(history) is not view
            view = standing.of(history)
        assert len(view.trials) == 200
        assert views == pytest.approx(1 + np.log(2) / np.log(GROWTH), abs=2)

    def test_it_begins_anew_with_another_history(self, space):
        history, standing = History(), Standing()
        self.came(space, history, 2, 1)
        assert len(standing.of(history).trials) == 2
        assert standing.of(other := History()) is other
        assert len(standing.of(history).trials) == 2


class Killed(BaseException):
    """Ends a process between two lines."""


class TestDurability:
    @pytest.mark.slow
    @pytest.mark.parametrize("ended", [1, 9, 25, 43])
    def test_after_a_kill_only_what_was_in_training_is_done_again(self, space, tmp_path, ended):
        (tmp_path / "whole").mkdir()
        whole = search(space, tmp_path / "whole", evaluator=Parts(slots=1))
        domains = {path: list(options) for path, options in space.domains().items()}
        count = iter(range(1, 1000))

        def kill(task):
            if next(count) == ended:
                raise Killed

        path = tmp_path / "study.db"
        first = Parts(slots=1, after=kill)
        objectives = ("error", "flops")
        with Study.create(path, objectives=objectives, domains=domains) as study, pytest.raises(Killed):
            search(space, tmp_path, study=study, evaluator=first)
        (tmp_path / "rungs" / "99-1.checkpoint").write_bytes(b"of a kill before its record was written")
        second = Parts(slots=1)
        with Study.open(path) as study:
            search(space, tmp_path, study=study, evaluator=second)
            assert first.executed[-1] == second.executed[0]
            again = Counter(first.executed[:-1] + second.executed)
            assert set(again.values()) == {1}
            found = {(t.number, t.digest, t.state, t.epochs, t.error) for t in study.trials}
        assert found == {(t.number, t.digest, t.state, t.epochs, t.error) for t in whole.trials}
        assert not list((tmp_path / "rungs").iterdir())

    def test_ctrl_c_lets_trials_come_to_their_rung_and_wait(self, space, tmp_path):
        stop, study = Stop(), History()
        evaluator = Parts(after=lambda task: stop.request() if task.number == 11 else None)
        with pytest.raises(Interrupted):
            search(space, tmp_path, study=study, evaluator=evaluator, stop=stop)
        assert not evaluator.tasks
        records = {path.stem for path in (tmp_path / "rungs").glob("*.json")}
        states = {path.stem for path in (tmp_path / "rungs").glob("*.checkpoint")}
        assert records == {name.partition("-")[0] for name in states}
        resumed = Parts()
        search(space, tmp_path, study=study, evaluator=resumed)
        assert len(study.trials) == 40
        assert not set(evaluator.executed) & set(resumed.executed)

    def interrupted(self, space, folder):
        stop = Stop()
        evaluator = Parts(after=lambda task: stop.request() if task.number == 5 else None)
        with pytest.raises(Interrupted):
            search(space, folder, evaluator=evaluator, stop=stop)
        return sorted((folder / "rungs").glob("*.json"))

    def test_a_record_that_was_changed_is_refused(self, space, tmp_path):
        path = self.interrupted(space, tmp_path)[0]
        held = json.loads(path.read_text())
        path.write_text(json.dumps(held | {"curve": "[]"}))
        with pytest.raises(StorageError, match="changed by hand"):
            search(space, tmp_path)
        path.write_text("{}")
        with pytest.raises(StorageError, match="cannot be read"):
            search(space, tmp_path)

    def test_a_record_of_another_trial_is_refused(self, space, tmp_path):
        paths = self.interrupted(space, tmp_path)
        paths[0].write_bytes(paths[1].read_bytes())
        with pytest.raises(StorageError, match="is of trial"):
            search(space, tmp_path)


class TestSettings:
    def test_the_last_rung_takes_the_place_of_the_epochs(self, space):
        setup = prepare(space, fidelity=(1, 2))
        assert (setup.recipe.epochs, setup.config()["fidelity"]) == (2, [1, 2])
        assert "fidelity" not in prepare(space).config()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"searcher": "paired"}, "paired compares equal trainings"),
            ({"searcher": "balanced"}, "balanced compares equal trainings"),
            ({"recipe": {"epochs": 5}}, "ends with 9 epochs, and the epochs are given as 5"),
            ({"objectives": ("flops", "params")}, "goes by the error"),
        ],
    )
    def test_what_excludes_it_is_said(self, space, settings, message):
        with pytest.raises(NasError, match=message):
            prepare(space, fidelity=RUNGS, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a search on digits, on Ray, and what the command said."""
    results = tmp_path_factory.mktemp("results")
    arguments = ["search", "--space", "plain_vs_residual", "--data", "digits?limit=300", "--trials", "9"]
    settings = ["--fidelity", "1,2,4", "--searcher", "random", "--recipe", "precision=float32"]
    place = ["--workers", "2", "--name", "rungs", "--results-dir", results]
    return nas_command(*arguments, *settings, *place), results / "rungs"


@pytest.mark.slow
class TestCommand:
    def test_the_summary_tells_how_the_rungs_rank(self, finished):
        done, folder = finished
        assert done.returncode == 0, done.stderr
        assert "Agreement of the errors at two rungs" in done.stdout
        assert "9 candidates on digits?limit=300, 1 to 4 (rungs 1, 2, 4) epochs each" in done.stderr
        assert "stopped early" in done.stdout
        document = json.loads(nas_command("analyze", folder, "--json").stdout)
        with open_run(folder).study as study:
            came = Counter(trial.epochs for trial in study.trials)
        assert came[1] + came[2] + came[4] == 9
        networks = {(each["epochs"], each["longer"]): each["networks"] for each in document["rungs"]}
        assert networks == {(1, 2): came[2] + came[4], (2, 4): came[4], (1, 4): came[4]}
        assert not list((folder / "rungs").iterdir())

    def test_training_from_rung_to_rung_is_training_in_one_go(self, finished):
        run = open_run(finished[1])
        with run.study:
            trial = run.best()
            recipe = staged(Recipe(**run.config["recipe"]), run.config["fidelity"])
            dataset = load_data(run.config["data"])
            whole = train_candidate(Task(trial.number, trial.genotype, trial.seed), dataset, recipe)
            assert whole.curve == trial.curve
            assert whole.weights == run.weights(trial)

    def test_resume_with_other_rungs_is_refused(self, finished):
        _, folder = finished
        place = ["--name", folder.name, "--results-dir", folder.parent]
        done = nas_command("search", "--resume", *place, "--fidelity", "1,4")
        assert done.returncode == 2
        assert "fidelity: was 1, 2, 4, now 1, 4" in done.stderr


def nas_command(*arguments):
    program = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(program, capture_output=True, text=True, env=environment, timeout=300, check=False)
