"""Constraints that hardly any draw satisfies, and what a space says of its networks."""

import numpy as np
import pytest

from nas.errors import NasError
from nas.searchers.base import uniform_proposal
from nas.space.space import parse_space
from nas.study.history import History

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
def test_constraints_that_nothing_meets_name_share_and_nearest_figure(stages):
    with pytest.raises(NasError) as caught:
        tight(100, stages).sample(0)
    cheapest = {2: "12,712", 5: "13,576"}[stages]
    assert "no network satisfies the constraints: 0 of 10,000 random draws fit" in str(caught.value)
    assert f"nearest to each limit: flops {cheapest} (at most 100)" in str(caught.value)
    assert ("none of all 1,568 genotypes" in str(caught.value)) == (stages == 2)


def test_networks_are_counted_and_not_genotypes():
    space = parse_space(
        "{name: four, vary: network, modules: {residual: {shortcut: [A, B]}}, "
        "stages: [{depth: [1, 2], width: 16}]}",
        "four.yaml",
    )
    assert space.size().count == 4
    assert len(space.networks()) == 2  # without a change of width no shortcut is projected
    assert tight("1G", stages=5).networks() is None


@pytest.mark.slow
def test_eleven_of_93312_genotypes():
    widths = "[4, 5, 6, 7, 8, 9, 10, 11, 12]"
    stages = f"  - {{depth: [1, 2, 3, 4], width: {widths}}}\n"
    stages += f"  - {{depth: [1, 2, 3, 4], width: {widths}, stride: 2}}\n" * 2
    space = parse_space(TIGHT.format(stages=stages, flops=40600), "tight.yaml").with_input((1, 8, 8), 10)
    history, digests = History(), []
    while proposal := uniform_proposal(space, history, np.random.default_rng([0, len(digests)])):
        digests.append(proposal.genotype.digest)
        history.mark_running(len(digests), digests[-1])
    assert len(digests) == len(set(digests)) == len(space.networks()) > 5
