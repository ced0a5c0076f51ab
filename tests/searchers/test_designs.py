"""The balanced and the paired design: what they plan, and that a search trains it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from nas.controller.config import SearchConfig, prepare
from nas.controller.loop import run_search
from nas.errors import NasError
from nas.graph.cost import cost
from nas.modules import MODULE_TYPES
from nas.searchers import make_searcher
from nas.searchers.designs.base import Context
from nas.searchers.designs.flops_matching import TOLERANCE, at_flops
from nas.searchers.designs.paired import reference_flops
from nas.space.genotype import expand
from nas.space.load import load_space, parse_space
from nas.stats import power
from nas.study.history import History
from nas.study.trial import Proposal
from nas.study.trial_json import from_attributes, to_attributes
from nas.training.recipe import Recipe
from nas.training.task import Result

SPACE = """
name: small
vary: block
stem: {type: conv, width: 8}
modules:
  plain: {convs: [1, 2], norm: [after_conv, none]}
  residual: {shortcut: [A, B], norm: [after_conv, pre_activation, none]}
  bottleneck: {reduction: 1, shortcut: [A, B], norm: [after_conv, none]}
stages:
  - {depth: [1, 2], width: [8, 16]}
  - {depth: [1, 2, 3], width: [16, 24], stride: 2}
head: {type: pool}
constraints:
  flops: {max: 20M}
