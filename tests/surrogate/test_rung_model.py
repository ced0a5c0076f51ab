"""The final errors that the model expects of trainings at rungs, and how often its intervals hold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from nas.surrogate.rung_model import MAX_TRAININGS, RungModel

RUNGS = (1, 3, 9)
DOMAINS = {f"block{i}": (0, 1, 2) for i in range(4)}


def result(number, decisions, flops, epochs, error):
    curve = () if error is None else ({"val_error": error},)
    return SimpleNamespace(
        number=number, decisions=decisions, flops=flops, epochs=epochs, error=error, curve=curve
    )


def rungs_reached(number):
    """A third of the trainings reach the second rung, a ninth the third."""
    return 1 + (number % 3 == 0) + (number % 9 == 0)


def simulated(seed, count=60, noise=0.02):
    """Results at rungs, and the errors of all trainings at the end."""
    rng = np.random.default_rng(seed)
    effects, results, final = rng.normal(0, 0.03, (4, 3)), [], []
    for number in range(count):
        options, size = rng.integers(3, size=4), rng.uniform(0, 4)
        decisions = {f"block{i}": int(option) for i, option in enumerate(options)}
        slow = np.array([0.04 * size, 0.02 * size, 0.0])  # larger networks learn more slowly
        errors = 0.6 - 0.06 * size + effects[range(4), options].sum() + rng.normal(0, 0.01) + slow
        errors += rng.normal(0, noise, 3) / np.sqrt(RUNGS)
        reached = rungs_reached(number)
        results += [
            result(number, decisions, int(1e6 * np.exp(size)), epochs, error)
            for epochs, error in zip(RUNGS[:reached], errors, strict=False)
        ]
        final.append(errors[-1])
    return results, np.array(final)


def latest(results):
    return list({item.number: item for item in results}.values())


def predict(results, items, domains=DOMAINS, noisy=False):
    model = RungModel(RUNGS[-1], domains).fit(results)
    return np.array(model.predict_end(items, [item.number for item in items], noisy=noisy))


def test_predictions_are_nearer_to_the_end_than_the_last_error():
    """The last error is corrected by the mean change between its rung and the end."""
    ours, naive = [], []
    for seed in range(6):
        results, final = simulated(seed)
        measured = np.array([item.error for item in latest(results)])
        epochs = np.array([item.epochs for item in latest(results)])
        for rung in RUNGS:
            measured[epochs == rung] += (final - measured)[epochs == rung].mean()
        ours.append(np.mean((predict(results, latest(results))[0] - final) ** 2))
        naive.append(np.mean((measured - final) ** 2))
    assert np.mean(ours) < 0.7 * np.mean(naive)


def test_intervals_hold_the_errors_at_the_end():
    within = {0.8: [], 0.95: []}
    for seed in range(8):
        results, final = simulated(seed)
        waiting = np.array([item.epochs < RUNGS[-1] for item in latest(results)])
        mean, spread = predict(results, latest(results), noisy=True)
        deviations = (np.abs(final - mean) / spread)[waiting]
        for share, width in ((0.8, 1.28), (0.95, 1.96)):
            within[share].append((deviations < width).mean())
    assert 0.7 < np.mean(within[0.8]) < 0.92
    assert 0.86 < np.mean(within[0.95]) < 0.99


def test_the_spread_shrinks_with_every_rung():
    results, _ = simulated(3)
    at_rungs = [next(item for item in latest(results) if item.epochs == epochs) for epochs in RUNGS]
    fresh = result(-1, at_rungs[0].decisions, at_rungs[0].flops, 0, None)
    mean, spread = predict(results, [fresh, *at_rungs])
    assert all(np.diff(spread) < 0)
    assert mean[-1] == pytest.approx(at_rungs[-1].error, abs=0.005)  # that training has ended


def test_equal_results_are_pulled_towards_their_kin():
    """Other networks with option 1 do better than those with 0, so a network with 0 was lucky."""
    results = [result(i, {"block0": i % 2}, 100, 1, 0.7 - 0.2 * (i % 2)) for i in range(2, 22)]
    results += [result(i, {"block0": i}, 100, 1, 0.6) for i in (0, 1)]
    (lucky, unlucky), _ = predict(results, results[-2:])
    assert unlucky < lucky


def test_a_full_training_that_was_lucky_is_pulled_back():
    """What is expected is the mean over many trainings of the network, of which one is known."""
    rng = np.random.default_rng(0)
    results = [result(i, {"block0": i % 2}, 100, 9, 0.5 + 0.02 * rng.normal()) for i in range(30)]
    lucky = result(30, {"block0": 0}, 100, 9, 0.4)
    (mean,), (spread,) = predict([*results, lucky], [lucky])
    assert 0.41 < mean < 0.48
    assert 0.005 < spread < 0.05


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_trainings_are_predicted_about_as_measured(count):
    results = [result(i, {}, 1000 + i, 1, 0.5) for i in range(count)]
    mean, spread = predict(results, results, {})
    assert mean == pytest.approx(0.5, abs=0.08)
    assert np.isfinite(spread).all()


def test_predictions_are_errors_from_0_to_1():
    results = [result(i, {}, 10 ** (2 + i), 1, error) for i, error in enumerate((0.9, 0.5, 0.1))]
    mean, _ = predict(results, [result(-1, {}, 1, 0, None), result(-2, {}, 10**12, 0, None)], {})
    assert 0 <= mean.min() <= mean.max() <= 1


def test_it_does_not_depend_on_when_it_was_asked_before():
    """A resumed search meets many results at once."""
    results, _ = simulated(0, 30)
    items, followed = latest(results), RungModel(RUNGS[-1], DOMAINS)
    for count in range(1, len(results) + 1, 4):
        often = followed.fit(results[:count])
        once = RungModel(RUNGS[-1], DOMAINS).fit(results[:count])
        numbers = [item.number for item in items]
        assert np.array_equal(often.predict_end(items, numbers), once.predict_end(items, numbers))


def test_a_large_search_is_predicted_from_some_of_its_trainings():
    results = [
        result(i, {"block0": i % 3}, 1000 + i, 1, 0.5 + 0.05 * (i % 3)) for i in range(2 * MAX_TRAININGS)
    ]
    model = RungModel(RUNGS[-1], DOMAINS).fit(results)
    mean, _ = model.predict_end(results, [item.number for item in results])
    assert mean == pytest.approx([item.error for item in results], abs=0.03)
