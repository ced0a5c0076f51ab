"""Networks that are not shown to be better than a constant guess."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from testing.configs import make_config

from nas.analysis.guess import learned, unlearned_text
from nas.data import load_data

RNG = np.random.default_rng(0)


def config(images=400, guess=0.9):
    return make_config(val_images=images, guess_error=guess)


@pytest.mark.parametrize("networks", [1, 5, 100])
@pytest.mark.parametrize("guess", [0.1, 0.5, 0.9])
def test_the_luckiest_of_networks_that_guess_is_seldom_called_better(networks, guess):
    luckiest = RNG.binomial(400, guess, (1000, networks)).min(axis=1) / 400
    called = np.mean([learned(error, config(guess=guess), networks) for error in luckiest])
    assert called <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


def test_a_network_that_learned_is_called_better():
    assert learned(0.8, config(), networks=100)
    assert not learned(0.88, config(), networks=100)
    assert learned(0.88, config(images=10_000), networks=100)


def test_a_rare_class_makes_the_guess_hard_to_beat():
    assert not learned(0.1, config(guess=0.1), networks=1)
    assert not learned(0.0, config(guess=0.0), networks=1)


def test_the_bounds_of_what_a_file_may_hold():
    most = config(images=2**53)
    assert learned(0.8, most, networks=1)
    assert not learned(0.9, most, networks=1)
    assert not learned(1.0, config(guess=1.0), networks=1)
    assert learned(0.0, config(guess=1.0), networks=10**6)
    with pytest.raises(ValidationError):
        config(images=2**53 + 1)


def test_a_run_without_a_known_guess_says_nothing():
    assert learned(0.9, make_config(), networks=100)
    assert unlearned_text([], 3, make_config()) == ""


def test_one_some_and_all_are_named():
    assert unlearned_text(["trial 3"], 1, config()).startswith("The network is not shown to be better than")
    assert unlearned_text(["trial 3"], 2, config()) == (
        "Not shown to be better than a constant guess, which has 90.00% error: trial 3."
    )
    every = unlearned_text(["trial 3", "trial 4"], 2, config())
    assert every.startswith("None of the 2 networks is shown to be better than a constant guess")
    assert "--epochs" in every


def test_the_guess_is_the_largest_class_of_the_training_images():
    images = np.zeros((100, 1, 8, 8), np.uint8)
    images[:] = np.arange(100)[:, None, None, None]
    labels = np.array([0] * 60 + [1] * 20 + [0] * 5 + [1] * 15)
    parts = {"train": (images[:80], labels[:80]), "validation": (images[80:], labels[80:])}
    assert load_data(parts).guess_error == pytest.approx(15 / 20)
