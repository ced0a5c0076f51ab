"""Summaries over studies against published figures and known truth."""

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from nas.stats.meta import friedman, random_effects


def test_studies_that_agree_are_pooled_by_their_precision():
    found = random_effects(np.array([0.1, 0.1, 0.1]), np.array([0.01, 0.02, 0.04]))
    assert (found.mean.value, found.between, found.studies) == (pytest.approx(0.1), 0, 3)
    error = 1 / np.sqrt(1e4 + 2500 + 625)  # never narrower than the normal interval
    assert found.mean.high - found.mean.low == pytest.approx(2 * 1.96 * error, rel=1e-3)


def test_the_variance_between_studies_solves_the_equation_of_paule_and_mandel():
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.05, 0.3, 12)
    effects = rng.normal(0.5, 0.4, 12) + errors * rng.normal(size=12)
    found = random_effects(effects, errors)
    weight = 1 / (errors**2 + found.between**2)
    mean = weight @ effects / weight.sum()
    assert found.mean.value == pytest.approx(mean)
    assert weight @ (effects - mean) ** 2 == pytest.approx(11, rel=1e-6)
    assert found.prediction.low < found.mean.low < found.mean.high < found.prediction.high


@pytest.mark.slow
@pytest.mark.parametrize("studies", [3, 6])
def test_intervals_cover_the_mean_of_studies_and_predictions_a_new_one(studies):
    rng = np.random.default_rng(studies)
    covered = predicted = 0
    for _ in range(1000):
        errors = rng.uniform(0.1, 0.4, studies)
        own = rng.normal(1, 0.3, studies + 1)
        found = random_effects(own[:-1] + errors * rng.normal(size=studies), errors)
        covered += found.mean.low <= 1 <= found.mean.high
        predicted += found.prediction.low <= own[-1] <= found.prediction.high
    assert 0.93 <= covered / 1000 <= 0.98
    assert predicted / 1000 > 0.9


def test_one_study_has_no_summary_and_what_is_unknown_is_left_out():
    assert np.isnan(random_effects(np.array([1.0, np.nan]), np.array([0.1, 0.1])).mean.value)
    two = random_effects(np.array([1.0, np.nan, 1.0]), np.array([0.1, 0.1, 0.1]))
    assert two.studies == 2
    assert np.isnan(two.prediction.low)


def test_ranks_and_the_critical_difference_are_those_of_demsar():
    """Table 6 of Demšar (2006): C4.5 and three variants on 14 data sets."""
    table = np.array(
        [
            *((0.763, 0.768, 0.771, 0.798), (0.599, 0.591, 0.590, 0.569), (0.954, 0.971, 0.968, 0.967)),
            *((0.628, 0.661, 0.654, 0.657), (0.882, 0.888, 0.886, 0.898), (0.936, 0.931, 0.916, 0.931)),
            *((0.661, 0.668, 0.609, 0.685), (0.583, 0.583, 0.563, 0.625), (0.775, 0.838, 0.866, 0.875)),
            *((1.000, 1.000, 1.000, 1.000), (0.940, 0.962, 0.965, 0.962), (0.619, 0.666, 0.614, 0.669)),
            *((0.972, 0.981, 0.9751, 0.975), (0.957, 0.978, 0.946, 0.970)),
        ]
    )
    found = friedman(1 - table)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=0.001)
    assert found.critical == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), rel=1e-3)
    assert found.p == pytest.approx(0.025, abs=0.01)  # of chi-squared 9.28
    assert not found.separated(0, 1)  # 1.143 of the 1.253 that are needed


def test_friedman_agrees_with_scipy_and_knows_the_ends():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(10, 3)) + np.array([0, 0.5, 2])
    found = friedman(values)
    assert found.p == pytest.approx(friedmanchisquare(*values.T).pvalue, abs=0.005)
    assert found.separated(0, 2)
    assert friedman(np.tile([1.0, 2.0, 3.0], (6, 1))).p < 0.001
    assert friedman(np.tile([1.0, 2.0], (2, 1))).p == pytest.approx(
        0.5, abs=0.02
    )  # as one coin after another
    assert friedman(np.ones((6, 3))).p == 1
    assert np.isnan(friedman(np.ones((1, 3))).p)
