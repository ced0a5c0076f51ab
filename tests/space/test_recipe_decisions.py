"""Fields of the recipe as decisions of a space: how files are read, and what candidates are."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from nas.errors import NasError
from nas.recipe import Recipe
from nas.space.candidate import recipe_of, trained_under, under
from nas.space.genotype import Genotype, expand
from nas.space.load import parse_space
from nas.training.recipe import staged

NETWORKS = """
name: joint
vary: network
stem: {type: conv, width: 4}
modules:
  plain: {norm: [after_conv, pre_activation]}
  residual: {shortcut: [A, B]}
stages:
  - {depth: [1, 2], width: 4}
  - {depth: 1, width: 6, stride: 2}
"""
RECIPE = "recipe: {lr: [0.05, 1e-1, 1], flip: [true, false], momentum: 0.8}\n"
BY_TYPE = "recipe: {lr: [0.1, 0.2], mixup: {by: type, plain: 0, residual: [0, 0.2]}}\n"


def space_of(recipe):
    return parse_space(NETWORKS + recipe, "joint.yaml")


@pytest.mark.parametrize(
    ("recipe", "key", "message", "hint"),
    [
        ("recipe: {lrr: 0.1}", "recipe.lrr", "unknown field 'lrr'", "did you mean 'lr'"),
        ("recipe:\n  flip: [true]\n  lr: [0.1, -1]", "recipe.lr", "must be from 0.0 to inf, not -1.0", ""),
        ("recipe: {flip: [yes please]}", "recipe.flip", "must be true or false, not 'yes please'", ""),
        ("recipe: {sampling: [shuffled, even]}", "recipe.sampling", "unknown sampling 'even'", "balanced"),
        ("recipe: {lr: []}", "recipe.lr", "is an empty list", ""),
        ("recipe: {lr: [0.1, 1e-1]}", "recipe.lr", "must be a value or a list of different values", ""),
        ("recipe: {lr: [[0.1]]}", "recipe.lr", "must be a value or a list of different values", ""),
        ("recipe: [lr]", "recipe", "input should be a valid dictionary", ""),
        ("recipe: {epochs: [10, 20]}", "recipe.epochs", "epochs is no decision", "--epochs"),
        ("recipe: {patience: 5}", "recipe.patience", "patience is no decision", "--fidelity"),
        ("recipe: {precision: float32}", "recipe.precision", "precision is no decision", "--recipe"),
        (
            "recipe: {lr: {by: norm, plain: 1}}",
            "recipe.lr",
            "may depend on the module type alone",
            "by: type",
        ),
        ("recipe: {lr: {by: type, plain: 1}}", "recipe.lr", "has no options for the module type 'res", ""),
        (
            "recipe: {lr: {by: type, plain: 1, residual: 1, plian: 1}}",
            "recipe.lr.plian",
            "unknown module 'plian'",
            "did you mean 'plain'",
        ),
    ],
)
def test_what_a_file_cannot_say_is_refused_with_line_key_and_hint(recipe, key, message, hint):
    with pytest.raises(NasError) as caught:
        space_of(recipe)
    assert caught.value.where.startswith("joint.yaml:1")
    assert caught.value.where.endswith(f": {key}")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_options_by_type_need_one_type_per_network():
    with pytest.raises(NasError, match="networks may hold several"):
        parse_space(NETWORKS.replace("vary: network", "vary: block") + BY_TYPE, "joint.yaml")


def test_one_value_is_set_for_all_and_a_list_is_a_decision():
    space = space_of(RECIPE)
    assert {path: options for path, options in space.domains().items() if path.startswith("recipe.")} == {
        "recipe.lr": (0.05, 0.1, 1.0),
        "recipe.flip": (True, False),
    }
    assert space.spec.usual_recipe == {"lr": 0.1, "flip": True, "momentum": 0.8}
    assert all(type(option) is float for option in space.domains()["recipe.lr"])
    assert recipe_of(space.sample(0)).keys() == {"lr", "flip"}


def test_a_single_value_makes_no_candidate():
    space = space_of("recipe: {lr: 0.1}\n")
    assert type(space.sample(0)) is Genotype
    assert space.sample(0) == space_of("").sample(0)


def test_options_may_depend_on_the_module_type():
    space = space_of(BY_TYPE)
    drawn = [space.sample(seed) for seed in range(40)]
    assert {recipe_of(g)["mixup"] for g in drawn if "plain" in g.module_types} == {0.0}
    assert {recipe_of(g)["mixup"] for g in drawn if "residual" in g.module_types} == {0.0, 0.2}
    assert "recipe.mixup[type=residual]" in space.domains()
    assert "recipe.mixup[type=plain]" not in space.domains()


@pytest.mark.parametrize("recipe", [RECIPE, BY_TYPE])
def test_sizes_count_networks_times_recipes(recipe):
    space = space_of(recipe)
    candidates = list(space.enumerate())
    assert space.size().count == len(candidates) == len(set(candidates))
    assert space.without_recipe().size().count == len({candidate.network for candidate in candidates})
    assert space.networks() == {candidate.digest for candidate in candidates}
    if recipe == RECIPE:
        assert len(candidates) == 6 * space.without_recipe().size().count


@pytest.mark.parametrize("recipe", [RECIPE, BY_TYPE])
def test_a_space_is_written_and_read_again(recipe):
    space = space_of(recipe)
    assert parse_space(space.to_yaml(), "again").spec == space.spec


def test_decisions_are_read_off_a_candidate():
    space, rng = space_of(BY_TYPE), np.random.default_rng(0)
    for seed in range(20):
        candidate = space.sample(seed)
        decisions = parse_space(space.to_yaml(), "again").decisions(candidate)
        assert space.build(lambda path, _, known=decisions: known[path]) == candidate
        assert candidate in space
        assert candidate.network not in space
        mutant = space.mutate(candidate, rng)
        assert mutant in space
        assert mutant != candidate
        assert space.crossover(candidate, space.sample(seed + 50), rng) in space


def test_mutation_reaches_the_recipe_and_the_network():
    space, rng = space_of(RECIPE), np.random.default_rng(0)
    parent = space.sample(0)
    mutants = [space.mutate(parent, rng) for _ in range(40)]
    assert any(
        mutant.network == parent.network and recipe_of(mutant) != recipe_of(parent) for mutant in mutants
    )
    assert any(
        mutant.network != parent.network and recipe_of(mutant) == recipe_of(parent) for mutant in mutants
    )


def test_a_candidate_is_a_network_under_a_recipe():
    network = space_of("").sample(0)
    slow, fast = under(network, {"lr": 0.05}), under(network, {"lr": 0.2})
    assert under(network, {}) is network
    assert len({network.digest, slow.digest, fast.digest}) == 3
    assert under(network, {"lr": 1, "flip": True}).digest == under(network, {"flip": True, "lr": 1.0}).digest
    assert slow.network == network
    assert slow.network.digest == network.digest
    assert expand(slow) is expand(network)
    assert slow.to_dict() == network.to_dict()
    assert str(fast) == f"{network} @ lr=0.2"
    assert pickle.loads(pickle.dumps(slow)) == slow


def test_the_digest_of_a_candidate_is_stable():
    """Trials are told apart by it in recorded studies."""
    network = space_of("").sample(0)
    assert network.digest == "20f177008a517b23de2d06b1b03335b4"
    assert under(network, {"lr": 0.05, "flip": False}).digest == "e880f5194ccad986a29b9da25d73586f"


def test_isomorphic_networks_under_one_recipe_are_one_candidate():
    """Shortcuts A and B of a residual block are the same where no shape changes; recipes are not."""
    space = space_of(RECIPE)
    digests = {candidate.digest for candidate in space.enumerate()}
    assert len(digests) == 6 * len({candidate.network.digest for candidate in space.enumerate()})


def test_a_recipe_of_a_search_takes_the_fields_of_a_candidate():
    candidate = under(space_of("").sample(0), {"lr": 0.05, "batch_size": 16})
    recipe = staged(Recipe(epochs=9, momentum=0.8), (1, 3, 9))
    own = trained_under(candidate, recipe)
    assert (own.lr, own.batch_size, own.momentum, own.rungs) == (0.05, 16, 0.8, (1, 3, 9))
    assert trained_under(candidate.network, recipe) is recipe


@pytest.mark.parametrize("recipe", [{"epochs": 3}, {"lr": -1}, {"rate": 0.1}, {"class_weights": {}}])
def test_no_candidate_has_a_field_that_no_space_searches(recipe):
    with pytest.raises((NasError, TypeError)):
        under(space_of("").sample(0), recipe)
