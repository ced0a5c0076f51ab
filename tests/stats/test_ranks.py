"""Agreement of two rankings against scipy, and the coverage of its intervals."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nas.stats.ranks import agreement


def pairs(count, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    return x, x + noise * rng.normal(size=count)


def test_figures_are_those_of_scipy_with_ties():
    x, y = (np.round(values, 1) for values in pairs(40))
    found = agreement(x, y, 200, np.random.default_rng(0))
    assert found.rho.value == pytest.approx(spearmanr(x, y).statistic)
    assert found.tau.value == pytest.approx(kendalltau(x, y).statistic)
    assert found.rho.low < found.rho.value < found.rho.high
    assert found.tau.low < found.tau.value < found.tau.high


def test_the_overlap_counts_the_best_that_stay_the_best():
    x = np.arange(40.0)
    y = x.copy()
    y[[0, 39]] = y[[39, 0]]
    found = agreement(x, y, 200, np.random.default_rng(0))
    assert (found.best, found.top.value) == (4, 0.75)
    assert agreement(x, -x, 200, np.random.default_rng(0)).top.value == 0
    assert agreement(x, x, 200, np.random.default_rng(0)).top.low == 1


def test_few_networks_and_no_spread_have_no_limits():
    few = agreement(np.arange(2.0), np.arange(2.0), 200, np.random.default_rng(0))
    assert np.isnan([few.rho.value, few.tau.value, few.top.value]).all()
    constant = agreement(np.ones(10), np.arange(10.0), 200, np.random.default_rng(0))
    assert (constant.rho.value, constant.tau.value) == (0, 0)


@pytest.mark.slow
def test_networks_of_one_context_do_not_narrow_the_interval():
    """Contexts of five networks that share most of what they are: rho is over contexts, not networks."""
    held, narrow, repetitions = 0, 0, 100
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(30), 5)
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's rho of normal pairs of correlation .6
    for _ in range(repetitions):
        shared = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 30)[cluster]
        own = 0.05 * rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 150)
        x, y = (shared + own).T
        by_context = agreement(x, y, 200, rng, cluster).rho
        by_network = agreement(x, y, 200, rng).rho
        held += by_context.low <= truth <= by_context.high
        narrow += by_network.low <= truth <= by_network.high
    assert held / repetitions > 0.88
    assert narrow / repetitions < 0.75
