"""The short form of benchmarks/multi_fidelity.py: what halving has found when it has had little compute, and
what its networks are judged by."""

import numpy as np
import pytest
from testing.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"
RUNGS = (1, 3, 9)


@pytest.mark.slow
def test_a_third_of_the_compute_brings_nearly_all_of_the_front(monkeypatch):
    """On made-up curves, beside the same search in which every network is trained fully."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from multi_fidelity import judged
    from simulated import Job, search

    parts = []
    for seed in range(4):
        full, halved = (search(Job("evolution", seed, 60, RUNGS, halves, True)) for halves in (False, True))
        parts.append(judged(full, halved, "test").after_part())
    without, with_halving = np.mean(parts, axis=0)
    assert with_halving > 0.94
    assert with_halving > without + 0.1


def test_of_what_is_left_unexplained_the_share_that_is_no_luck_is_found(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from luck import own_share

    rng = np.random.default_rng(0)
    own, luck = rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, 2))
    assert own_share(own + 2 * luck) == pytest.approx(0.2, abs=0.02)
    assert own_share(own + 0 * luck) == pytest.approx(1)


def test_another_training_is_expected_nearer_to_its_like(monkeypatch):
    """In the table of real trainings: none farther from what is explained than the one that was."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from luck import cifar, explained
    from tabulated import CIFAR, read_rows

    space, lookup = cifar()
    told = explained(space, read_rows(CIFAR.with_suffix(".csv")))
    networks = {each.digest: each for each in space.enumerate()}
    assert len(told) == len(networks) == 864
    outcomes = {digest: lookup(each) for digest, each in networks.items()}
    once, again = (
        np.array([getattr(outcomes[digest], kind) - told[digest] for digest in told])
        for kind in ("test_error", "anew")
    )
    assert (np.abs(again) <= np.abs(once)).all()
    assert 0.005 < once.std() < 0.02
    assert 0 < again.std() < 0.6 * once.std()
