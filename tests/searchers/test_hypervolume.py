"""Expected hypervolume gains, and the searcher that maximises them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from testing.toy_space import Toy, ToySpace, toy_trial

from nas.pareto import hypervolume
from nas.schedulers import TrainFully
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.searchers.hypervolume import INITIAL, NODES, WEIGHTS, expected_gains, van_der_corput
from nas.study.history import History
from nas.surrogate.process_cache import nearest_to_front


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


def toy_search(name, objectives, count, change):
    """A search of the toy space, with trials changed by a function of trial and network."""
    space, history = ToySpace(length=6, base=4), History(objectives)
    searcher = make_searcher(name, objectives)
    for number in range(count):
        proposal = propose(searcher, space, history, seed=0, number=number, uniform_share=0)
        trial = toy_trial(space, number, proposal)
        history.record(replace(trial, **change(trial, proposal.genotype)))
    return history


@pytest.mark.parametrize("objectives", [("error", "python:own:cost"), ("python:own:cost", "flops")])
def test_a_measured_objective_is_predicted(objectives):
    """It is negative, and least where the first option is 3 and the second 0."""

    def change(trial, toy):
        return {"measured": {"python:own:cost": toy.options[1] - toy.options[0] - 3.0}}

    found, other = (toy_search(name, objectives, 40, change) for name in ("hypervolume", "random"))
    corner = [0.2, -4.0] if objectives[0] == "error" else [-3.0, 25.0]
    volumes = [
        hypervolume([t.values(objectives) for t in history.complete], corner) for history in (found, other)
    ]
    assert volumes[0] > 1.02 * volumes[1]
    assert sum(t.options == (3, 0) for t in (Toy(t.genotype.options[:2]) for t in found.trials[7:])) > 8


def test_exact_objectives_alone_are_searched():
    history = toy_search("hypervolume", ("flops", "params"), 20, lambda trial, toy: {})
    assert min(trial.flops for trial in history.trials) == 10  # the least there is


def test_networks_like_those_that_failed_are_avoided():
    """Half of the options of the first decision diverge, the others are as good as they look."""

    def change(trial, toy):
        failed = {"state": "failed", "reason": "diverged", "error": None}
        return failed if toy.options[0] >= 2 else {}

    history = toy_search("hypervolume", ("error", "flops"), 40, change)
    failed = [trial.number for trial in history.trials if trial.state == "failed"]
    assert len([number for number in failed if number >= 20]) < 5


def test_some_trials_stand_for_all():
    rng = np.random.default_rng(0)
    points = rng.random((500, 2))
    used = nearest_to_front(points, 100)
    assert len(np.unique(used)) == 100
    ranked = points.argsort(axis=0).argsort(axis=0).sum(axis=1)
    assert set(ranked.argsort()[:50]) <= set(used)
    assert np.ptp(points[used], axis=0) == pytest.approx(np.ptp(points, axis=0), abs=0.1)
    assert nearest_to_front(points[:7], 100).tolist() == list(range(7))
