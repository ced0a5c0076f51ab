"""The history with the errors expected of paused trials, which evolution selects its parents from."""

from __future__ import annotations

import numpy as np
import pytest
from testing.rungs import RUNGS, epoch_row

from nas.graph.cost import cost
from nas.schedulers.extrapolated_history import ExtrapolatedHistory
from nas.schedulers.learning_curve import GROWTH, LearningCurveModel
from nas.space.genotype import expand
from nas.space.space import load_space
from nas.study.history import History
from nas.study.trial import Proposal, Trial


@pytest.fixture(scope="module")
def space():
    return load_space("residual_vs_fractal")


def extrapolation():
    return ExtrapolatedHistory(LearningCurveModel())


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
            cost=cost(expand(proposal.genotype, space.input_shape, space.num_classes)),
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


def test_without_rung_results_it_is_the_history_itself():
    history = History()
    assert extrapolation().of(history) is history


def test_every_trial_at_a_rung_counts_as_complete_with_its_expected_error(space):
    history = History()
    add_trials(space, history, 30, 1)
    add_trials(space, history, 10, 3)
    add_trials(space, history, 5, 9)
    extrapolated = extrapolation().of(history)
    assert [trial.number for trial in extrapolated.complete] == list(range(45))
    assert {trial.epochs for trial in extrapolated.complete} == {1, 3}
    latest = {trial.number: trial for trial in history.rung_results}
    assert len(latest) == 45
    assert all(0 <= trial.error <= 1 for trial in extrapolated.complete)
    assert any(trial.error != latest[trial.number].error for trial in extrapolated.complete)


def test_it_does_not_depend_on_when_it_was_asked_before(space):
    """The extrapolation of a resumed search meets many results at once."""
    history, followed = History(), extrapolation()
    for _ in range(40):
        add_trials(space, history, 2, 1)
        add_trials(space, history, 1, 3)
        often, once = followed.of(history), extrapolation().of(history)
        assert [trial.number for trial in often.trials] == [trial.number for trial in once.trials]
        assert [trial.error for trial in often.trials] == [trial.error for trial in once.trials]


def test_the_model_is_refitted_as_the_results_grow(space):
    history, followed = History(), extrapolation()
    add_trials(space, history, 100, 1)
    latest, fits = followed.of(history), 1
    for _ in range(100):
        add_trials(space, history, 1, 1)
        fits += followed.of(history) is not latest
        latest = followed.of(history)
    assert len(latest.trials) == 200
    assert fits == pytest.approx(1 + np.log(2) / np.log(GROWTH), abs=2)
