"""The Gaussian process over decisions and log FLOPs: its parameters, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from testing.paths import ROOT

from nas.surrogate.gaussian_process import (
    Encoder,
    GaussianProcess,
    _distances,
    _prior_mean,
    _Scale,
    fit_parameters,
    negative_log_posterior,
)

DOMAINS = {"type1": ("a", "b", "c"), "type2": ("a", "b", "c"), "width": (8, 16, 64), "fixed": (1,)}


def test_rows_hold_options_ordinals_shares_and_log_flops():
    encoder = Encoder.of(DOMAINS)
    rows = encoder.encode([{"type1": "b", "type2": "b", "width": 16}, {"type1": "c"}], [np.e, 1])
    assert rows[0].tolist() == pytest.approx([1, 1, 0.5, 0, 1, 0, 1])
    assert rows[1].tolist() == pytest.approx([2, -1, -1, 0, 0, 0.5, 0])
    assert encoder.ordinal.tolist() == [False, False, True, True, True, True]


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


def test_the_gradient_is_that_of_the_posterior():
    encoder, rows, values = simulated(0, 20)
    scale, standardized = _Scale.of(rows, values)
    distances = _distances(encoder.ordinal, scale, rows, rows)
    start = _prior_mean(len(encoder.ordinal)) + 0.1

    def value(parameters):
        return negative_log_posterior(parameters, distances, standardized)[0]

    def gradient(parameters):
        return negative_log_posterior(parameters, distances, standardized)[1]

    assert check_grad(value, gradient, start) < 1e-3


def test_effects_interactions_and_the_noise_are_found():
    encoder, rows, values = simulated(1)
    parameters = fit_parameters(encoder, rows, values)
    mean, _ = GaussianProcess(encoder, rows, values, parameters).predict(rows)
    truth = simulated(1, noise=0)[2]
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.7 * np.sqrt(np.mean((values - truth) ** 2))
    assert np.sqrt(np.exp(parameters[3])) * values.std() == pytest.approx(0.05, rel=0.5)


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
