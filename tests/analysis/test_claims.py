"""Claims against known truth, in short: coverage, family-wise error, wrong signs and power of `nas.analyze`.

The long form, with tables of what came out, is benchmarks/claims.py.
"""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from testing.generators import NOISES, Truth, noise, table, with_evidence

import nas
from nas.analysis.claims.grades import Gate
from nas.analysis.text.statements import listing, stopped
from nas.stats import power
from nas.stats.paired_means import MOST_DRAWN, RESAMPLES, paired_means
from nas.stats.resampling import holm


def simulated(kind, contexts, scales, rng):
    """Differences of all pairs of four types whose noise is of one kind."""
    own = noise(kind, (contexts, 4), rng) * np.array(scales)
    return np.stack([own[:, b] - own[:, a] for a, b in combinations(range(4), 2)], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("scales", [(1, 1, 1, 1), (0.5, 1, 1, 2)], ids=["alike", "heteroscedastic"])
@pytest.mark.parametrize("kind", NOISES)
def test_intervals_cover_and_families_err_as_they_say(kind, scales):
    covered, wrong, repetitions = [], 0, 120
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, len(kind)])
        found = paired_means(simulated(kind, 24, scales, rng), 0.5, rng)
        covered += list((found.low <= 0) & (found.high >= 0))
        wrong += bool((holm(found.p) < 0.05).any())
    assert 0.92 <= np.mean(covered) <= 0.985
    assert wrong <= 13  # of 120, where 5 % are 6 and three standard errors 7


def test_an_interval_excludes_zero_where_p_is_small():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = paired_means(rng.gamma(1, size=(20, 6)) - 0.6, 0.5, rng)
        outside = (found.low > 0) | (found.high < 0)
        assert ((found.p < 0.05) == outside).sum() >= 5  # the same resamples, but for rounding


def test_a_rare_collapse_is_not_called_an_effect():
    """19 contexts agree and one is far off: sign flips alone would call the mean different."""
    d = np.full((20, 1), -0.01) + np.random.default_rng(0).normal(0, 0.001, (20, 1))
    d[0] = 0.5
    found = paired_means(d, 0.005, np.random.default_rng(1))
    assert found.skewness[0] > 3
    assert found.low[0] < 0 < found.high[0]


def test_long_tails_widen_the_limits_by_the_uncertainty_of_the_variance():
    """Differences of two values, one of them rare."""
    d = np.tile([0.0] * 19 + [1.0], 5)[:, None]
    d = d + np.random.default_rng(0).normal(0, 1e-6, d.shape)
    found = paired_means(d, 0.5, np.random.default_rng(1))
    c = d - d.mean()
    freedom = 2 / (2 / (len(d) - 1) + scipy.stats.kurtosis(c[:, 0], bias=False) / len(d))
    halves = np.random.default_rng(2).integers(2, size=(20_000, len(d)))
    flips = np.quantile((halves @ d)[:, 0] / halves.sum(axis=1), 0.025)
    t = scipy.stats.t(freedom).ppf(0.975) / scipy.stats.t(len(d) - 1).ppf(0.975)
    assert t > 1.05
    assert found.low[0] == pytest.approx(d.mean() - t * (d.mean() - flips), rel=0.05)


def test_contrasts_are_listed_by_those_that_are_left_out_where_these_are_few():
    names = ["a -> b", "a -> c", "b -> c", "a -> d", "b -> d", "c -> d"]
    assert listing(names, names) == "all contrasts"
    assert listing(names[1:], names) == "all contrasts but a -> b"
    assert listing(names[:2], names) == "a -> b, a -> c"
    assert listing(names[:1], names[:1]) == "a -> b"
    assert listing([], names) == ""


def test_many_contrasts_are_treated_in_parts():
    d = np.random.default_rng(0).normal(size=(12, 520))
    d[:, 3] += 3
    found = paired_means(d, 0.5, np.random.default_rng(1))
    assert d.shape[1] * RESAMPLES > MOST_DRAWN
    assert found.value == pytest.approx(d.mean(axis=0))
    assert found.low[3] > 1
    assert np.mean((found.low <= 0) & (found.high >= 0)) == pytest.approx(0.955, abs=0.015)


