"""Constraints that hardly any draw satisfies, and what a space says of its networks."""

import re

import numpy as np
import pytest

from nas.errors import NasError
from nas.searchers import make_searcher
from nas.searchers.base import uniform_proposal
from nas.space import tight as tight_module
from nas.space.decisions import every_genotype, pick
from nas.space.load import parse_space
from nas.space.prefix import PrefixCheck
from nas.study.history import History

RNG = np.random.default_rng(5)

TIGHT = """\
name: tight
vary: network
stem: {{type: conv, width: 8}}
modules: {{residual: {{shortcut: B}}, plain: {{}}}}
stages:
{stages}
head: {{type: pool}}
constraints: {{flops: {{max: {flops}}}}}
"""
SMALL_WIDTHS = "[4, 8, 12, 16, 20, 24, 28]"


def tight(flops, stages=2, widths=SMALL_WIDTHS):
    stage = f"  - {{depth: [1, 2, 3, 4], width: {widths}, stride: 2}}\n"
    return parse_space(TIGHT.format(stages=stage * stages, flops=flops), "tight.yaml").with_input(
        (1, 8, 8), 10
    )


def test_few_networks_are_found_and_drawn_as_often_as_by_chance():
    space = tight(12_712)
    fitting = list(space.enumerate())
    assert len(fitting) == 1  # of 1,568, less than 10 in 10,000 draws
    assert [space.sample(seed) for seed in range(5)] == fitting * 5
    proposal = uniform_proposal(space, History(), np.random.default_rng(0))
    assert proposal.uniform
    assert proposal.log_probability == space.log_probability(fitting[0])


@pytest.mark.slow
def test_a_draw_from_a_tight_space_does_not_depend_on_earlier_ones():
    first, second = tight(20_000, stages=5), tight(20_000, stages=5)
    first.sample(1)
    assert first.sample(7) == second.sample(7)


@pytest.mark.slow
def test_a_walk_leads_to_networks_of_a_large_tight_space():
    space = tight(17_000, stages=5)
    draws = [space.draw(np.random.default_rng(seed)) for seed in range(4)]
    assert all(genotype in space for genotype, _ in draws)
    assert len({genotype.digest for genotype, _ in draws}) > 1
    assert not any(uniform for _, uniform in draws)
    assert not uniform_proposal(space, History(), np.random.default_rng(0)).uniform


def test_a_search_of_a_tight_space_ends_where_all_were_tried():
    space, history = tight(12_712), History()
    proposal = uniform_proposal(space, history, np.random.default_rng(0))
    history.mark_running(0, proposal.genotype.digest)
    assert uniform_proposal(space, history, np.random.default_rng(1)) is None
    assert space.networks() == {proposal.genotype.digest}


