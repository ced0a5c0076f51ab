"""Fronts, knees and hypervolumes against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.pareto import (
    CELLS,
    Layers,
    crowding,
    expected_improvement,
    front,
    hypervolume,
    hypervolume_history,
    knee,
    reference_point,
)

GRID = 5


@st.composite
def point_sets(draw, dimensions=(1, 2, 3, 4), most=9):
    d = draw(st.sampled_from(dimensions))
    point = st.tuples(*[st.integers(0, GRID)] * d)
    return np.array(draw(st.lists(point, min_size=1, max_size=most)), dtype=float)


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def brute_front(points):
    return [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]


def brute_volume(points, reference):
    """Unit cells of the integer grid that some point dominates."""
    cells = itertools.product(*(range(int(r)) for r in reference))
    return sum(any((p <= np.array(cell)).all() for p in points) for cell in cells)


@settings(max_examples=60, deadline=None)
@given(point_sets())
def test_front_is_what_nothing_dominates(points):
    assert front(points).tolist() == brute_front(points)


@settings(max_examples=60, deadline=None)
@given(point_sets())
def test_hypervolume_counts_cells(points):
    reference = np.full(points.shape[1], GRID)  # points on the border add nothing
    assert hypervolume(points, reference) == pytest.approx(brute_volume(points, reference))


@settings(max_examples=60, deadline=None)
@given(point_sets())
def test_history_is_the_hypervolume_of_each_beginning(points):
    reference = reference_point(points)
    expected = [hypervolume(points[: n + 1], reference) for n in range(len(points))]
    history = hypervolume_history(points)
    assert history == pytest.approx(expected)
    assert (np.diff(history) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(point_sets(most=20), st.integers(1, 5), st.integers(0, 20))
def test_layers_are_the_sorted_fronts_however_many_points_they_begin_with(points, depth, first):
    layers = Layers(points[:first], depth)
    for key in range(min(first, len(points)), len(points)):
        layers.add(key, points[key])
    left = list(range(len(points)))
    for keys in layers.keys:
        expected = [left[i] for i in brute_front(points[left])] if left else []
        assert keys.tolist() == expected
        left = [i for i in left if i not in expected]


@settings(max_examples=60, deadline=None)
@given(point_sets())
def test_knee_lies_on_the_front_and_ignores_units(points):
    index = knee(points)
    assert index in front(points)
    assert knee(points * 1024 + 7) == index


def test_knee_is_the_bend():
    points = [(0.0, 10.0), (1.0, 2.0), (10.0, 0.0), (9.0, 9.0)]
    assert knee(points) == 1


@settings(max_examples=60, deadline=None)
@given(point_sets())
def test_reference_lies_behind_every_point(points):
    assert (reference_point(points) > points).all()


def test_reference_is_a_tenth_of_the_range_behind_the_worst():
    assert reference_point([(0.1, 20.0), (0.3, 20.0)]).tolist() == pytest.approx([0.32, 22.0])
    assert reference_point([(0.0, 5.0)]).tolist() == pytest.approx([1.0, 5.5])


def test_crowding_is_the_gap_to_both_neighbours():
    assert crowding([(0, 4), (1, 2), (4, 0)]).tolist() == pytest.approx([1.5, 2, 2.5])
    assert crowding([(1, 1), (1, 1)]).tolist() == [0, 0]
    assert crowding([(3, 7)]).tolist() == [0]


def test_known_volumes():
    assert hypervolume([(1, 1)], (3, 3)) == 4
    assert hypervolume([(1, 2), (2, 1)], (3, 3)) == 3
    assert hypervolume([(1, 2, 3), (3, 2, 1), (2, 2, 2)], (4, 4, 4)) == 12
    assert hypervolume([(5, 1)], (3, 3)) == 0
    assert hypervolume(np.empty((0, 2)), (3, 3)) == 0


def test_large_front_in_three_dimensions():
    rng = np.random.default_rng(0)
    directions = np.abs(rng.normal(size=(150, 3)))
    points = 1 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    samples = rng.random((20_000, 3))
    share = np.mean([(points <= sample).all(axis=1).any() for sample in samples])
    assert hypervolume(points, (1, 1, 1)) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("points", [[1.0, 2.0], [(1.0, float("nan"))], [(1.0, float("inf"))]])
def test_bad_points_are_refused(points):
    with pytest.raises(ValueError, match="points must be finite"):
        front(points)


def test_nothing_has_no_knee():
    assert front([]).tolist() == []
    assert hypervolume_history([]).tolist() == []
    with pytest.raises(ValueError, match="no points"):
        knee([])
    with pytest.raises(ValueError, match="no points"):
        reference_point([])


def test_reference_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match="reference"):
        hypervolume([(1, 2)], (3, 3, 3))


def test_knee_does_not_depend_on_the_order_of_equals():
    ends = [(0.1, 9.0), (0.4, 2.0)]  # both lie on the line through the ends
    assert knee(ends) == 0
    assert knee(ends[::-1]) == 1


def grown(points, done, at, error):
    """By how much the hypervolume grows with a point of this error."""
    corner = reference_point(points)
    known = points[done]
    added = np.vstack([known, [error, *points[at, 1:]]])
    return hypervolume(added, corner) - (hypervolume(known, corner) if len(known) else 0.0)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("finished", [0, 8])
def test_expected_improvement_is_the_mean_growth_of_the_hypervolume(dimensions, finished):
    rng = np.random.default_rng(dimensions)
    points = rng.random((24, dimensions))
    done = np.arange(24) < finished
    spreads = rng.uniform(0.01, 0.3, 24)
    gains = expected_improvement(points, spreads, done, ~done)
    assert not gains[done].any()
    drawn = rng.normal(size=2000)
    for at in (8, 15, 23):
        each = np.array([grown(points, done, at, points[at, 0] + spreads[at] * z) for z in drawn])
        assert gains[at] == pytest.approx(each.mean(), abs=4 * each.std() / len(each) ** 0.5 + 1e-4)


def test_what_is_known_exactly_improves_by_what_it_adds():
    rng = np.random.default_rng(0)
    points, done = rng.random((60, 2)), np.arange(60) < 20
    gains = expected_improvement(points, np.zeros(60), done, ~done)
    expected = [grown(points, done, at, points[at, 0]) for at in range(20, 60)]
    np.testing.assert_allclose(gains[20:], expected, atol=1e-12)


@pytest.mark.parametrize(("dimensions", "count"), [(2, 20 * CELLS), (3, 60)])
def test_cells_that_are_cut_at_quantiles_rank_points_as_the_hypervolume_does(dimensions, count):
    rng = np.random.default_rng(1)
    points, done = rng.random((count, dimensions)), np.arange(count) < 20
    gains = expected_improvement(points, np.full(count, 1e-6), done, ~done)[20:60]
    exact = [grown(points, done, at, points[at, 0]) for at in range(20, 60)]
    assert np.corrcoef(gains, exact)[0, 1] > 0.95


def test_no_large_network_is_lost_between_cells():
    """Costs as networks have them: most are small, and some are ten times as large."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=60)
    error = 0.3 - 0.05 * size + 0.03 * rng.normal(size=60)
    points = np.column_stack([error, np.exp(15 + size), np.exp(10 + 0.6 * size + 0.4 * rng.normal(size=60))])
    done = rng.random(60) < 0.2
    gains = expected_improvement(points, np.full(60, 0.02), done, ~done)
    assert (gains[~done] > 0).all()
