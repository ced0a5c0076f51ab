"""What the error of a training that stopped at a rung would be at its end."""

from __future__ import annotations

import numpy as np
import pytest

from nas.graph.cost import Cost
from nas.space.space import load_space
from nas.study.trial import Proposal, Trial
from nas.surrogate.learning_curve import FREE, PRIOR, forecast, noise

RUNGS = (1, 3, 9)
GENOTYPE = load_space("residual_vs_fractal").sample(0)


def trial(number, decisions, flops, errors):
    """With an error at each of the first rungs; between rungs it says nothing."""
    stops = dict(zip(RUNGS, errors, strict=False))
    epochs = max(stops, default=0)
    return Trial(
        number=number,
        proposal=Proposal(GENOTYPE, "random"),
        state="stopped",
        cost=Cost(0, flops, 0, 0),
        decisions=decisions,
        seed=0,
        epochs=epochs,
        error=0.5,
        curve=tuple({"epoch": e, "val_error": stops.get(e, np.nan)} for e in range(1, epochs + 1)),
    )


def made_up(rng, count=60, noise=0.03):
    """Trials of which fewer come to each rung, and their errors at the end without noise."""
    trials, final = [], []
    effects = rng.normal(0, 0.03, (4, 3))
    for number in range(count):
        chosen = rng.integers(3, size=4)
        size = rng.uniform(0, 4)
        slow = np.array([0.04 * size, 0.02 * size, 0.0])  # larger networks learn more slowly
        true = 0.6 - 0.06 * size + effects[range(4), chosen].sum() + rng.normal(0, 0.02) + slow
        came = 1 + (number % 3 == 0) + (number % 9 == 0)
        errors = true[:came] + rng.normal(0, noise, came)
        decisions = {f"block{at}": int(option) for at, option in enumerate(chosen)}
        trials.append(trial(number, decisions, int(1e6 * np.exp(size)), errors))
        final.append(true[-1])
    return trials, np.array(final)


def as_process(trials):
    """The same forecast as the mean of a Gaussian process: every effect a part of the covariance."""
    sizes = np.log([each.flops for each in trials])
    sizes = (sizes - sizes.mean()) / sizes.std()
    seen = [(at, r) for at, t in enumerate(trials) for r, e in enumerate(RUNGS) if e <= len(t.curve)]
    errors = np.array([trials[at].curve[RUNGS[r] - 1]["val_error"] for at, r in seen])

    def covariance(a, r, b, s):
        shared = min(r, s)  # increments of level and slope that both have
        options = len(trials[a].decisions.items() & trials[b].decisions.items())
        levels = (1 + shared) / FREE
        slopes = sizes[a] * sizes[b] * (1 / FREE + shared * PRIOR)
        return PRIOR * (options + (a == b)) + levels + slopes

    of_noise = np.diag([9.0 / RUNGS[r] for _, r in seen])
    known = np.array([[covariance(*x, *y) for y in seen] for x in seen]) + of_noise
    last = len(RUNGS) - 1
    wanted = np.array([[covariance(at, last, *y) for y in seen] for at in range(len(trials))])
    return wanted @ np.linalg.solve(known, errors)


def test_it_is_the_mean_of_the_mixed_model():
    trials, _ = made_up(np.random.default_rng(0))
    found = forecast(trials, RUNGS).errors(trials)
    np.testing.assert_allclose(found, as_process(trials), atol=1e-5)


def test_it_is_nearer_to_the_end_than_what_was_measured():
    """Than the last error, after the mean of what lies between its rung and the end."""
    ours, naive = [], []
    for seed in range(10):
        trials, final = made_up(np.random.default_rng(seed))
        measured = np.array([each.curve[-1]["val_error"] for each in trials])
        rung = np.array([len(each.curve) for each in trials])
        for epochs in RUNGS:
            measured[rung == epochs] += (final - measured)[rung == epochs].mean()
        ours.append(np.mean((forecast(trials, RUNGS).errors(trials) - final) ** 2))
        naive.append(np.mean((measured - final) ** 2))
    assert np.mean(ours) < 0.7 * np.mean(naive)


def test_what_is_not_known_yet_is_less_the_further_a_trial_came():
    """As in a mean of a prior and of errors that each have the precision of their rung."""
    trials, _ = made_up(np.random.default_rng(3))
    model = forecast(trials, RUNGS)
    at_rungs = [next(t for t in trials if len(t.curve) == epochs) for epochs in RUNGS]
    told = [1 / PRIOR, *(1 / PRIOR + np.cumsum(1 / noise(RUNGS)))]
    found = model.spreads([trial(90, {}, 10**6, []), *at_rungs])
    assert found == pytest.approx(np.sqrt(model.variance / np.array(told)))
    assert all(np.diff(found) < 0)


def test_the_variance_is_that_of_the_noise_at_the_last_rung():
    found = []
    for seed in range(20):
        rng, trials = np.random.default_rng(seed), []
        for number in range(90):
            came = 1 + (number % 3 == 0) + (number % 9 == 0)
            errors = rng.normal(0.5 + rng.normal(0, 0.01), 0.01 * np.sqrt(noise(RUNGS)[:came]))
            trials.append(trial(number, {}, 1000 + number, errors))
        found.append(forecast(trials, RUNGS).variance)
    assert np.mean(found) == pytest.approx(0.01**2, rel=0.1)


def test_the_order_of_the_trials_is_of_no_account():
    trials, _ = made_up(np.random.default_rng(1))
    found = forecast(trials, RUNGS).errors(trials)
    assert np.array_equal(forecast(trials[::-1], (9, 3, 1)).errors(trials), found)


def test_a_network_that_came_to_no_rung_has_what_its_decisions_say():
    trials, _ = made_up(np.random.default_rng(2))
    model = forecast(trials, RUNGS)
    best, worst = (
        {
            f"block{at}": min(range(3), key=lambda o: sign * model.coefficients[model.index[f"block{at}", o]])
            for at in range(4)
        }
        for sign in (1, -1)
    )
    low, high = model.errors([trial(90, best, 10**7, []), trial(91, worst, 10**7, [])])
    assert low < high
    unknown = model.errors([trial(92, {"other": 1}, 10**7, [])])
    assert low < unknown < high


@pytest.mark.parametrize("count", [1, 2])
def test_of_few_trials_it_is_about_what_they_had(count):
    trials = [trial(number, {"block": 0}, 1000 + number, [0.5]) for number in range(count)]
    assert forecast(trials, RUNGS).errors(trials) == pytest.approx([0.5] * count, abs=1e-3)


def test_it_is_an_error():
    trials = [trial(number, {}, 10 ** (2 + number), [error]) for number, error in enumerate((0.9, 0.5, 0.1))]
    beyond = [trial(8, {}, 10**9, []), trial(9, {}, 1, [])]
    assert forecast(trials, RUNGS).errors(beyond).tolist() == [0.0, 1.0]
