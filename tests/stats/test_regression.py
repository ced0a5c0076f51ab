"""Partial effects and smooth functions against figures computed in other ways."""

import numpy as np
import pytest
from scipy.stats import t, ttest_ind

from nas.stats.regression import NO_EFFECT, mean_of, partial_effect, slopes, smooth


def drawn(count=60, seed=1):
    rng = np.random.default_rng(seed)
    others = np.column_stack([np.ones(count), rng.normal(size=(count, 3))])
    x = others @ [0.5, 1.0, -1.0, 0.0] + rng.normal(size=count)
    y = 2 * x + others @ [1.0, 1.0, 1.0, 1.0] + rng.normal(size=count) * (1 + np.abs(x))
    return y, x, others


def test_the_slope_and_its_error_are_those_of_least_squares_with_hc3():
    y, x, others = drawn()
    design = np.column_stack([x, others])
    slopes = np.linalg.lstsq(design, y, rcond=None)[0]
    inverse = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    scores = design * ((y - design @ slopes) / (1 - leverage))[:, None]
    covariance = inverse @ scores.T @ scores @ inverse
    found = partial_effect(y, x, others)
    assert found.value == pytest.approx(slopes[0])
    assert found.error == pytest.approx(np.sqrt(covariance[0, 0]))
    assert found.p == pytest.approx(2 * t.sf(found.value / found.error, found.freedom))
    assert found.estimate.low == pytest.approx(found.value - t.ppf(0.975, found.freedom) * found.error)


def test_two_groups_of_unequal_size_and_spread_are_compared_as_by_welch():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=60), rng.normal(0.8, 4, size=8)
    x = np.repeat([0.0, 1.0], [60, 8])
    found = partial_effect(np.concatenate([first, second]), x, np.ones((68, 1)))
    welch = ttest_ind(second, first, equal_var=False)
    assert found.value == pytest.approx(second.mean() - first.mean())
    assert found.p == pytest.approx(welch.pvalue, rel=0.1)


def test_a_column_that_the_others_explain_has_no_effect():
    y, _, others = drawn()
    assert partial_effect(y, others[:, 1] - others[:, 2], others) is NO_EFFECT
    assert np.isnan(NO_EFFECT.p)
    assert np.isnan(NO_EFFECT.estimate.low)


def test_columns_that_say_the_same_twice_change_nothing():
    y, x, others = drawn()
    twice = np.column_stack([others, others[:, 1] + others[:, 3], np.zeros(len(y))])
    once, again = partial_effect(y, x, others), partial_effect(y, x, twice)
    assert (again.value, again.error, again.p) == pytest.approx((once.value, once.error, once.p))


def test_the_unexplained_share_is_one_less_r2_and_not_lowered_by_columns_of_noise():
    rng = np.random.default_rng(0)
    x = np.repeat([0.0, 1.0], 500)
    cost = x + rng.normal(0, 0.5, 1000)  # half of the variance of x
    constant = np.ones((1000, 1))
    assert partial_effect(cost, x, np.column_stack([constant, cost])).unexplained == pytest.approx(
        0.5, abs=0.05
    )
    noise = rng.normal(size=(1000, 100))
    assert partial_effect(cost, x, np.hstack([constant, noise])).unexplained == pytest.approx(1, abs=0.05)


def test_few_values_have_an_indicator_each_and_many_a_spline_that_ends_in_straight_lines():
    assert smooth(np.array([3.0, 5.0, 5.0, 9.0]), 2).tolist() == [[0, 0], [1, 0], [1, 0], [0, 1]]
    values = np.linspace(0, 1, 101)
    columns = smooth(values, 4)
    assert columns.shape == (101, 4)
    assert np.linalg.matrix_rank(columns) == 4
    curve = np.sin(3 * values)
    design = np.column_stack([np.ones(101), columns])
    fitted = design @ np.linalg.lstsq(design, curve, rcond=None)[0]
    assert np.abs(fitted - curve).max() < 0.02
    assert np.abs(np.diff(columns[-5:], 2, axis=0)).max() < 1e-9
    assert smooth(values, 1).shape == (101, 1)
    assert smooth(np.ones(5), 2).shape == (5, 0)


def test_slopes_are_partial_effects_and_clusters_widen_them():
    y, x, others = drawn()
    columns = np.column_stack([x, others])
    (alone,) = slopes(y, columns, np.eye(5)[:1], np.arange(60))
    expected = partial_effect(y, x, others)
    assert (alone.value, alone.error) == pytest.approx((expected.value, expected.error))
    each = np.repeat(np.arange(60), 4)  # every row four times says no more than once
    (repeated,) = slopes(y[each], columns[each], np.eye(5)[:1], each)
    assert repeated.value == pytest.approx(alone.value)
    assert repeated.error > 0.8 * alone.error
    assert slopes(y, np.hstack([columns, columns]), np.eye(10)[:1], np.arange(60)) == [NO_EFFECT]


def test_a_mean_over_clusters_is_that_of_students_t():
    values = np.array([1.0, 2.0, 4.0, 5.0])
    found = mean_of(values, np.arange(4))
    half = t.ppf(0.975, 3) * values.std(ddof=1) / 2
    assert (found.value, found.high) == (3, pytest.approx(3 + half, rel=0.16))  # HC3 is a little wider
    assert found.high > 3 + half
    assert np.isnan(mean_of(values, np.zeros(4, int)).low)
