"""Which paused trials successive halving promotes, and which proposals it begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from testing.rungs import RUNGS, trial_at_rung

from nas.graph.cost import Cost
from nas.schedulers.successive_halving import MIN_TRIALS, SuccessiveHalving, UntrainedCandidate
from nas.space.load import load_space
from nas.study.history import History

DOMAINS = {"width": (0, 1, 2), "type": (0, 1, 2)}


@pytest.fixture(scope="module")
def space():
    return load_space("residual_vs_fractal")


DEAR = (0.9, 2000)
"""Error and FLOPs of a trial whose first epoch affords promotions of others."""


def halving_of(rungs=RUNGS, objectives=("error", "flops")):
    return SuccessiveHalving(rungs, History(objectives), domains=DOMAINS)


def add(halving, trial, *, paused=True):
    """A rung result; a trial that is not paused is done with, as if another rung did not matter to it."""
    if paused:
        halving.history.mark_running(trial.number, trial.digest)
    halving.history.pause(trial)


def promoted(halving, running=(), *, closing=True):
    """The number of the trial that is promoted now, None for none."""
    trial = halving.promote(running, closing=closing)
    return None if trial is None else trial.number


def promoted_in_turn(halving, *, closing=True):
    """The numbers of the trials that are promoted one after the other, each then in training."""
    running = []
    while (number := promoted(halving, running, closing=closing)) is not None:
        running.append(number)
    return running


def at_first_rung(space, points, paused):
    """Trials with (error, FLOPs) at the first rung, of which some are paused."""
    halving = halving_of()
    for number, (error, flops) in enumerate(points):
        add(halving, trial_at_rung(space, number, [error], flops), paused=number in paused)
    return halving


@pytest.fixture
def measured_errors(monkeypatch):
    """The expected error is the measured one, give or take 0.02."""

    def predict(self, trials):
        return np.array([(trial.error, 0.02) for trial in trials])

    monkeypatch.setattr(SuccessiveHalving, "predict", predict)


class TestPromotion:
    def test_what_is_near_the_front_goes_on_within_the_compute_and_the_front_in_any_case(
        self, space, measured_errors
    ):
        """Trials 2 to 4 are no cheaper than 1, and worse by less than is known. Their first epochs afford
        three promotions."""
        near = [(0.4, 110), (0.41, 111), (0.412, 112), (0.414, 113)]
        points = [(0.5, 10), *near, *[(0.9, 1 + i) for i in range(8)]]
        for closing in (False, True):
            halving = at_first_rung(space, points, paused={1, 2, 3, 4})
            assert promoted_in_turn(halving, closing=closing) == [1, 2, 3]
        spent = at_first_rung(space, points, paused={1, 2, 3, 4})
        add(spent, trial_at_rung(space, 20, [0.3] * 9, 1000), paused=False)
        assert promoted_in_turn(spent, closing=False) == []
        assert promoted_in_turn(spent) == [1]
        much = at_first_rung(space, [*points, DEAR], paused={1, 2, 3, 4})
        assert promoted_in_turn(much, closing=False) == [1, 2, 3, 4]

    @pytest.mark.parametrize("closing", [False, True])
    def test_compute_bounds_promotions_while_new_trials_are_to_come(self, space, measured_errors, closing):
        """All are on the front of their rung; the epochs of those in training count as spent."""
        points = [(0.9 - i / 100, 100 + i) for i in range(30)]
        going = promoted_in_turn(at_first_rung(space, points, paused=range(30)), closing=closing)
        compute = np.array([flops for _, flops in points])
        allowed = compute.sum() * (2 / 3 + 6 / 9)
        last, before = compute[going].sum() * 2, compute[going[:-1]].sum() * 2
        if closing:
            assert sorted(going) == list(range(30))
        else:
            assert before < allowed <= last

    def test_compute_is_counted_in_epochs_where_the_first_rung_has_several(self, space, measured_errors):
        """A third of the trials go on from 2 to 6 epochs, and a ninth from 6 to 18: 8/3 epochs for each."""
        halving = halving_of((2, 6, 18))
        for number in range(30):
            add(halving, trial_at_rung(space, number, [0.9 - number / 100] * 2, 100 + number))
        going = promoted_in_turn(halving, closing=False)
        compute = np.arange(100, 130)
        before, last = compute[going[:-1]].sum() * 4, compute[going].sum() * 4
        assert before < compute.sum() * 8 / 3 <= last
        for number in going:
            add(halving, trial_at_rung(space, number, [0.9 - number / 100] * 6, 100 + number))
        assert promoted(halving, closing=False) is None  # they have spent what was allowed
        assert promoted(halving) is not None

    def test_the_highest_gain_per_unit_of_compute_goes_first(self, space, measured_errors):
        """0 is complete. 1 and 2 are equally good, and 2 takes ten times the FLOPs; 3 hardly beats 0."""
        points = [(0.5, 100), (0.4, 110), (0.4, 1000), (0.53, 100), *[DEAR] * MIN_TRIALS]
        halving = at_first_rung(space, points, paused={1, 2, 3})
        add(halving, trial_at_rung(space, 0, [0.5] * 9, 100), paused=False)
        assert promoted_in_turn(halving, closing=False) == [1, 2, 3]

    def test_a_trial_near_its_end_needs_less_compute(self, space, measured_errors):
        points = [(0.9, 10), *[(0.5, 1000 + i) for i in range(3)], *[DEAR] * MIN_TRIALS]
        halving = at_first_rung(space, points, paused={1, 2, 3})
        halving.history.pause(trial_at_rung(space, 2, [0.5] * 3, 1002))
        assert promoted(halving, closing=False) == 2

    @pytest.mark.parametrize(("count", "expected"), [(MIN_TRIALS - 1, None), (MIN_TRIALS, MIN_TRIALS - 1)])
    def test_nothing_is_promoted_among_a_few_trials(self, space, count, expected):
        points = [(0.9 - i / 20, 10 + i) for i in range(count)]
        halving = at_first_rung(space, points, paused={count - 1})
        assert promoted(halving, closing=False) == expected
        assert promoted(halving) == count - 1

    def test_good_decisions_go_before_a_lucky_error(self, space):
        """Errors and FLOPs are equal, but other networks with option 1 did better than those with 0."""
        halving = halving_of((1, 3))
        for i in range(2, 22):
            trial = trial_at_rung(space, i, [0.7 - 0.2 * (i % 2)], 100, {"width": i % 2})
            add(halving, trial, paused=False)
        for i in (0, 1):
            add(halving, trial_at_rung(space, i, [0.5], 100, {"width": i}))
        assert promoted(halving, closing=False) == 1
        (lucky, _), (good, _) = halving.predict([halving.trials[0], halving.trials[1]])
        assert good < lucky

    def test_only_the_latest_result_of_a_trial_counts(self, space):
        halving = halving_of()
        for errors in ([0.5], [0.5, 0.4, 0.3]):
            trial = trial_at_rung(space, 0, errors, 10)
            add(halving, trial, paused=False)
            assert promoted(halving) is None
            assert halving.trials == {0: trial}

    def test_a_resumed_search_promotes_as_an_uninterrupted_one(self, space):
        """A scheduler made anew meets many results at once, the first one followed them one by one."""
        rng = np.random.default_rng(0)
        halving = halving_of()
        for number in range(60):
            decisions = {"width": int(rng.integers(3)), "type": int(rng.integers(3))}
            errors = [0.5 + 0.1 * decisions["width"] + 0.1 * rng.random()]
            add(halving, trial_at_rung(space, number, errors, 10 + number, decisions))
            trial = halving.promote((), closing=False)
            again = SuccessiveHalving(RUNGS, halving.history, domains=DOMAINS)
            assert again.promote((), closing=False) is trial
            if trial is not None:
                until = RUNGS[RUNGS.index(trial.epochs) + 1]
                rows = [row["val_error"] for row in trial.curve]
                rows += [rows[-1] * 0.9] * (until - len(rows))
                if until == RUNGS[-1]:
                    halving.history.discard(trial.number)
                later = trial_at_rung(space, trial.number, rows, trial.flops, trial.decisions)
                halving.history.pause(later)
        assert {len(trial.curve) for trial in halving.trials.values()} == set(RUNGS)


class TestProposals:
    def test_the_best_of_several_proposals_is_begun(self, space):
        halving = halving_of()
        for number in range(MIN_TRIALS):
            assert halving.proposal_count() == 1
            error, decisions = 0.7 - 0.2 * (number % 2), {"width": number % 2}
            add(halving, trial_at_rung(space, number, [error], 100, decisions))
        assert halving.proposal_count() == 3
        bad, good, dear = (
            UntrainedCandidate(Cost(0, flops, 0, 0), {"width": width})
            for width, flops in ((0, 100), (1, 100), (1, 10**4))
        )
        pairs = (bad, good), (good, bad), (dear, good)
        assert [halving.best_candidate(pair) for pair in pairs] == [1, 0, 1]

    def test_of_equal_candidates_the_one_with_the_lower_cost_is_begun(self, space):
        halving = halving_of(objectives=("error", "params"))
        for number in range(MIN_TRIALS):
            add(halving, trial_at_rung(space, number, [0.7 - 0.2 * (number % 2)], 100))
        assert halving.proposal_count() == 3
        large, small = (UntrainedCandidate(Cost(params, 100, 0, 0), {}) for params in (10**6, 10))
        assert [halving.best_candidate(pair) for pair in ((large, small), (small, large))] == [1, 0]

    @pytest.mark.parametrize(
        ("rungs", "others", "count"),
        [
            (RUNGS, (), 3),
            (RUNGS, ("flops", "params"), 3),
            (RUNGS, ("latency",), 1),  # known only after a training
            ((2, 3), (), 1),
            ((1, 100), (), 4),
        ],
    )
    def test_the_ratio_of_the_first_rungs_says_how_many_proposals_are_wanted(
        self, space, rungs, others, count
    ):
        halving = halving_of(rungs, ("error", *others))
        for number in range(MIN_TRIALS):
            add(halving, trial_at_rung(space, number, [0.5], 100))
        assert halving.proposal_count() == count


def test_only_a_trial_that_was_trained_to_the_end_takes_a_place_in_the_order(space):
    halving = halving_of()
    complete = replace(trial_at_rung(space, 0, [0.5, 0.4, 0.3], 10), state="complete")
    copy = replace(complete, number=1, duplicate_of=0)
    failed = replace(complete, number=2, state="failed", reason="diverged", error=None)
    places = [
        len(halving.finish(trial).rung_order) - len(trial.rung_order) for trial in (complete, copy, failed)
    ]
    assert places == [1, 0, 0]
