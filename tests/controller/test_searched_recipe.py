"""Searches whose spaces hold decisions of the recipe: a trial is a network under a recipe of its own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import nas
from nas.controller.config import SearchConfig, prepare
from nas.controller.evaluators import Workers, local, make_evaluator
from nas.controller.loop import run_search
from nas.data import load_data
from nas.errors import NasError
from nas.exporters.run import about_trial, own_recipe
from nas.exporters.train import train_target
from nas.exporters.training_target import file_target, trial_target
from nas.exporters.variants import WHOLE, make_variant
from nas.recipe import Recipe
from nas.searchers.base import Searcher
from nas.space.candidate import recipe_of, under
from nas.space.load import parse_space
from nas.study.history import History
from nas.study.trial import Proposal
from nas.study.trial_json import from_attributes, to_attributes
from nas.training.candidate import train_candidate
from nas.training.memory import candidate_memory
from nas.training.recipe import staged
from nas.training.task import Task

DATA = "digits?limit=120"
TEXT = """
name: joint
vary: network
stem: {type: conv, width: 4}
modules: [plain, residual]
stages:
  - {depth: [1, 2], width: 4, stride: 2}
  - {depth: 1, width: 6, stride: 2}
recipe: {lr: [0.05, 0.4], batch_size: [16, 32], cutout: 1}
"""
SPACE = parse_space(TEXT, "joint.yaml")


class Fixed(Searcher):
    """Searcher that proposes the given candidates in turn, with repeats."""

    name = "fixed"

    def __init__(self, candidates):
        self.candidates = candidates

    def ask(self, space, history, **request):
        return [Proposal(self.candidates[len(history.trials) + len(history.pending)], self.name)]


@pytest.fixture(scope="module")
def dataset():
    return load_data(DATA, seed=3)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with a finished search."""
    folder = tmp_path_factory.mktemp("results")
    settings = {"data": DATA, "epochs": 2, "trials": 12, "workers": 0, "seed": 3}
    nas.search(SPACE, name="first", results_dir=folder, **settings).study.close()
    return folder


@pytest.fixture
def run(results):
    with (opened := nas.open_run("first", results)).study:
        yield opened


def test_trials_are_recorded_with_their_recipes(run):
    assert (run.config.recipe.lr, run.config.recipe.batch_size) == (0.05, 16)  # the lower options
    recipes = [trial.recipe for trial in run.study.trials]
    assert {tuple(recipe) for recipe in recipes} == {("batch_size", "lr")}
    assert len({tuple(recipe.values()) for recipe in recipes}) == 4
    for trial in run.study.trials:
        assert {name: trial.decisions[f"recipe.{name}"] for name in trial.recipe} == trial.recipe
        assert recipe_of(trial.genotype) == trial.recipe
        assert trial.genotype.digest == trial.digest != trial.genotype.network.digest
    assert len({trial.digest for trial in run.study.trials}) == 12
    assert len({trial.genotype.network.digest for trial in run.study.trials}) <= 4
    first = run.trial(0).recipe
    assert run.trials["recipe"][0] == f"batch_size={first['batch_size']},lr={first['lr']}"


def test_a_trial_is_trained_under_its_recipe(run, dataset):
    trial = run.trial(4)
    alone = Task(4, trial.genotype.network, trial.seed)
    own = replace(run.config.recipe, **trial.recipe)
    assert train_candidate(alone, dataset, own).curve == trial.curve
    other = replace(own, lr=0.45 - own.lr)
    assert train_candidate(alone, dataset, other).curve != trial.curve
    assert train_candidate(Task(4, trial.genotype, trial.seed), dataset, other).curve == trial.curve


def test_a_run_is_replayed(run):
    replayed = nas.replay(run)
    assert (replayed.same, replayed.differs) == (12, None)


def test_an_analysis_counts_networks_once_and_has_the_recipe_as_a_factor(run):
    analysis = nas.analyze(run)
    assert analysis.networks == len({t.genotype.network.digest for t in run.study.trials})
    names = {row.name for row in analysis.factors.rows}
    assert {"recipe.lr", "recipe.batch_size"} <= names


def test_equal_candidates_are_duplicates_and_equal_networks_under_other_recipes_are_not(dataset):
    network = SPACE.without_recipe().sample(0)
    slow, fast = ({"lr": lr, "batch_size": 16} for lr in (0.05, 0.4))
    candidates = [under(network, recipe) for recipe in (slow, fast, slow)]
    study, recipe = History(), Recipe(epochs=1)
    config = SearchConfig(SPACE, Fixed(candidates), recipe, 3, uniform_share=0.0)
    run_search(config, study, make_evaluator(dataset, recipe, Workers(0)))
    assert [trial.duplicate_of for trial in study.trials] == [None, None, 0]
    assert study.trials[0].error == study.trials[2].error
    assert study.trials[0].curve != study.trials[1].curve


def test_a_search_ends_when_every_network_was_tried_under_every_recipe(tmp_path):
    small = parse_space(TEXT.replace("depth: [1, 2]", "depth: 1").replace("[16, 32]", "16"), "small.yaml")
    run = nas.search(small, data=DATA, epochs=1, trials=9, workers=0, results_dir=tmp_path)
    with run.study:
        assert len(run.study.trials) == len(small.networks()) == run.config.networks == 4
        assert run.config.exhausted
        assert {trial.decisions["recipe.lr"] for trial in run.study.trials} == {0.05, 0.4}


