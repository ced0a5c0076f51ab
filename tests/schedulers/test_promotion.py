"""The rule of promotion, on points of error and costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from testing.rungs import trial_at_rung

from nas.errors import NasError
from nas.pareto import front
from nas.schedulers.promotion import (
    BANDS,
    best_share,
    check_rungs,
    excess,
    expected_epochs,
    near_front,
    rung_results,
)
from nas.space.load import load_space


def random_points(n, d=2, seed=0):
    """Points (error, cost, ...) of n networks, the larger ones better by far, and their FLOPs."""
    rng = np.random.default_rng(seed)
    flops = np.exp(rng.uniform(0, 5, n))
    error = 0.6 - 0.08 * np.log(flops) + rng.uniform(0, 0.1, n)
    return np.column_stack([error, flops, *rng.random((max(0, d - 2), n))])[:, :d], flops


def nobody(points):
    return np.zeros(len(points), bool)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_excess_is_0_on_the_front_and_the_missing_gain_elsewhere(d, seed):
    points, _ = random_points(40, d, seed)
    above, on_front = excess(points), set(front(points).tolist())
    assert {i for i in range(40) if above[i] == 0} == on_front
    for i in set(range(40)) - on_front:
        moved = points.copy()
        moved[i, 0] -= above[i] + 1e-9
        assert i in front(moved)
        moved[i, 0] += 2e-9
        assert i not in front(moved)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 15, 40, 100])
def test_every_band_promotes_its_share_and_no_more(n):
    points, flops = random_points(n)
    promoted = best_share(points, flops, 3, nobody(points))
    assert n // 3 - BANDS + 1 <= promoted.sum() <= n // 3
    bands = max(1, min(BANDS, n // 3))
    for band in np.array_split(np.argsort(flops), bands):
        assert promoted[band].sum() == len(band) // 3 or n % bands


def test_small_networks_are_promoted_beside_large_ones():
    points, flops = random_points(60)
    promoted = best_share(points, flops, 3, nobody(points))
    small = flops < np.median(flops)
    assert points[small, 0].min() > np.quantile(points[:, 0], 1 / 3)  # the error alone would promote none
    assert promoted[small].sum() >= 8


def test_a_trial_promoted_too_early_has_taken_a_place():
    points, flops = random_points(15)
    first = best_share(points, flops, 3, nobody(points))
    gone = nobody(points)
    lowest = np.argsort(flops)[:3]
    gone[lowest[~first[lowest]][0]] = True
    promoted = best_share(points, flops, 3, gone)
    assert not promoted[lowest].any()
    assert promoted.sum() == first.sum() - 1


def test_with_the_error_alone_the_best_are_promoted_whatever_their_size():
    points, flops = random_points(60, d=1)
    promoted = best_share(points, flops, 3, nobody(points))
    assert set(np.flatnonzero(promoted)) == set(np.argsort(points[:, 0])[:20])


def test_the_front_comes_first_within_a_band():
    points, flops = random_points(60)
    promoted = best_share(points, flops, 3, nobody(points))
    above = excess(points)
    for band in np.array_split(np.argsort(flops), BANDS):
        assert above[band][promoted[band]].max() <= above[band][~promoted[band]].min()


def test_near_the_front_is_within_the_standard_error():
    points = np.array([[0.5, 1.0], [0.54, 1.0], [0.56, 1.0], [0.4, 2.0]])
    assert near_front(points, 100).tolist() == [True, True, False, True]
    assert near_front(points, 10_000).tolist() == [True, False, False, True]


@pytest.mark.parametrize("rungs", [(), (3,), (3, 1), (0, 3), (1, 1, 3)])
def test_rungs_that_do_not_ascend_are_refused(rungs):
    with pytest.raises(NasError, match="ascending numbers of epochs"):
        check_rungs(rungs)


def test_expected_epochs_where_each_rung_promotes_its_share():
    assert expected_epochs((1, 3, 9)) == pytest.approx(1 + 2 / 3 + 6 / 9)
    assert expected_epochs((2, 3, 12)) == pytest.approx(2 + 1 * 2 / 3 + 9 * 2 / 12)


def test_there_are_five_bands_once_each_promotes_one():
    """The best of each fifth of the FLOPs is promoted, by half, and in six bands one more would be."""
    points, flops = random_points(10)
    assert best_share(points, flops, 2, nobody(points)).sum() == 5
    points, flops = random_points(12)
    assert best_share(points, flops, 2, nobody(points)).sum() == 5


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
