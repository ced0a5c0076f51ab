"""The Gaussian process over decisions and log FLOPs: its parameters, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from testing.paths import ROOT

from nas.surrogate.encoder import Encoder
from nas.surrogate.gaussian_process import (
    NOISE,
    PRIOR_DEVIATIONS,
    Distances,
    GaussianProcess,
    _Scale,
    draw_parameters,
    fit_parameters,
    negative_log_posterior,
    prior_mean,
)
from nas.surrogate.stages import Stages

DOMAINS = {"type1": ("a", "b", "c"), "type2": ("a", "b", "c"), "width": (8, 16, 64), "fixed": (1,)}


def squared_distances(rows):
    return ((rows[:, None, :-1] - rows[None, :, :-1]) ** 2).sum(axis=2)


def test_rows_hold_options_ordinals_shares_and_log_flops():
    encoder = Encoder.of({"a": ("x", "y", "z"), "width": (8, 16, 64), "fixed": (1,)})
    chosen = [{"a": "x", "width": 8}, {"a": "y", "width": 8}, {"a": "y", "width": 64}, {"a": "z"}]
    rows = encoder.encode(chosen, [np.e, 1, 1, 0])
    assert rows[:, -1].tolist() == pytest.approx([1, 0, 0, 0])
    distances = squared_distances(rows)
    assert distances[0].tolist() == pytest.approx([0, 1, 2, 1.25])  # a width that is not asked is halfway
    shared = Encoder.of({"stage1.type": ("x", "y", "z"), "stage2.type": ("x", "y", "z")})
    same = [dict(zip(("stage1.type", "stage2.type"), pair, strict=True)) for pair in ("xy", "yx", "yy")]
    distances = squared_distances(shared.encode(same, [1, 1, 1]))
    assert distances[1].tolist() == pytest.approx([2, 0, 1.5])  # x and y as often, in other places
    assert shared.group.tolist() == [0] * 6 + [1] * 3


def test_options_that_are_not_met_are_unlike_all():
    encoder = Encoder.of(DOMAINS)
    rows = encoder.encode([{"type1": "a"}, {"type1": "b"}, {"type1": "new", "other": 3}], [1, 1, 1])
    assert squared_distances(rows)[2, :2].min() > 0.5


def simulated(seed, count=80, noise=0.05):
    """Networks and values: a trend, effects of options, and an interaction."""
    rng = np.random.default_rng(seed)
    paths = [path for path in DOMAINS if path != "fixed"]
    decisions = [{path: DOMAINS[path][rng.integers(3)] for path in paths} for _ in range(count)]
    flops = np.exp(rng.uniform(10, 14, count))
    values = np.array([0.2 * (d["type1"] == "a") + 0.3 * (d["type2"] == d["type1"]) for d in decisions])
    values += 0.1 * np.log(flops) + noise * rng.normal(size=count)
    encoder = Encoder.of(DOMAINS)
    return encoder, encoder.encode(decisions, flops), values


@pytest.mark.parametrize("staged", [False, True])
def test_the_gradient_is_that_of_the_posterior(staged):
    """Also where each two values are of one training, after a third of its epochs and at its end."""
    encoder, rows, values = simulated(0, 20)
    scale, standardized = _Scale.of(rows, values)
    stages = Stages(np.log(np.tile([1 / 3, 1.0], 10)), np.repeat(np.arange(10), 2)) if staged else None
    distances, prior = Distances.of(encoder, scale, rows, stages), prior_mean(encoder)

    def value(parameters):
        return negative_log_posterior(parameters, prior, distances, standardized)[0]

    def gradient(parameters):
        return negative_log_posterior(parameters, prior, distances, standardized)[1]

    assert check_grad(value, gradient, prior + 0.1) < 1e-3


def test_effects_interactions_and_the_noise_are_found():
    encoder, rows, values = simulated(1)
    parameters = fit_parameters(encoder, rows, values)
    mean, _ = GaussianProcess(encoder, rows, values, parameters).predict(rows)
    truth = simulated(1, noise=0)[2]
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.7 * np.sqrt(np.mean((values - truth) ** 2))
    assert np.sqrt(np.exp(parameters[3])) * values.std() == pytest.approx(0.05, rel=0.5)


def test_parameters_drawn_are_about_the_best_and_the_closer_the_more_values_tell_them():
    spreads = []
    for count in (10, 80):
        encoder, rows, values = simulated(3, count)
        best = fit_parameters(encoder, rows, values)
        draws = draw_parameters(best, encoder, rows, values)
        assert draws.mean(axis=0) == pytest.approx(best)
        assert draws.std(axis=0).max() < 2 * max(PRIOR_DEVIATIONS)
        spreads.append(draws[:, NOISE].std())
    assert spreads[1] < spreads[0] / 2


def test_known_networks_are_predicted_surely_and_others_less():
    encoder, rows, values = simulated(2, 30)
    model = GaussianProcess(encoder, rows, values, fit_parameters(encoder, rows, values))
    far = rows[:5].copy()
    far[:, -1] += 5
    assert model.predict(rows[:5])[1].max() < model.predict(far)[1].min()


@pytest.mark.parametrize("count", [50, 150])
def test_intervals_cover_unseen_networks(monkeypatch, count):
    """448 networks trained on digits, the error on a logarithmic scale, the noise of a training included. The
    errors have heavy tails, so intervals of 95 % cover 90 %."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from tabulated import digits

    table = digits()
    networks = list({genotype.digest: genotype for genotype in table.space.enumerate()}.values())
    points = np.array([table.measure(genotype) for genotype in networks])
    encoder = Encoder.of(table.space.domains())
    rows = encoder.encode([table.space.decisions(genotype) for genotype in networks], points[:, 1])
    logs, within = np.log(points[:, 0]), {0.8: [], 0.95: []}
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(networks))
        seen, others = order[:count], order[count:]
        parameters = fit_parameters(encoder, rows[seen], logs[seen])
        mean, spread = GaussianProcess(encoder, rows[seen], logs[seen], parameters).predict(rows[others])
        noise = np.exp(parameters[3] / 2) * logs[seen].std()
        deviations = np.abs(logs[others] - mean) / np.hypot(spread, noise)
        for share, width in ((0.8, 1.28), (0.95, 1.96)):
            within[share].append(np.mean(deviations < width))
    assert np.mean(within[0.8]) == pytest.approx(0.8, abs=0.08)
    assert 0.88 < np.mean(within[0.95]) < 0.97