"""
TYPES = ("plain", "residual", "bottleneck")


@pytest.fixture(autouse=True)
def small_pilot(monkeypatch):
    monkeypatch.setattr("nas.searchers.designs.balanced.PILOT", 40)


@pytest.fixture(scope="module")
def space():
    return parse_space(SPACE, "small.yaml")


@pytest.fixture(scope="module")
def paired():
    return make_searcher("paired", ("error",), 2)


@pytest.fixture(scope="module")
def balanced():
    return make_searcher("balanced", ("error",))


def plan(design, space, count, seed=0):
    return [design.proposal(space, seed, number) for number in range(count)]


def flops(space, genotype):
    return cost(expand(genotype, space.input_shape, space.num_classes)).flops


def blocks(proposals):
    by_context = defaultdict(list)
    for proposal in proposals:
        by_context[proposal.design["context"]].append(proposal)
    return by_context


def test_every_context_has_every_type_in_both_arms_with_every_seed(space, paired):
    contexts = blocks(plan(paired, space, paired.default_trials(space, 0)))
    assert len(contexts) == 20
    for members in contexts.values():
        cells = Counter(
            (p.design["type"], arm, p.design["repeat"]) for p in members for arm in p.design["arms"]
        )
        assert cells == {
            (t, arm, k): 1 for t in TYPES for arm in ("same_shape", "equal_flops") for k in (0, 1)
        }
        assert len({(p.design["repeat"], p.design["seed"]) for p in members}) == 2
        assert len({p.design["seed"] for p in members}) == 2


def test_a_block_differs_in_its_type_only(space, paired):
    for members in blocks(plan(paired, space, 120)).values():
        shaped = [p.genotype for p in members if "same_shape" in p.design["arms"]]
        assert len({tuple((n.name, n.module.width, n.module.stride) for n in g.nodes) for g in shaped}) == 1
        for nodes in zip(*(g.nodes for g in shaped), strict=True):
            assert len({node.module.norm for node in nodes}) == 1
            assert len({n.module.shortcut for n in nodes if hasattr(n.module, "shortcut")}) == 1
        assert all(len(set(p.genotype.module_types)) == 1 for p in members)


def test_the_second_arm_has_equal_flops_and_keeps_all_but_the_widths(space, paired):
    for members in blocks(plan(paired, space, 120)).values():
        matched = [flops(space, p.genotype) for p in members if "equal_flops" in p.design["arms"]]
        assert max(matched) <= min(matched) * (1 + TOLERANCE) / (1 - TOLERANCE)
        assert not any(space.violations(p.genotype) for p in members)


@pytest.mark.parametrize("name", ["paired", "balanced"])
def test_a_plan_follows_from_space_and_seed(name, space):
    first = plan(make_searcher(name, ("error",), 2), space, 30)
    again = make_searcher(name, ("error",), 2)
    assert [again.proposal(space, 0, number) for number in reversed(range(30))] == first[::-1]
    assert plan(again, space, 30, seed=1) != first


def test_a_small_space_is_exhausted_and_not_repeated():
    tiny = parse_space(
        "{name: tiny, vary: network, modules: [plain, residual], stages: [{depth: [1, 2], width: 8}]}", "tiny"
    )
    design = make_searcher("paired", ("error",), 1)
    members = list(islice(iter(lambda: design.proposal(tiny, 0, 0), None), 1))
    assert members
    count = next(number for number in range(100) if design.proposal(tiny, 0, number) is None)
    assert {p.design["context"] for p in plan(design, tiny, count)} == {0, 1}


def test_balanced_cells_are_filled_equally(space, balanced):
    count = balanced.default_trials(space, 0)
    proposals = plan(balanced, space, count)
    cells = Counter((p.design["type"], p.design["flops_bin"], p.design["depth"]) for p in proposals)
    assert set(cells.values()) == {2}
    assert {kind for kind, _, _ in cells} == set(TYPES)
    assert len({p.genotype.digest for p in proposals}) == count
    assert all(p.genotype in space and p.uniform for p in proposals)
    edges = balanced.summary(space, 0, count)["flops"]
    for p in proposals:
        low, high = edges[p.design["flops_bin"]], edges[p.design["flops_bin"] + 1]
        assert low - 1 <= flops(space, p.genotype) <= high + 1


def test_designs_need_two_types_and_common_flops():
    one = parse_space("{name: one, modules: [plain], stages: [{depth: 1, width: 8}]}", "one")
    with pytest.raises(NasError, match="two or more module types"):
        make_searcher("paired", ("error",)).proposal(one, 0, 0)
    apart = parse_space(
        "{name: apart, modules: [plain, max_pool], stages: [{depth: [1, 2, 3, 4], width: 8}]}", "apart"
    )
    with pytest.raises(NasError, match="no FLOPs in common"):
        make_searcher("balanced", ("error",)).proposal(apart, 0, 0)


def test_widths_are_scaled_until_the_flops_match(space):
    genotype = load_space("all_modules").sample(3)
    whole = flops(load_space("all_modules"), genotype)
    for target in (whole // 3, whole * 2):
        scaled = at_flops(genotype, target, (3, 32, 32), 10)
        assert abs(flops(load_space("all_modules"), scaled) / target - 1) <= TOLERANCE
    assert at_flops(genotype, whole, (3, 32, 32), 10) == genotype
    assert at_flops(genotype, whole * 1000, (3, 32, 32), 10) is None


class Evaluator:
    """Answers at once with an error that depends on the training seed."""

    slots = 3

    def __init__(self, give_up_after=10**9):
        self.tasks, self.waiting, self.left = [], [], give_up_after

    def submit(self, task):
        self.tasks.append(task)
        self.waiting.append(task)

    def wait(self, timeout=None, **callbacks):
        if len(self.tasks) > self.left:
            raise KeyboardInterrupt
        done, self.waiting = self.waiting, []
        return [Result(t.number, "complete", error=t.seed % 1000 / 1000) for t in done]

    def drain(self):
        pass

    def close(self):
        pass


def searched(space, study, trials, evaluator=None, name="paired"):
    design = make_searcher(name, ("error",), 2)
    run_search(SearchConfig(space, design, Recipe(epochs=1), trials), study, evaluator or Evaluator())
    return study


def test_a_search_trains_every_part_of_a_block_with_its_seed(space):
    study = searched(space, History(("error",)), 22)
    assert [trial.seed for trial in study.trials] == [t.proposal.design["seed"] for t in study.trials]
    assert all(trial.duplicate_of is None for trial in study.trials)
    repeats = defaultdict(set)
    for trial in study.trials:
        repeats[trial.digest].add(trial.error)
    assert any(len(errors) > 1 for errors in repeats.values())
    for trial in study.trials:
        assert from_attributes(to_attributes(trial)) == trial
        assert all(value in space.domains()[path] for path, value in trial.decisions.items())


@pytest.mark.parametrize("name", ["paired", "balanced"])
def test_an_interrupted_block_is_resumed(space, name):
    whole = searched(space, History(("error",)), 20, name=name)
    cut = History(("error",))
    with pytest.raises(KeyboardInterrupt):
        searched(space, cut, 20, Evaluator(7), name=name)
    assert 0 < len(cut.trials) < 20
    searched(space, cut, 20, name=name)
    by_number = {trial.number: trial for trial in cut.trials}
    assert [by_number[t.number].proposal for t in whole.trials] == [t.proposal for t in whole.trials]
    assert [by_number[t.number].error for t in whole.trials] == [t.error for t in whole.trials]


def test_only_trials_of_a_design_record_one(space):
    trial = searched(space, History(("error",)), 3).trials[0]
    assert "design" in to_attributes(trial)
    plain = Proposal(trial.genotype, "random")
    assert plain.design == {}


def test_settings_of_a_design_are_checked(space):
    config, dataset = prepare(space, searcher="paired", repeats=3, recipe={"epochs": 1})
    assert config.trials == config.searcher.default_trials(config.space, 0)
    assert config.run_config(dataset).repeats == 3
    config, dataset = prepare(space, searcher="random")
    assert config.run_config(dataset).repeats is None
    for wrong in ({"searcher": "random", "repeats": 2}, {"searcher": "paired", "repeats": 0}):
        with pytest.raises(NasError, match="repeats"):
            prepare(space, **wrong)
    with pytest.raises(NasError, match="seed_with"):
        prepare(space, searcher="paired", seed_with=("resnet20",))


def test_a_summary_states_the_plan_and_the_detectable_effects(space, paired):
    summary = paired.summary(space, 0, paired.default_trials(space, 0))
    assert summary["contexts"] == 20
    text = "\n".join(summary["lines"])
    assert "4 of 5 studies" in text
    assert "20 contexts x plain, residual, bottleneck" in text
    short = paired.summary(space, 0, 25)
    assert any("support no claim" in line for line in short["lines"])
    assert any("do not complete a context" in line for line in short["lines"])


def test_a_balanced_plan_states_the_effects_it_detects_after_holm_and_overlap(space, balanced):
    summary = balanced.summary(space, 0, balanced.default_trials(space, 0))
    assert 0.5 < summary["overlap"] <= 1
    per_type, lines = summary["networks_of_type"], "\n".join(summary["lines"])
    for row in summary["detectable"]:  # the adjustment costs some of the networks
        assert row["effect"] > power.detectable(per_type, row["sd"] * np.sqrt(2))
        assert row["after_holm"] > power.detectable(per_type, row["sd"] * np.sqrt(2), tests=3)
        assert f"of {100 * row['after_holm']:.2f} points after Holm's correction" in lines
    assert balanced.summary(space, 0, 2)["overlap"] == 0  # one type is not there
    assert balanced.summary(space, 0, 2)["detectable"] == []


def test_power_is_that_of_the_rule():
    assert power.needed(1.0, 10.0) == pytest.approx((2.8 * 10) ** 2, rel=0.01)
    blocks = power.needed(1.0, 2.0)
    assert power.predicted(blocks, 1.0, 2.0) == pytest.approx(0.8, abs=0.02)
    assert power.detectable(blocks, 2.0) == pytest.approx(1.0, abs=0.03)
    assert power.needed(1.0, 2.0, tests=10) > blocks
    assert power.detectable(1, 2.0) == np.inf


def of_type(genotype, name):
    """The network of the same shape whose blocks are all of one type."""
    nodes = (
        replace(node, module=MODULE_TYPES[name](width=node.module.width, stride=node.module.stride))
        for node in genotype.nodes
    )
    return replace(genotype, nodes=tuple(nodes))


def test_the_budget_of_a_context_depends_on_no_type_that_takes_part(space):
    for proposal in plan(make_searcher("paired", ("error",), 1), space, 40):
        budgets = {
            reference_flops(of_type(proposal.genotype, name), space)
            for name in ("fractal", "residual", "plain")
        }
        assert budgets == {flops(space, of_type(proposal.genotype, "plain"))}


def test_networks_at_equal_flops_meet_the_budget_that_is_recorded(space, paired):
    for proposal in plan(paired, space, 60):
        if "equal_flops" in proposal.design["arms"]:
            assert abs(flops(space, proposal.genotype) / proposal.design["budget"] - 1) <= TOLERANCE
            assert proposal.design["reference"] == "plain"


def test_types_share_a_place_of_norm_in_whatever_order_they_list_them():
    listed = parse_space(
        SPACE.replace(
            "residual: {shortcut: [A, B], norm: [after_conv, pre_activation, none]}",
            "residual: {shortcut: [A, B], norm: [none, pre_activation, after_conv]}",
        ),
        "other",
    )
    types = ("plain", "residual", "bottleneck")
    for number in range(20):
        context = Context(listed, types, 0, number)
        norms = {kind: [node.module.norm for node in context.network(kind).nodes] for kind in types}
        assert norms["plain"] == norms["residual"] == norms["bottleneck"]


DERIVED = """
name: derived
vary: network
stem: {type: conv, width: 8}
modules:
  plain: {}
  grammar: {tree: {levels: 3, ops: [seq2, add2, conv3x3, conv1x1, identity]}}
stages: [{depth: 1, width: 8}]
head: {type: pool}
"""


def test_derivations_follow_their_prior_in_every_design():
    """Which draws an operator at the root in 19 of 20."""
    listed = parse_space(DERIVED, "derived")
    contexts = (Context(listed, ("plain", "grammar"), 0, number) for number in range(200))
    trees = [context.network("grammar").nodes[0].module.tree for context in contexts]
    assert np.mean([bool(tree.operands) for tree in trees]) > 0.88


def test_a_balanced_plan_says_where_cells_run_out(space):
    design = make_searcher("balanced", ("error", "flops"))
    summary = design.summary(parse_space(SPACE, "small"), 0, 3000)
    assert any("not balanced: cells of few networks run out" in line for line in summary["lines"])
    usual = design.summary(space, 0, design.default_trials(space, 0))
    assert not any("not balanced" in line for line in usual["lines"])
