"""The scatter plot of a front in text."""

import pytest

from nas.cli._scatter import MEMBER, POINT, scatter

POINTS = [(1e6, 0.5), (2e6, 0.6), (4e6, 0.3), (8e6, 0.4), (8e6, 0.2)]


def test_members_of_the_front_have_their_own_mark() -> None:
    text = "\n".join(scatter(POINTS, 40, 12))
    assert text.count(MEMBER) == 3
    assert text.count(POINT) == 2


def test_low_flops_are_left_and_low_errors_below() -> None:
    lines = scatter(POINTS, 40, 12)
    where = [(row, line.index(MEMBER)) for row, line in enumerate(lines) if MEMBER in line]
    assert where == sorted(where)
    assert [column for _, column in where] == sorted({column for _, column in where})
    assert lines[-1].split() == ["1M", "FLOPs", "8M"]


@pytest.mark.parametrize(("width", "height"), [(20, 4), (48, 10), (100, 30)])
def test_the_plot_has_the_size_asked_for(width: int, height: int) -> None:
    lines = scatter(POINTS, width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width


def test_equal_points_need_no_scale() -> None:
    assert sum(MEMBER in line for line in scatter([(1e6, 0.5)] * 3, 40, 8)) == 1
