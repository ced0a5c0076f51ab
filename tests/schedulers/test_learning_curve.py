"""The errors that the model of learning curves expects at the end of trainings."""

from __future__ import annotations

import numpy as np
import pytest

from nas.graph.cost import Cost
from nas.schedulers.learning_curve import FREE, PRIOR, fit_learning_curves, noise_variance
from nas.space.space import load_space
from nas.study.trial import Proposal, Trial

RUNGS = (1, 3, 9)
GENOTYPE = load_space("residual_vs_fractal").sample(0)


def trial_with(number, decisions, flops, errors):
    """A trial with an error at each of the first rungs; its curve is NaN between rungs."""
    by_epoch = dict(zip(RUNGS, errors, strict=False))
    epochs = max(by_epoch, default=0)
    return Trial(
        number=number,
        proposal=Proposal(GENOTYPE, "random"),
        state="stopped",
        cost=Cost(0, flops, 0, 0),
        decisions=decisions,
        seed=0,
        epochs=epochs,
        error=0.5,
        curve=tuple({"epoch": e, "val_error": by_epoch.get(e, np.nan)} for e in range(1, epochs + 1)),
    )


def rungs_reached(number):
    """A third of the trials reach the second rung, a ninth the third."""
    return 1 + (number % 3 == 0) + (number % 9 == 0)


def simulated_trials(rng, count=60, noise=0.03):
    """Trials at rungs, and their final errors without noise."""
    trials, final = [], []
    effects = rng.normal(0, 0.03, (4, 3))
    for number in range(count):
        options = rng.integers(3, size=4)
        size = rng.uniform(0, 4)
        slow = np.array([0.04 * size, 0.02 * size, 0.0])  # larger networks learn more slowly
        true = 0.6 - 0.06 * size + effects[range(4), options].sum() + rng.normal(0, 0.02) + slow
        reached = rungs_reached(number)
        errors = true[:reached] + rng.normal(0, noise, reached)
        decisions = {f"block{i}": int(option) for i, option in enumerate(options)}
        trials.append(trial_with(number, decisions, int(1e6 * np.exp(size)), errors))
        final.append(true[-1])
    return trials, np.array(final)


def gaussian_process_mean(trials):
    """The same prediction from a covariance matrix in which every effect is a term."""
    sizes = np.log([trial.flops for trial in trials])
    sizes = (sizes - sizes.mean()) / sizes.std()
    seen = [(i, r) for i, trial in enumerate(trials) for r, e in enumerate(RUNGS) if e <= len(trial.curve)]
    errors = np.array([trials[i].curve[RUNGS[r] - 1]["val_error"] for i, r in seen])

    def covariance(a, r, b, s):
        shared = min(r, s)  # increments of level and slope that both have
        options = len(trials[a].decisions.items() & trials[b].decisions.items())
        levels = (1 + shared) / FREE
        slopes = sizes[a] * sizes[b] * (1 / FREE + shared * PRIOR)
        return PRIOR * (options + (a == b)) + levels + slopes

    noise = np.diag([9.0 / RUNGS[r] for _, r in seen])
    between_seen = np.array([[covariance(*x, *y) for y in seen] for x in seen]) + noise
    last = len(RUNGS) - 1
    to_seen = np.array([[covariance(i, last, *y) for y in seen] for i in range(len(trials))])
    return to_seen @ np.linalg.solve(between_seen, errors)


def test_predictions_equal_those_of_a_gaussian_process():
    trials, _ = simulated_trials(np.random.default_rng(0))
    errors = fit_learning_curves(trials, RUNGS).errors(trials)
    np.testing.assert_allclose(errors, gaussian_process_mean(trials), atol=1e-5)


def test_predictions_are_nearer_to_the_end_than_the_last_error():
    """The last error is corrected by the mean change between its rung and the end."""
    ours, naive = [], []
    for seed in range(10):
        trials, final = simulated_trials(np.random.default_rng(seed))
        measured = np.array([trial.curve[-1]["val_error"] for trial in trials])
        epochs = np.array([len(trial.curve) for trial in trials])
        for rung in RUNGS:
            measured[epochs == rung] += (final - measured)[epochs == rung].mean()
        ours.append(np.mean((fit_learning_curves(trials, RUNGS).errors(trials) - final) ** 2))
        naive.append(np.mean((measured - final) ** 2))
    assert np.mean(ours) < 0.7 * np.mean(naive)


def test_the_spread_shrinks_with_every_rung():
    """As that of a mean of a prior and of errors that each have the precision of their rung."""
    trials, _ = simulated_trials(np.random.default_rng(3))
    model = fit_learning_curves(trials, RUNGS)
    at_rungs = [next(trial for trial in trials if len(trial.curve) == epochs) for epochs in RUNGS]
    precision = np.array([1 / PRIOR, *(1 / PRIOR + np.cumsum(1 / noise_variance(RUNGS)))])
    spreads = model.spreads([trial_with(90, {}, 10**6, []), *at_rungs])
    assert spreads == pytest.approx(np.sqrt(model.variance / precision))
    assert all(np.diff(spreads) < 0)


def test_the_variance_is_that_of_the_noise_at_the_last_rung():
    variances = []
    for seed in range(20):
        rng, trials = np.random.default_rng(seed), []
        for number in range(90):
            deviations = 0.01 * np.sqrt(noise_variance(RUNGS)[: rungs_reached(number)])
            errors = rng.normal(0.5 + rng.normal(0, 0.01), deviations)
            trials.append(trial_with(number, {}, 1000 + number, errors))
        variances.append(fit_learning_curves(trials, RUNGS).variance)
    assert np.mean(variances) == pytest.approx(0.01**2, rel=0.1)


def test_the_order_of_trials_and_rungs_does_not_matter():
    trials, _ = simulated_trials(np.random.default_rng(1))
    errors = fit_learning_curves(trials, RUNGS).errors(trials)
    assert np.array_equal(fit_learning_curves(trials[::-1], (9, 3, 1)).errors(trials), errors)


def test_an_untrained_network_is_predicted_from_its_decisions():
    trials, _ = simulated_trials(np.random.default_rng(2))
    model = fit_learning_curves(trials, RUNGS)
    best, worst = (
        {
            f"block{i}": min(range(3), key=lambda o: sign * model.coefficients[model.index[f"block{i}", o]])
            for i in range(4)
        }
        for sign in (1, -1)
    )
    low, high = model.errors([trial_with(90, best, 10**7, []), trial_with(91, worst, 10**7, [])])
    unknown = model.errors([trial_with(92, {"other": 1}, 10**7, [])])
    assert low < unknown < high


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_trials_are_predicted_as_measured(count):
    trials = [trial_with(number, {"block": 0}, 1000 + number, [0.5]) for number in range(count)]
    assert fit_learning_curves(trials, RUNGS).errors(trials) == pytest.approx([0.5] * count, abs=1e-3)


def test_predictions_are_errors_from_0_to_1():
    trials = [trial_with(i, {}, 10 ** (2 + i), [error]) for i, error in enumerate((0.9, 0.5, 0.1))]
    beyond = [trial_with(8, {}, 10**9, []), trial_with(9, {}, 1, [])]
    assert fit_learning_curves(trials, RUNGS).errors(beyond).tolist() == [0.0, 1.0]