@pytest.mark.parametrize("stages", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_constraints_that_nothing_meets_say_how_near_draws_come_and_what_would_do(stages, monkeypatch):
    monkeypatch.setattr(tight_module, "GIVE_UP", 2)
    with pytest.raises(NasError) as caught:
        tight(100, stages).sample(0)
    cheapest = {2: "12,712", 5: "13,576"}[stages]
    assert "no network satisfies the constraints: 0 of 10,000 random draws fit" in str(caught.value)
    assert f"flops at most 100: met by 0.0% of random draws, the nearest has {cheapest}" in str(caught.value)
    assert ("none of all 1,568 genotypes" in str(caught.value)) == (stages == 2)
    limit = re.search(r"half of the draws meet  flops: \{max: (\w+)\}", str(caught.value)).group(1)
    space = tight(limit, stages)
    fits = [not space.violations(space.build(lambda _, o: o[RNG.integers(len(o))])) for _ in range(200)]
    assert 0.4 < np.mean(fits) < 0.65


def test_large_images_are_told_of_the_stem_and_of_the_size_that_would_do():
    text = TIGHT.format(stages="  - {depth: [1, 2], width: [8, 16]}", flops="4M")
    space = parse_space(text, "own.yaml").with_input((3, 224, 224), 10)
    with pytest.raises(NasError) as caught:
        space.sample(0)
    assert "stem: {type: conv, …, stride: auto} reduces 224x224 to 56x56 pixels" in str(caught.value)
    side = int(re.search(r"with images of \d+ pixels: --data 'DATA\?size=(\d+)'", str(caught.value)).group(1))
    smaller = space.with_input((3, side, side), 10)
    fits = [not smaller.violations(genotype) for genotype in every_genotype(smaller.spec)]
    assert 0.4 < np.mean(fits) < 0.8
    text = text.replace("4M", "1M, at: 32x32")
    with pytest.raises(NasError) as caught:
        parse_space(text, "own.yaml").with_input((3, 224, 224), 10).sample(0)
    assert "flops at most 49,000,000" in str(caught.value)
    assert re.search(r"half of the draws meet  flops: \{max: [\d.]+M, at: 32x32\}", str(caught.value))


def test_images_that_no_network_can_take_are_told_of_a_size_that_fits():
    text = TIGHT.format(stages="  - {depth: 1, width: 8}", flops="1G").replace(
        "width: 8}", "width: 8, kernel: 11, padding: 0}", 1
    )
    with pytest.raises(NasError, match=r"no draw can be built: .*\n.*images of 16x16 fit"):
        parse_space(text, "own.yaml").with_input((1, 8, 8), 10).sample(0)


def test_networks_are_counted_and_not_genotypes():
    space = parse_space(
        "{name: four, vary: network, modules: {residual: {shortcut: [A, B]}}, "
        "stages: [{depth: [1, 2], width: 16}]}",
        "four.yaml",
    )
    assert space.size().count == 4
    assert len(space.networks()) == 2  # without a change of width no shortcut is projected
    assert tight("1G", stages=5).networks() is None


def eleven(flops):
    widths = "[4, 5, 6, 7, 8, 9, 10, 11, 12]"
    stages = f"  - {{depth: [1, 2, 3, 4], width: {widths}}}\n"
    stages += f"  - {{depth: [1, 2, 3, 4], width: {widths}, stride: 2}}\n" * 2
    return parse_space(TIGHT.format(stages=stages, flops=flops), "tight.yaml").with_input((1, 8, 8), 10)


@pytest.mark.slow
def test_eleven_of_93312_genotypes():
    space = eleven(40_600)
    history, digests = History(), []
    while proposal := uniform_proposal(space, history, np.random.default_rng([0, len(digests)])):
        digests.append(proposal.genotype.digest)
        history.mark_running(len(digests), digests[-1])
    assert len(digests) == len(set(digests)) == len(space.networks()) == 11


def test_what_begins_too_large_is_left_out_of_an_enumeration():
    space = tight(20_000)
    looked_at = list(every_genotype(space.spec, PrefixCheck(space.spec)))
    fitting = [genotype for genotype in every_genotype(space.spec) if not space.violations(genotype)]
    assert [genotype for genotype in looked_at if not space.violations(genotype)] == fitting
    assert 0 < len(fitting) <= len(looked_at) < space.size().count / 2


@pytest.mark.parametrize("limit", ["params: {max: 6k}", "flops: {min: 40k}, depth: {max: 12}"])
def test_an_enumeration_with_a_check_finds_the_same(limit):
    text = TIGHT.format(
        stages="  - {depth: [2, 3], width: [4, 8], stride: 2, skips: {join: [add, concat]}}\n" * 2,
        flops="1G",
    ).replace("flops: {max: 1G}", limit)
    space = parse_space(text, "skips.yaml").with_input((1, 8, 8), 10)
    fitting = [genotype for genotype in every_genotype(space.spec) if not space.violations(genotype)]
    every = every_genotype(space.spec, PrefixCheck(space.spec))
    assert [genotype for genotype in every if not space.violations(genotype)] == fitting
    assert 0 < len(fitting) < space.size().count


def test_a_long_enumeration_is_announced(monkeypatch):
    monkeypatch.setattr(tight_module, "PATIENT", 0.0)
    monkeypatch.setattr(tight_module, "DRAWS", 100)
    announced = pytest.warns(UserWarning, match="tight: few of 1,568 genotypes meet the constraints")
    with announced, pytest.raises(NasError):
        tight(100).sample(0)


@pytest.fixture
def fewer_draws(monkeypatch):
    """The same share of draws that makes a space tight, at a tenth of the time."""
    monkeypatch.setattr(tight_module, "DRAWS", 1000)
    monkeypatch.setattr(tight_module, "FITTING", 1)


@pytest.mark.slow
@pytest.mark.parametrize(("flops", "contexts"), [(40_600, 1), (44_000, 13)])
def test_a_paired_design_of_a_tight_space_finds_what_fits(flops, contexts, fewer_draws):
    space, design = eleven(flops), make_searcher("paired", ("error", "flops"))
    trials = design.default_trials(space, 0)
    plan = [design.proposal(space, 0, number) for number in range(trials)]
    assert len({proposal.design["context"] for proposal in plan}) == contexts
    assert {proposal.design["type"] for proposal in plan} == {"residual", "plain"}
    assert not any(space.violations(proposal.genotype) for proposal in plan)
    assert all(proposal.uniform for proposal in plan)


@pytest.mark.slow
def test_a_balanced_design_of_a_tight_space_finds_what_fits(fewer_draws):
    space, design = eleven(44_000), make_searcher("balanced", ("error", "flops"))
    plan = [design.proposal(space, 0, number) for number in range(design.default_trials(space, 0))]
    assert len({proposal.genotype.digest for proposal in plan}) == len(plan) > 20
    assert {proposal.design["type"] for proposal in plan} == {"residual", "plain"}
    assert not any(space.violations(proposal.genotype) for proposal in plan)
    with pytest.raises(NasError, match="networks of residual alone: tight: no network satisfies"):
        make_searcher("balanced", ("error", "flops")).default_trials(eleven(38_400), 0)


def test_a_paired_design_without_a_context_is_refused(fewer_draws):
    text = TIGHT.format(stages="  - {depth: [1, 2], width: [8, 16], stride: 2}", flops="100k")
    text = text.replace("residual: {shortcut: B}, plain: {}", "bottleneck: {}, fractal: {}")
    space = parse_space(text.replace("max: 100k", "min: 60k, max: 62k"), "own.yaml").with_input((1, 8, 8), 10)
    with pytest.raises(NasError, match="no shape lets bottleneck, fractal meet the constraints"):
        make_searcher("paired", ("error", "flops")).default_trials(space, 0)


def test_a_figure_that_some_networks_lack_does_not_limit_them():
    space = parse_space(
        """
name: mix
vary: network
stem: {type: conv, width: 8}
modules:
  cell: {graph: {ops_on: edges, nodes: 3, ops: [conv3x3, none], join: add, output: add}}
  plain: {}
stages: [{depth: 1, width: 8}]
constraints: {edges: {max: 0}, paths: {min: 1}}
""",
        "mix.yaml",
    )
    rng = np.random.default_rng(0)
    draws = [space.build(lambda _, options: pick(options, rng)) for _ in range(20)]
    excess = {draw.nodes[0].module.type_name: space.excess(draw) for draw in draws}
    assert excess["plain"] == 0 < excess["cell"]
