"""The history with the errors expected of paused trials, which searchers choose by."""

from __future__ import annotations

from dataclasses import replace

import pytest
from testing.rungs import RUNGS, epoch_row

from nas.schedulers.successive_halving import SuccessiveHalving
from nas.space.load import load_space
from nas.study.history import History
from nas.study.trial import Proposal, Trial


@pytest.fixture(scope="module")
def space():
    return load_space("residual_vs_fractal")


def halving_of(history, space):
    return SuccessiveHalving(RUNGS, history, domains=space.domains())


def add_trials(space, history, count, epochs):
    """Add trials that were trained for so many epochs, with a result at each rung on the way."""
    start = len(history.trials) + len(history.pending)
    for number in range(start, start + count):
        proposal = Proposal(space.sample(number), "random")
        rows = tuple(epoch_row(number, epoch) for epoch in range(1, epochs + 1))
        trial = Trial(
            number=number,
            proposal=proposal,
            state="complete" if epochs == RUNGS[-1] else "stopped",
            cost=space.cost(proposal.genotype),
            decisions=space.decisions(proposal.genotype),
            seed=number,
            epochs=epochs,
            error=rows[-1]["val_error"],
            curve=rows,
        )
        history.mark_running(number, trial.digest)
        for rung in RUNGS[:-1]:
            if rung <= epochs:
                history.pause(trial.after(rung))
        if trial.complete:
            history.record(trial)


def test_without_rung_results_it_is_the_history_itself(space):
    history = History()
    assert halving_of(history, space).expected_history(history) is history


def test_every_trial_at_a_rung_counts_as_complete_with_its_expected_error(space):
    history = History()
    halving = halving_of(history, space)
    add_trials(space, history, 12, 1)
    add_trials(space, history, 4, 3)
    add_trials(space, history, 2, 9)
    expected = halving.expected_history(history)
    assert [trial.number for trial in expected.complete] == list(range(18))
    latest = {trial.number: trial for trial in history.rung_results}
    assert all(0 <= trial.error <= 1 for trial in expected.complete)
    assert any(trial.error != latest[trial.number].error for trial in expected.complete)


def test_it_does_not_depend_on_when_it_was_asked_before(space):
    """A scheduler made anew, as on resume, meets many results at once."""
    history = History()
    followed = halving_of(history, space)
    for count in range(1, 25):
        add_trials(space, history, 1, 3 if count % 3 == 0 else 1)
        often = followed.expected_history(history)
        if count % 6 == 0:
            once = halving_of(history, space).expected_history(history)
            assert [trial.number for trial in often.trials] == [trial.number for trial in once.trials]
            assert [trial.error for trial in often.trials] == [trial.error for trial in once.trials]


def test_it_grows_in_steps_as_the_results_do(space):
    """So that a large search spends no more on a trial than a small one."""
    history = History()
    halving = halving_of(history, space)
    add_trials(space, history, 200, 1)
    seen = set()
    for _ in range(20):
        add_trials(space, history, 1, 1)
        seen.add(len(halving.expected_history(history).trials))
    assert 3 <= len(seen) <= 5
    assert max(seen) > 210


def test_a_trial_that_failed_after_a_rung_is_failed(space):
    history = History()
    halving = halving_of(history, space)
    add_trials(space, history, 12, 1)
    paused = history.paused[3]
    history.record(replace(paused, state="failed", reason="diverged", error=None))
    expected = halving.expected_history(history)
    assert 3 not in {trial.number for trial in expected.complete}
    assert [trial.number for trial in expected.trials if trial.state == "failed"] == [3]