def test_a_resumed_search_goes_on_as_if_it_had_not_stopped(results, tmp_path):
    settings = {"data": DATA, "epochs": 2, "workers": 0, "results_dir": tmp_path}
    nas.search(SPACE, name="part", trials=5, seed=3, **settings).study.close()
    with pytest.raises(NasError, match="is set by the search space") as caught:
        nas.search(resume=True, name="part", trials=12, recipe={"lr": 0.05}, results_dir=tmp_path)
    assert "leave it out" in caught.value.hint
    resumed = nas.search(resume=True, name="part", trials=12, workers=0, results_dir=tmp_path)
    with resumed.study, (whole := nas.open_run("first", results)).study:
        pairs = zip(resumed.study.trials, whole.study.trials, strict=True)
        assert all((a.digest, a.error) == (b.digest, b.error) for a, b in pairs)


def test_halving_goes_on_under_the_recipe_of_a_trial(tmp_path, dataset):
    settings = {"data": DATA, "fidelity": (1, 2), "trials": 12, "workers": 0, "seed": 3}
    run = nas.search(SPACE, name="halved", results_dir=tmp_path, **settings)
    with run.study:
        complete = run.study.complete
        assert complete
        assert nas.replay(run).same == 12
        for trial in complete[:2]:
            task = Task(0, trial.genotype.network, trial.seed)
            in_rungs = staged(replace(run.config.recipe, **trial.recipe), (1, 2))
            assert train_candidate(task, dataset, in_rungs).error == trial.error


def test_reseeding_keeps_the_recipe(run, results):
    nas.reseed("first", 1, trials=[4], workers=0, results_dir=results)
    (again,) = run.reseeded
    assert (again.digest, again.recipe) == (run.trial(4).digest, run.trial(4).recipe)
    assert again.seed != run.trial(4).seed


@pytest.mark.slow  # verifies the folder in a process of its own
def test_a_full_training_takes_the_recipe_of_the_trial(run, tmp_path):
    trial = next(t for t in run.study.trials if t.recipe == {"batch_size": 32, "lr": 0.4})
    target = trial_target(run, trial)
    assert target.recipe.items() >= (run.fixed_recipe | trial.recipe).items()
    assert type(target.genotype) is nas.Genotype
    report = train_target(target, epochs=1, to=tmp_path)
    assert (report["recipe"]["lr"], report["recipe"]["batch_size"], report["recipe"]["cutout"]) == (
        0.4,
        32,
        1,
    )
    about = json.loads((tmp_path / f"trial-{trial.number}" / "config.json").read_text())
    assert about["digest"] == trial.genotype.network.digest
    again = file_target(tmp_path / f"trial-{trial.number}" / "config.json")
    assert again.recipe.items() >= trial.recipe.items()


def test_an_export_is_of_the_network_and_says_its_recipe(run):
    trial = run.trial(0)
    network = nas.build(trial.genotype, run.config.input_shape, 10)
    made = make_variant(trial.genotype, run.config.input_shape, 10, network.state_dict(), WHOLE)
    about = about_trial(trial, run.config, made) | own_recipe(run.config, run.fixed_recipe | trial.recipe)
    assert about["digest"] == trial.genotype.network.digest
    assert about["network"] == str(trial.genotype.network)
    assert about["own_recipe"] == run.fixed_recipe | trial.recipe
    assert about["recipe"].items() >= trial.recipe.items()


def test_a_field_is_set_by_the_space_or_by_the_user():
    with pytest.raises(NasError, match="is set by the search space") as caught:
        prepare(SPACE, data=DATA, recipe={"lr": 0.1})
    assert caught.value.where == "recipe: lr"
    config, _ = prepare(SPACE, data=DATA, recipe={"momentum": 0.5})
    assert (config.recipe.momentum, config.recipe.lr) == (0.5, 0.05)


def test_an_option_that_the_data_do_not_allow_is_refused():
    space = nas.load_space("fcn_heads")
    text = space.to_yaml() + "recipe: {mixup: [0, 0.2]}\n"
    with pytest.raises(NasError, match="images with masks are not mixed"):
        prepare(parse_space(text, "masks.yaml"), data="shapes?limit=20")


def test_memory_is_that_of_the_batches_of_a_trial(dataset, monkeypatch):
    network, recipe = SPACE.without_recipe().sample(0), Recipe(epochs=1, batch_size=8)
    sizes = [replace(recipe, batch_size=size) for size in (8, 64)]
    needs = [candidate_memory(network, dataset, own, "cpu", half=False) for own in sizes]
    assert needs[0] < needs[1]
    monkeypatch.setattr(local, "physical_memory", lambda: sum(needs) / 2)
    evaluator = make_evaluator(dataset, replace(recipe, precision="float32"), Workers(0))
    for size, reason in ((8, ""), (64, "too_large")):
        evaluator.submit(Task(size, under(network, {"batch_size": size}), 0))
        assert evaluator.wait()[0].reason == reason


def test_a_strangers_record_is_checked(run):
    attributes = to_attributes(run.trial(0))
    assert from_attributes(attributes) == run.trial(0)
    for wrong in ({"lr": -1.0, "batch_size": 16}, {"epochs": 3}, {"lr": [0.05]}, {"lr": 0.1}, {}, "lr"):
        with pytest.raises((NasError, TypeError, ValueError)):
            from_attributes(attributes | {"recipe": wrong})
    without = {name: value for name, value in to_attributes(run.trial(0)).items() if name != "recipe"}
    decisions = {k: v for k, v in attributes["decisions"].items() if not k.startswith("recipe.")}
    assert from_attributes(without | {"decisions": decisions}).recipe == {}
