"""Searchers and designs on spaces that hold decisions of the recipe."""

from __future__ import annotations

from itertools import product

import pytest

from nas.errors import NasError
from nas.graph.cost import cost
from nas.recipe import Recipe
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.searchers.warm_start import find_warm_starts
from nas.space.candidate import recipe_of, trained_under
from nas.space.genotype import expand
from nas.space.load import load_space, parse_space
from nas.study.history import History
from nas.study.trial import Trial

TEXT = """
name: joint
vary: network
stem: {type: conv, width: 4}
modules: [plain, residual]
stages:
  - {depth: [1, 2, 3], width: [4, 6, 8], stride: 2}
  - {depth: [1, 2], width: [8, 12], stride: 2}
"""
GRID = "recipe: {lr: [0.05, 0.1, 0.2], weight_decay: [5e-4, 5e-3]}\n"
SPACE = parse_space(TEXT + GRID, "joint.yaml")


def finished(number, proposal, lr_effect=0.1):
    """A trial whose error falls with FLOPs and is least at a rate of 0.1."""
    genotype = proposal.genotype
    figures = cost(expand(genotype, SPACE.input_shape, 10))
    error = 1 / (1 + figures.flops / 1e6) * (1 + lr_effect * (trained_under(genotype, Recipe()).lr != 0.1))
    return Trial(
        number=number,
        proposal=proposal,
        state="complete",
        error=error,
        cost=figures,
        decisions=SPACE.decisions(genotype),
        seed=number,
        epochs=1,
    )


def searched(name, count=30):
    searcher, history = make_searcher(name, ("error", "flops")), History(("error", "flops"))
    for number in range(count):
        history.record(finished(number, propose(searcher, SPACE, history, seed=1, number=number)))
    return history.trials


@pytest.mark.parametrize("name", ["random", "evolution", "hypervolume", "optuna:tpe"])
def test_searchers_vary_network_and_recipe_and_repeat_no_candidate(name):
    trials = searched(name)
    assert len({trial.digest for trial in trials}) == 30
    assert all(trial.genotype in SPACE for trial in trials)
    assert len({trial.genotype.network.digest for trial in trials}) > 5
    assert {tuple(trial.recipe.values()) for trial in trials} == {*product((0.1, 0.05, 0.2), (5e-4, 5e-3))}
    assert [trial.digest for trial in trials[:12]] == [trial.digest for trial in searched(name, 12)]


@pytest.mark.parametrize("name", ["evolution", "hypervolume"])
def test_searchers_learn_which_rate_is_best(name):
    rates = [trial.recipe["lr"] for trial in searched(name, 40) if not trial.proposal.uniform]
    assert rates[-20:].count(0.1) > 20 * 0.5


def test_a_uniform_draw_has_a_probability_over_networks_and_recipes():
    alone = SPACE.without_recipe()
    for trial in searched("random", 8):
        expected = alone.log_probability(trial.genotype.network)
        assert trial.proposal.log_probability == pytest.approx(expected - 1.791759469)  # log 6


def test_the_paired_design_trains_each_network_under_every_recipe_with_the_same_seeds():
    def planned(space, count):
        design, history = make_searcher("paired", ("error", "flops"), 2), History()
        return [propose(design, space, history, seed=0, number=number) for number in range(count)]

    plain = planned(SPACE.without_recipe(), 40)
    context = [p for p in plain if p.design["context"] == 0]
    crossed = planned(SPACE, 6 * len(context))
    assert {proposal.design["context"] for proposal in crossed} == {0}
    options = {*product((0.1, 0.05, 0.2), (5e-4, 5e-3))}
    for alone in context:
        own = [p for p in crossed if p.genotype.network == alone.genotype and p.design == alone.design]
        assert {tuple(p.recipe.values()) for p in own} == options
        assert len(own) == 6
    assert recipe_of(crossed[0].genotype) == {"lr": 0.1, "weight_decay": 5e-4}
    design = make_searcher("paired", ("error", "flops"), 2)
    assert design.default_trials(SPACE, 0) == 6 * make_searcher(
        "paired", ("error", "flops"), 2
    ).default_trials(SPACE.without_recipe(), 0)
    summary = design.summary(SPACE, 0, 6 * len(context))
    assert summary["contexts"] == 1
    assert len(summary["recipes"]) == 6
    assert summary["lines"][1] == "each under 6 recipes; lr=0.1,weight_decay=0.0005 is that of the study"


def test_the_balanced_design_draws_recipes_alike_for_all_types():
    design, history = make_searcher("balanced", ("error", "flops")), History()
    trials = design.default_trials(SPACE, 0)
    planned = [propose(design, SPACE, history, seed=0, number=number) for number in range(trials)]
    for kind in ("plain", "residual"):
        assert {p.recipe["lr"] for p in planned if p.design["type"] == kind} == {0.1, 0.05, 0.2}


@pytest.mark.parametrize("name", ["paired", "balanced"])
def test_a_design_refuses_types_with_recipes_of_their_own(name):
    own = "recipe: {lr: {by: type, plain: [0.1, 0.2], residual: 0.1}}\n"
    with pytest.raises(NasError, match="lr depends on the module type"):
        make_searcher(name, ("error",)).default_trials(parse_space(TEXT + own, "own.yaml"), 0)


def test_the_paired_design_crosses_the_fields_of_a_grade_alone():
    flipped = parse_space(TEXT + "recipe: {flip: [true, false]}\n", "flipped.yaml")
    with pytest.raises(NasError, match="crosses lr and weight_decay alone, not flip"):
        make_searcher("paired", ("error",)).default_trials(flipped, 0)


def test_warm_starts_take_the_usual_recipe():
    space = parse_space(load_space("residual_vs_fractal").to_yaml() + GRID, "joint.yaml")
    (start,) = find_warm_starts(space, ["resnet20"])
    assert start.genotype in space
    assert recipe_of(start.genotype) == {"lr": 0.1, "weight_decay": 5e-4}
    assert str(start).endswith(", under lr=0.1,weight_decay=0.0005")