def test_skew_with_few_contexts_allows_no_causal_claim():
    """One context in which a type collapses; 50 contexts are enough for a claim beside it."""
    for contexts, grade in ((30, "C"), (60, "B")):
        frame = table(Truth(contexts=contexts, effects=(0.0, 0.03, 0.1)), np.random.default_rng(0))
        frame.loc[(frame["context"] == contexts - 1) & (frame["type"] == "type2"), "error"] += 0.5
        found = {(c.a, c.b): c for c in nas.analyze(with_evidence(frame)).paired.contrasts}
        assert found["type0", "type1"].skewed
        assert found["type0", "type1"].grade == grade
        assert any(gate.name == "skewness" for gate in found["type0", "type1"].refused) == (grade == "C")


@pytest.mark.slow
@pytest.mark.parametrize("tests", [1, 6])
def test_the_power_of_a_plan_is_what_is_found(tests):
    contexts = power.needed(0.5, 1.0, tests, two_tests=True)
    hits, repetitions = 0, 200
    for repetition in range(repetitions):
        rng = np.random.default_rng([repetition, tests])
        d = np.zeros((contexts, tests)) + rng.normal(size=(contexts, tests))
        d[:, 0] += 0.5
        hits += holm(paired_means(d, 0.5, rng).p)[0] < 0.05
    planned = power.predicted(contexts, 0.5, 1.0, tests, two_tests=True)
    assert hits / repetitions == pytest.approx(planned, abs=0.05 + 2 * 0.028)


@pytest.mark.slow
def test_no_claim_of_a_diverging_type_has_the_wrong_sign():
    """The last type is worse, and fails in the 40 % of its contexts where it is worst."""
    for repetition in range(15):
        truth = Truth(contexts=40, effects=(0.0, 0.0, 0.007), diverging=0.4)
        frame = with_evidence(table(truth, np.random.default_rng(repetition)))
        for c in nas.analyze(frame, seed=repetition).paired.contrasts:
            if c.b == "type2" and c.effect.value < 0:
                assert c.grade in "DX"


@pytest.mark.slow
def test_contexts_in_four_runs_are_not_four_times_the_evidence():
    import pandas as pd

    for repetition in range(10):
        frame = table(Truth(contexts=10, effects=(0.0, 0.0)), np.random.default_rng(repetition))
        runs = [
            frame.assign(
                run=run,
                seed=run,
                error=frame["error"] + np.random.default_rng(run).normal(0, 0.003, len(frame)),
            )
            for run in range(4)
        ]
        (found,) = nas.analyze(pd.concat(runs)).paired.contrasts
        assert found.contexts == 10
        assert found.grade == "X"


@pytest.mark.slow
def test_effects_that_turn_round_are_averages_at_twenty_contexts():
    """Seven of 20 contexts, the deep ones, are reversed."""
    said = 0
    for repetition in range(12):
        rng = np.random.default_rng(repetition)
        frame = table(Truth(contexts=20, effects=(0.0, -0.02), noise="normal"), rng)
        order = frame.groupby("context")["depth"].first().sort_values().index[-7:]
        frame["error"] += 0.05 * (frame["context"].isin(order) & (frame["type"] == "type1"))
        (found,) = nas.analyze(frame).paired.contrasts
        said += "on average over contexts" in found.claim
    assert said >= 11


def test_a_large_effect_is_found_and_an_absent_one_is_equivalent():
    """Positive and negative control through the public function."""
    truth = Truth(contexts=60, effects=(0.0, 0.0, 0.03), scales=(0.5, 0.5, 0.5), seeds=2)
    found = {(c.a, c.b): c for c in nas.analyze(table(truth, np.random.default_rng(0))).paired.contrasts}
    assert found["type0", "type2"].separated
    assert found["type0", "type2"].effect.low < 0.03 < found["type0", "type2"].effect.high
    assert found["type0", "type1"].equivalent
    assert not found["type0", "type1"].separated


def test_the_figures_of_a_gate_name_the_contrast_that_they_are_of():
    def contrast(b, p, missing):
        return SimpleNamespace(a="plain", b=b, refused=[Gate("Holm", "ABC", False, f"p = {p}", missing)])

    near, far = contrast("residual", 0.06, 8), contrast("fractal", 0.7, 80)
    assert stopped([near, far]) == [
        "all contrasts: Holm: p = 0.7; at least 80 more runs needed (of plain -> fractal, which lacks most)"
    ]
    assert stopped([near]) == ["plain -> residual: Holm: p = 0.06; at least 8 more runs needed"]
