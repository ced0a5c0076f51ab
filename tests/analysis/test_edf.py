"""Error distribution functions: laws of the raw and of the complexity-normalised one."""

import numpy as np
import pytest

from nas.analysis.edf import edf, edf_band, shared_bins


def test_the_edf_is_the_share_at_or_below_each_error():
    x, y = edf([0.3, 0.1, 0.1, 0.4])
    assert x.tolist() == [0.1, 0.3, 0.4]
    assert y.tolist() == [0.5, 0.75, 1.0]
    assert edf([0.1, 0.2], [3, 1])[1].tolist() == [0.75, 1.0]
    assert edf([])[0].size == 0


def test_the_band_holds_the_curve_and_is_that_of_equal_weights_where_flops_are_equal():
    errors = np.random.default_rng(0).uniform(size=80)
    raw, matched = edf_band(errors), edf_band(errors, np.full(80, 1e6))
    assert np.allclose(raw.y, edf(errors)[1])
    assert np.allclose(raw.y, matched.y)
    assert (raw.low <= raw.y + 1e-12).all()
    assert (raw.high >= raw.y - 1e-12).all()
    assert raw.y[-1] == pytest.approx(1)


def test_normalised_every_flops_bin_weighs_the_same():
    """90 cheap networks of error 1 and 10 dear ones of error 0 are half and half."""
    errors, flops = np.repeat([1.0, 0.0], [90, 10]), np.repeat([1e6, 1e8], [90, 10])
    curve = edf_band(errors, flops)
    assert curve.x.tolist() == [0.0, 1.0]
    assert curve.y.tolist() == pytest.approx([0.5, 1.0])
    assert edf_band(errors).y[0] == pytest.approx(0.1)


def test_two_types_of_equal_error_at_equal_flops_agree_once_normalised():
    """The error follows from FLOPs alone; one type was drawn mostly cheap, the other mostly dear."""
    rng = np.random.default_rng(0)
    flops = [np.exp(rng.beta(1, 3, 4000) * 4), np.exp(rng.beta(3, 1, 4000) * 4)]
    bins = shared_bins(flops)
    raw, matched = (
        [edf_band(-np.log(f), f if normalised else None, bins=bins, resamples=2) for f in flops]
        for normalised in (False, True)
    )
    gap = [np.interp(-2, c.x, c.y) for c in raw], [np.interp(-2, c.x, c.y) for c in matched]
    assert abs(np.diff(gap[0])[0]) > 0.5
    assert abs(np.diff(gap[1])[0]) < 0.1


def test_bins_that_one_group_leaves_empty_are_left_out_for_all():
    assert shared_bins([[1.0, 1e5], [1e5, 1e5]])[:, 1].max() > 1e5
    assert len(shared_bins([[1.0, 1e5], [1e5]])) == 1
    assert len(shared_bins([[1.0], [1e5]])) == 0
    assert edf_band([0.5], [1.0], bins=shared_bins([[1.0], [1e5]])).x.size == 0


def test_the_band_covers_the_truth():
    """The share below the median of the truth, in 19 of 20 samples (within the test's own noise)."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        curve = edf_band(rng.uniform(size=60), resamples=200, rng=rng)
        at = np.searchsorted(curve.x, 0.5) - 1
        hits += curve.low[at] <= 0.5 <= curve.high[at]
    assert 0.88 <= hits / 100 <= 1.0


def test_clusters_widen_the_band():
    """Ten copies of each network tell no more than one."""
    errors = np.random.default_rng(0).uniform(size=40)
    copies, owner = np.tile(errors, 10), np.tile(np.arange(40), 10)
    naive, honest, alone = edf_band(copies), edf_band(copies, cluster=owner), edf_band(errors)
    width = [float((c.high - c.low).mean()) for c in (naive, honest, alone)]
    assert width[1] == pytest.approx(width[2], rel=0.1)
    assert width[0] < 0.5 * width[1]


def test_one_network_has_a_curve_without_a_band():
    curve = edf_band([0.2])
    assert (curve.x.tolist(), curve.y.tolist()) == ([0.2], [1.0])
    assert np.isnan(curve.low).all()
