from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.analysis import type_effects as effects
from nas.analysis.type_effects import Sample
from nas.stats import resampling as statistics


def one_hot(types, count):
    return np.eye(count)[np.asarray(types)]


def sample(types, error, count=None):
    return Sample(one_hot(types, count or max(types) + 1), np.asarray(error, float))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_means_of_pure_networks_are_group_means():
    types, error = [0, 0, 1, 1, 1, 2, 2], [0.1, 0.2, 0.3, 0.4, 0.5, 0.0, 0.2]
    found = effects.type_effects(sample(types, error), 50, rng())
    assert found.means == pytest.approx([0.15, 0.4, 0.1])
    assert found.difference(0, 1)[0] == pytest.approx(0.25)


def test_standard_error_is_the_sandwich_of_two_means():
    error = rng().normal(size=40)
    types = [0] * 15 + [1] * 25
    found = effects.type_effects(sample(types, error), 10, rng())
    a, b = error[:15], error[15:]
    expected = a.var() / 15 + b.var() / 25
    unit = np.array([-1.0, 1.0])
    assert unit @ found.covariance @ unit == pytest.approx(expected)
    assert found.covariance[0, 0] == pytest.approx(a.var() / 15)


def test_effects_of_mixed_networks_equal_least_squares():
    generator = rng(1)
    shares = generator.dirichlet(np.ones(3), 60)
    error = shares @ [0.1, 0.3, 0.2] + generator.normal(0, 0.01, 60)
    found = effects.type_effects(Sample(shares, error), 10, rng())
    assert found.means == pytest.approx(np.linalg.lstsq(shares, error, rcond=None)[0])
    assert shares.mean(axis=0) @ found.means == pytest.approx(error.mean())


def test_types_that_no_network_tells_apart_have_no_effect():
    mixed = Sample(np.full((20, 2), 0.5), rng().normal(size=20))
    assert np.isnan(effects.type_effects(mixed, 20, rng()).difference(0, 1)).all()
    assert np.isnan(effects.permutation_p(mixed, 20, rng())).all()


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["normal", "exponential"])
def test_intervals_cover_and_tests_keep_their_level(noise):
    covered, rejected, repeats = 0, 0, 400
    for seed in range(repeats):
        generator = rng(seed)
        types = generator.integers(2, size=40)
        error = getattr(generator, noise)(size=40) * (1 + types)
        if noise == "exponential":
            error = error - 1 - types
        drawn = sample(types, error, count=2)
        _, low, high = effects.type_effects(drawn, 300, generator).difference(0, 1)
        covered += low <= 0 <= high
        rejected += effects.permutation_p(drawn, 300, generator)[0] < 0.05
    assert 0.92 <= covered / repeats <= 0.985
    assert rejected / repeats <= 0.08


def test_permutation_finds_a_difference_and_only_that_one():
    types = np.repeat([0, 1, 2], 20)
    error = rng(3).normal(0, 0.1, 60) + (types == 2)
    p = dict(
        zip(combinations(range(3), 2), effects.permutation_p(sample(types, error), 999, rng()), strict=True)
    )
    assert p[0, 2] == p[1, 2] == 1 / 1000
    assert p[0, 1] > 0.05


def test_the_same_generator_gives_the_same_figures():
    drawn = sample(np.tile([0, 1], 20), rng(4).normal(size=40))
    first, second = (effects.type_effects(drawn, 100, rng(5)).difference(0, 1) for _ in range(2))
    assert first == second


def test_chunks_do_not_change_the_figures(monkeypatch):
    drawn = sample(np.tile([0, 1], 20), rng(4).normal(size=40))
    whole = effects.type_effects(drawn, 50, rng(5)), effects.permutation_p(drawn, 50, rng(6))
    monkeypatch.setattr(effects, "CHUNK", 400)
    parts = effects.type_effects(drawn, 50, rng(5)), effects.permutation_p(drawn, 50, rng(6))
    assert parts[0].draws == pytest.approx(whole[0].draws)
    assert parts[1] == pytest.approx(whole[1])


def test_holm_is_the_textbook_example():
    assert statistics.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested():
    adjusted = statistics.holm(np.array([0.02, np.nan, 0.04]))
    assert adjusted[[0, 2]] == pytest.approx([0.04, 0.04])
    assert np.isnan(adjusted[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_raises_every_p_and_keeps_their_order(p):
    values = np.array(p)
    adjusted = statistics.holm(values)
    assert (adjusted >= values).all()
    assert adjusted.max() <= 1
    assert (np.diff(adjusted[np.argsort(values, kind="stable")]) >= 0).all()


def test_sign_flip_counts_all_signs_of_a_small_sample():
    assert statistics.sign_flip_p(np.array([1.0, 2.0, 3.0]), 1000, rng()) == pytest.approx(2 / 8)
    assert statistics.sign_flip_p(np.full(40, 0.1), 999, rng()) == pytest.approx(1 / 1000)
    assert np.isnan(statistics.sign_flip_p(np.array([np.nan]), 10, rng()))


def test_superiority_counts_pairs_within_strata_and_halves_ties():
    error, group = np.array([0.3, 0.2, 0.2, 0.1]), np.array([0, 0, 1, 1])
    assert statistics.superiority(error, group, np.zeros(4, int), 0, 1) == pytest.approx(3.5 / 4)
    assert np.isnan(statistics.superiority(error, group, np.array([0, 0, 1, 1]), 0, 1))


def test_log_bins_have_equal_width_in_the_logarithm():
    edges, bins = statistics.log_bins(np.array([1.0, 10, 100, 1000, 999]), 3)
    assert edges == pytest.approx([1, 10, 100, 1000])
    assert bins.tolist() == [0, 1, 2, 2, 2]
    assert statistics.log_bins(np.array([5.0, 5.0]), 5)[1].max() <= 4


def test_in_a_chain_of_ties_a_name_stands_in_several_groups():
    means = np.array([0.1, 0.2, 0.3, 0.9])
    ends = {frozenset(pair) for pair in (("a", "c"), ("a", "d"), ("b", "d"), ("c", "d"))}
    assert statistics.tied_groups(list("abcd"), means, ends) == [["a", "b"], ["b", "c"], ["d"]]
    assert statistics.tied_groups(list("abcd"), means, set()) == [["a", "b", "c", "d"]]


@given(st.lists(st.booleans(), min_size=21, max_size=21))
def test_tied_groups_are_the_maximal_cliques_of_the_ties(tied):
    pairs = list(combinations("abcdefg", 2))
    graph = nx.Graph(pair for pair, together in zip(pairs, tied, strict=True) if together)
    graph.add_nodes_from("abcdefg")
    separated = {frozenset(pair) for pair, together in zip(pairs, tied, strict=True) if not together}
    found = statistics.tied_groups(list("abcdefg"), np.arange(7.0), separated)
    assert found == sorted(map(sorted, nx.find_cliques(graph)))
