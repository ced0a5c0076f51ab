"""Rungs, and the results of trials that came to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from testing.rungs import trial_at_rung

from nas.errors import NasError
from nas.schedulers.rungs import (
    check_rungs,
    expected_epochs,
    rung_results,
)
from nas.space.load import load_space


@pytest.mark.parametrize("rungs", [(), (3,), (3, 1), (0, 3), (1, 1, 3)])
def test_rungs_that_do_not_ascend_are_refused(rungs):
    with pytest.raises(NasError, match="ascending numbers of epochs"):
        check_rungs(rungs)


def test_expected_epochs_where_each_rung_promotes_its_share():
    assert expected_epochs((1, 3, 9)) == pytest.approx(1 + 2 / 3 + 6 / 9)
    assert expected_epochs((2, 3, 12)) == pytest.approx(2 + 1 * 2 / 3 + 9 * 2 / 12)


def test_results_at_rungs_are_found_again_in_the_order_in_which_they_came():
    """The first trial went on after the second had come to the first rung; the last has no place."""
    space = load_space("residual_vs_fractal")
    far = replace(trial_at_rung(space, 0, [0.5, 0.4, 0.3], 10), rung_order=(1, 3))
    near = replace(trial_at_rung(space, 1, [0.6], 10), rung_order=(2,))
    without = trial_at_rung(space, 2, [0.7], 10)
    results = rung_results([far, near, without], (1, 3, 9))
    assert [(trial.number, trial.epochs, trial.rung_order) for trial in results] == [
        *((0, 1, (1,)), (1, 1, (2,)), (0, 3, (1, 3)))
    ]
    assert [trial.error for trial in results] == [0.5, 0.6, 0.3]
