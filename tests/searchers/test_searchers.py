"""The contract that every searcher keeps, and what single searchers add to it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from testing.toy_space import Toy, ToySpace, toy_trial

from nas.errors import NasError
from nas.schedulers import TrainFully
from nas.searchers import UNSUPPORTED, make_searcher, searcher_names
from nas.searchers.additive_model import AdditiveModel
from nas.searchers.base import Searcher, propose
from nas.space.load import load_space
from nas.study.history import History
from nas.study.trial import Proposal
from nas.testing import check_searcher

OBJECTIVES = {1: ("error",), 2: ("error", "flops"), 3: ("error", "flops", "params")}
ALL = [name for name in searcher_names() if name != "optuna:gp"]
"""The Gaussian process shares the adapter with the others and takes seconds a proposal."""


def run(name, space, count, objectives=OBJECTIVES[2], seed=0, uniform_share=0.2, fails=lambda n: n % 6 == 5):
    """A search of `count` trials; the history, cut short where the space is exhausted."""
    searcher, history = make_searcher(name, objectives), History(objectives)
    for number in range(count):
        proposal = propose(searcher, space, history, seed=seed, number=number, uniform_share=uniform_share)
        if proposal is None:
            break
        history.record(toy_trial(space, number, proposal, failed=fails(number)))
    return history


def ask(searcher, space, history, number=0):
    (proposal,) = searcher.ask(space, history, seed=0, number=number, scheduler=TrainFully())
    return proposal


def contents(history):
    return list(history.trials), list(history.complete), dict(history.pending), history.layers()


def rebuilt(history):
    copied = History(history.objectives)
    for trial in history.trials:
        copied.record(trial)
    return copied


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("objectives", OBJECTIVES.values(), ids=len)
def test_the_contract(name, objectives):
    check_searcher(name, space=ToySpace(length=3, base=3, limit=4), objectives=objectives)


@pytest.mark.parametrize("name", ALL)
def test_the_contract_in_a_larger_space(name):
    check_searcher(name, space=ToySpace(length=5, base=3))


@pytest.mark.parametrize("name", ALL)
def test_a_space_of_one_network(name):
    history = run(name, ToySpace(length=3, base=1), 3, uniform_share=0)
    assert [trial.digest for trial in history.trials] == ["0-0-0"]


@pytest.mark.parametrize("name", ALL)
def test_a_shipped_space(name):
    space = load_space("basic_vs_bottleneck")
    proposal = ask(make_searcher(name, OBJECTIVES[2]), space, History())
    assert proposal.genotype in space


@pytest.mark.slow
@pytest.mark.parametrize("objectives", OBJECTIVES.values(), ids=len)
def test_the_gaussian_process_proposes_in_the_space(objectives):
    space = ToySpace(length=4, base=4)
    history = run("optuna:gp", space, 13, objectives)
    assert len({trial.digest for trial in history.trials}) == 13
    assert all(trial.genotype in space for trial in history.trials)
    assert {trial.proposal.proposer for trial in history.trials} == {"random", "optuna:gp"}


def test_every_fifth_proposal_is_uniform_and_looks_at_no_result():
    space = ToySpace(length=6, base=3)
    history = run("evolution", space, 60)
    after = [trial for trial in history.trials if trial.number >= 10]  # evolution starts uniformly
    assert [trial.number for trial in after if trial.proposal.uniform] == list(range(14, 60, 5))
    for trial in after:
        assert trial.proposal.proposer == ("random" if trial.number % 5 == 4 else "evolution")
        assert (trial.proposal.log_probability is not None) == trial.proposal.uniform


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 10), (0.25, 25), (0.3, 30), (1.0, 100)])
def test_the_uniform_share_is_kept_exactly(share, count):
    class Adaptive(Searcher):
        name = "adaptive"

        def __init__(self):
            pass

        def ask(self, space, history, *, seed, number, scheduler):
            return [Proposal(space.sample(np.random.default_rng([seed, number])), self.name)]

    space, searcher = ToySpace(length=9), Adaptive()
    uniform = 0
    for number in range(100):
        proposal = propose(searcher, space, History(), seed=0, number=number, uniform_share=share)
        uniform += proposal.uniform
    assert uniform == count


def test_random_covers_the_space_with_the_probability_it_states():
    space = ToySpace(length=3, base=2)
    counts = dict.fromkeys(space.enumerate(), 0)
    logs = {}
    for number in range(3000):
        proposal = propose(make_searcher("random", ("error",)), space, History(), seed=1, number=number)
        counts[proposal.genotype] += 1
        logs[proposal.genotype] = proposal.log_probability
    for genotype, count in counts.items():
        assert count / 3000 == pytest.approx(np.exp(logs[genotype]), abs=0.03)


def test_evolution_derives_from_the_front():
    space = ToySpace(length=7, base=3)
    history = run("evolution", space, 40, objectives=("flops", "error"), uniform_share=0)
    children = [trial for trial in history.trials if trial.proposal.parent is not None]
    assert len(children) >= 25
    for trial in children:
        assert history.by_number(trial.proposal.parent).complete
        assert trial.proposal.parent < trial.number


def test_an_exhausted_neighbourhood_is_not_built_again():
    class Counting(ToySpace):
        built = 0

        def build(self, choose):
            self.built += 1
            return super().build(choose)

    space, objectives = Counting(length=5, base=4), OBJECTIVES[2]
    searcher, history = make_searcher("evolution", objectives), History(objectives)
    counts = []
    while proposal := propose(searcher, space, history, seed=0, number=len(counts), uniform_share=0):
        history.record(toy_trial(space, len(counts), proposal))
        counts.append(space.built)
    assert len(counts) == len({genotype.digest for genotype in space.enumerate()})
    assert counts[-1] / len(counts) < 15  # most of them draws of the last networks


def test_the_additive_model_ranks_moves():
    space, history, rng = ToySpace(length=6, base=4), History(), np.random.default_rng(0)
    for number in range(150):
        history.record(toy_trial(space, number, Proposal(space.sample(rng), "test")))
    model = AdditiveModel(OBJECTIVES[2])
    model.fit_incremental(history)
    decisions, moves = dict.fromkeys(("d1", "d2", "d3", "d4"), 1), [("d3", 0), ("d3", 2), ("d3", 3)]
    samples = np.mean([model.sample(np.zeros(2), decisions, moves, rng) for _ in range(100)], axis=0)
    assert samples[0, 0] > 0 > samples[1, 0] > samples[2, 0]  # the error falls with the options
    assert samples[0, 1] < 0 < samples[1, 1] < samples[2, 1]  # and FLOPs grow


def test_a_parent_from_outside_the_space_gives_way():
    small, large = ToySpace(length=6, base=2), ToySpace(length=6, base=4)
    history = run("evolution", small, 10, fails=lambda n: False)
    history.record(toy_trial(large, 10, Proposal(Toy((3,) * 6), "seed")))
    proposal = ask(make_searcher("evolution", OBJECTIVES[2]), small, history)
    assert proposal.genotype in small


@pytest.mark.parametrize("count", [1, 3])
def test_evolution_finds_more_than_random(count):
    space, objectives = ToySpace(length=8, base=4), OBJECTIVES[count]

    def best(name, seed):
        history = run(name, space, 80, objectives, seed, fails=lambda n: False)
        return min(trial.error for trial in history.complete)

    seeds = range(5)
    assert np.mean([best("evolution", s) for s in seeds]) < np.mean([best("random", s) for s in seeds])


@pytest.mark.slow
def test_a_proposal_takes_two_milliseconds_at_ten_thousand_trials():
    space, history = ToySpace(length=12, base=4), History()
    rng = np.random.default_rng(0)
    while len(history.trials) < 10_000:
        proposal = Proposal(Toy(tuple(rng.integers(0, 4, 12).tolist())), "test")
        history.record(toy_trial(space, len(history.trials), proposal))
    searcher = make_searcher("evolution", OBJECTIVES[2])
    ask(searcher, space, history)
    times = []
    for number in range(30):
        start = time.process_time()
        proposal = ask(searcher, space, history)
        times.append(time.process_time() - start)
        history.record(toy_trial(space, 10_000 + number, proposal))
    assert np.median(times) < 0.002


@pytest.mark.parametrize(
    ("name", "hint"),
    [("evolutoin", "did you mean 'evolution'"), ("optuna:tep", "did you mean 'optuna:tpe'"), ("", "known: ")],
)
def test_unknown_names_are_refused_with_a_hint(name, hint):
    with pytest.raises(NasError, match="unknown") as caught:
        make_searcher(name, ("error",))
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_samplers_of_numbers_are_refused(name):
    with pytest.raises(NasError, match="cannot search architectures"):
        make_searcher(name, ("error",))


@pytest.mark.parametrize("objectives", [(), ("error", "error"), ("eror",)])
def test_bad_objectives_are_refused(objectives):
    with pytest.raises(NasError, match="objective"):
        make_searcher("random", objectives)
