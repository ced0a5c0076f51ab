"""The model of final errors: what it expects of networks, and how often its intervals hold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from testing.paths import ROOT

import nas.surrogate
from nas.study.run import open_run
from nas.surrogate.error_model import MIN_TRIALS


def training(decisions, flops, error):
    return SimpleNamespace(decisions=decisions, flops=flops, error=error)


def test_lucky_trainings_are_pulled_back_towards_their_kin():
    """60 networks whose errors follow from two decisions, seen with noise."""
    rng = np.random.default_rng(0)
    decisions = [{"a": f"{rng.integers(6)}", "b": f"{rng.integers(3)}"} for _ in range(60)]
    truth = np.array([0.2 - 0.02 * int(item["a"]) + 0.01 * int(item["b"]) for item in decisions])
    seen = truth + 0.01 * rng.normal(size=60)
    model = nas.surrogate.fit(training(d, 10**6, e) for d, e in zip(decisions, seen, strict=True))
    mean, spread = model.predict([training(d, 10**6, None) for d in decisions])
    assert np.abs(mean - truth).max() < 0.7 * np.abs(seen - truth).max()
    assert spread.max() < 0.02
    _, noisy = model.predict_training([training(d, 10**6, None) for d in decisions])
    assert np.median(noisy) == pytest.approx(0.01, rel=0.5)


def test_few_trainings_give_no_model():
    failed = [training({"a": 0}, 1, None)] * 20
    few = [training({"a": i % 2}, 1, 0.5) for i in range(MIN_TRIALS - 1)]
    assert nas.surrogate.fit(failed + few) is None
    assert nas.surrogate.fit([*few, training({"a": 1}, 1, 0.5)]) is not None


def test_options_not_met_are_less_sure():
    trials = [training({"a": i % 2, "b": i % 3}, 100 + i, 0.1 + 0.1 * (i % 2)) for i in range(24)]
    model = nas.surrogate.fit(trials)
    _, spread = model.predict([trials[0], training({"a": 7, "b": 0}, 100, None)])
    assert spread[1] > 2 * spread[0]


@pytest.mark.parametrize("count", [50, 150])
def test_intervals_cover_unseen_networks(monkeypatch, count):
    """448 networks trained on digits, the noise of a training included."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from tabulated import digits

    table = digits()
    networks = list({genotype.digest: genotype for genotype in table.space.enumerate()}.values())
    trials = [
        training(table.space.decisions(genotype), int(flops), error)
        for genotype, (error, flops) in ((genotype, table.measure(genotype)) for genotype in networks)
    ]
    within = {0.8: [], 0.95: []}
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(len(trials))
        model = nas.surrogate.fit([trials[i] for i in order[:count]], table.space.domains())
        others = [trials[i] for i in order[count:]]
        mean, spread = model.predict_training(others)
        deviations = np.abs(np.array([trial.error for trial in others]) - mean) / spread
        for share, width in ((0.8, 1.28), (0.95, 1.96)):
            within[share].append((deviations < width).mean())
    assert 0.75 < np.mean(within[0.8]) < 0.9
    assert 0.85 < np.mean(within[0.95]) < 0.98


@pytest.mark.parametrize("seed", range(3))
def test_few_validation_images_make_wide_intervals_that_hold(seed):
    """A dozen networks whose errors are counted on 100 images; more networks would tell the noise."""
    rng = np.random.default_rng(seed)
    decisions = [{"a": f"{rng.integers(6)}", "b": f"{rng.integers(6)}"} for _ in range(12)]
    truth = rng.uniform(0.2, 0.3, 12)
    seen = [
        training(d, int(f), e)
        for d, f, e in zip(decisions, rng.uniform(1e6, 1e7, 12), rng.binomial(100, truth) / 100, strict=True)
    ]
    held = {}
    for images in (None, 100, 10_000):
        mean, spread = nas.surrogate.fit(seen, images=images).predict(seen)
        held[images] = float(np.mean(np.abs(mean - truth) <= 1.96 * spread))
    assert held[100] >= 11 / 12 >= held[None]
    mean, spread = nas.surrogate.fit(seen, images=100).predict_training(seen)
    assert (spread > np.sqrt(0.2 * 0.8 / 100) / 2).all()


def test_intervals_of_first_trainings_hold_the_second():
    """A dozen of the networks that were trained twice, with 1,000 validation images of CIFAR-10."""
    trainings = {}
    for trial in open_run(ROOT / "results/published/five_types_cifar10/main").study.complete:
        trainings.setdefault(trial.digest, []).append(trial)
    twice = [found for found in trainings.values() if len(found) > 1]
    held = {None: [], 1_000: []}
    for seed in range(10):
        chosen = [twice[i] for i in np.random.default_rng(seed).permutation(len(twice))[:12]]
        firsts, seconds = [found[0] for found in chosen], np.array([found[1].error for found in chosen])
        for images, shares in held.items():
            mean, spread = nas.surrogate.fit(firsts, images=images).predict_training(firsts)
            shares.append((np.abs(seconds - mean) <= 1.96 * spread).mean())
    assert np.mean(held[1_000]) > 0.88
    assert np.mean(held[None]) < np.mean(held[1_000]) - 0.1


@pytest.mark.slow
def test_a_dozen_trainings_are_less_sure_as_they_do_not_tell_their_noise(monkeypatch):
    """Networks of the study on CIFAR-10, with 10,000 validation images, of which two seeds vary by more than
    the luck of counting: the second training tells how often intervals of the first ones hold."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import second_trainings

    trained = second_trainings.of_study("cifar10")
    held, rms = {}, {}
    for few in (0, nas.surrogate.error_model.FEW):
        monkeypatch.setattr("nas.surrogate.error_model.FEW", few)
        samples = [second_trainings.judged(trained, 10_000, 12, seed) for seed in range(10)]
        *_, expected, _, held[few] = np.mean(samples, axis=0)
        rms[few] = np.sqrt(expected)
    (before, after) = held.values()
    assert after > max(0.87, before + 0.03)
    assert rms[nas.surrogate.error_model.FEW] <= rms[0]
