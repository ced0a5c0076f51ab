"""Trials made of results: from rung to rung, and copied from an equal network."""

from __future__ import annotations

from dataclasses import replace

from testing.trials import a_trial

from nas.controller.planned_trial import PlannedTrial
from nas.training.task import Result


def planned(number=5):
    trial = a_trial(number)
    return PlannedTrial(number, trial.proposal, trial.cost, trial.decisions, trial.seed)


def test_a_training_that_went_on_has_all_its_epochs_and_seconds():
    before = a_trial(
        5, state="stopped", epochs=1, curve=({"epoch": 1},), duration=2.0, retries=1, rung_order=(4,)
    )
    result = Result(5, "stopped", error=0.25, curve=({"epoch": 2}, {"epoch": 3}), duration=1.5, retries=2)
    trial = planned().trial(result, 9, before)
    assert [row["epoch"] for row in trial.curve] == [1, 2, 3]
    assert (trial.epochs, trial.duration, trial.retries, trial.rung_order) == (3, 3.5, 3, (4,))
    complete = planned().trial(replace(result, state="complete"), 9)
    assert (complete.epochs, complete.duration, complete.retries, complete.rung_order) == (9, 1.5, 2, ())


def test_a_copy_names_the_training_and_took_no_time():
    earlier = a_trial(2, error=0.125, duration=3.0, retries=2, rung_order=(1, 2))
    copy = planned(6).copy_of(earlier)
    assert (copy.number, copy.duplicate_of, copy.error) == (6, 2, 0.125)
    assert (copy.duration, copy.retries, copy.rung_order) == (0.0, 0, ())
    assert planned(7).copy_of(copy).duplicate_of == 2
