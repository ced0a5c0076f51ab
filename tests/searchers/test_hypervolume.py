"""Expected hypervolume gains, and the searcher that maximises them."""

from __future__ import annotations

import numpy as np
import pytest
from testing.toy_space import ToySpace, toy_trial

from nas.errors import NasError
from nas.pareto import hypervolume
from nas.schedulers import TrainFully
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.searchers.hypervolume import INITIAL, NODES, WEIGHTS, expected_gains, van_der_corput
from nas.study.history import History


@pytest.mark.parametrize("costs", [0, 1, 2])
def test_gains_are_those_of_the_hypervolume_in_expectation(costs):
    rng = np.random.default_rng(costs)
    points, corner = rng.random((12, 1 + costs)), np.full(1 + costs, 0.9)
    candidates = rng.random((5, costs))
    errors = rng.random((5, 1)) + 0.1 * NODES
    before = hypervolume(points, corner)
    expected = [
        sum(
            weight * (hypervolume(np.vstack([points, [error, *candidate]]), corner) - before)
            for error, weight in zip(row, WEIGHTS, strict=True)
        )
        for row, candidate in zip(errors, candidates, strict=True)
    ]
    assert expected_gains(points, candidates, errors, corner) == pytest.approx(expected)


def test_the_van_der_corput_sequence():
    assert [van_der_corput(number) for number in range(1, 6)] == [0.5, 0.25, 0.75, 0.125, 0.625]


def test_the_first_trials_are_spread_over_flops():
    space, history = ToySpace(length=12, base=4), History()
    searcher = make_searcher("hypervolume", history.objectives)
    for number in range(INITIAL):
        proposal = propose(searcher, space, history, seed=0, number=number, uniform_share=0)
        history.record(toy_trial(space, number, proposal))
    uniform = [space.cost(space.sample(np.random.default_rng(seed))).flops for seed in range(200)]
    flops = [trial.flops for trial in history.trials]
    assert min(flops) < np.quantile(uniform, 0.2)
    assert max(flops) > np.quantile(uniform, 0.8)
    assert np.median(flops) == pytest.approx(np.median(uniform), abs=2)


def test_a_network_in_training_moves_the_next_proposals_elsewhere():
    space, history = ToySpace(length=8, base=4), History()
    searcher = make_searcher("hypervolume", history.objectives)
    for number in range(20):
        proposal = propose(searcher, space, history, seed=0, number=number, uniform_share=0)
        history.record(toy_trial(space, number, proposal))

    def ask():
        (proposal,) = searcher.ask(space, history, seed=0, number=20, scheduler=TrainFully())
        return proposal.genotype

    first = ask()
    history.mark_running(20, first.digest, first)
    second = ask()
    history.discard(20)
    history.mark_running(20, "another", None)
    assert ask() == first
    assert second != first


def test_objectives_that_are_measured_are_refused():
    with pytest.raises(NasError, match="known before training"):
        make_searcher("hypervolume", ("error", "latency"))
    with pytest.raises(NasError, match="needs the error"):
        make_searcher("hypervolume", ("flops", "params"))
