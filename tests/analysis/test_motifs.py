"""Motifs of graphs whose structure is known, and which of them go with error."""

from __future__ import annotations

import numpy as np
import pytest

from nas.analysis.analyze import analyze
from nas.analysis.factors.motifs import NAMES, explain, motifs
from nas.analysis.text.ranking import analysis_dict, analysis_text
from nas.graph.cost import cost
from nas.modules import Fractal, Plain, Residual, ResNeXt
from nas.modules.heads import PoolHead
from nas.modules.stems import ConvStem
from nas.space.genotype import NOMINAL_INPUT, Genotype, Node, expand
from nas.space.load import load_space
from nas.study.history import History
from nas.study.trial import Proposal, Trial
from nas.zoo import zoo


def network(*modules, joins=()):
    """A chain of modules at width 8; `joins` adds a second input to some by position."""
    nodes = []
    for at, module in enumerate(modules):
        inputs = ("stem",) if at == 0 else (f"block{at}", *dict(joins).get(at, ()))
        nodes.append(Node(f"block{at + 1}", module, inputs))
    return motifs(expand(Genotype(ConvStem(8), tuple(nodes), PoolHead())))


def found(counts, *names):
    return tuple(counts[name] for name in names)


def test_a_plain_chain_has_one_path():
    counts = network(Plain(8), Plain(8))
    assert found(counts, "identity shortcuts", "projections", "multi-path joins", "paths, log2") == (
        0,
        0,
        0,
        0,
    )
    # the stem, four convolutions and the classifier, all 3x3 but the last
    assert found(counts, "longest path", "shortest path", "effective depth") == (6, 6, 6)
    assert counts["receptive field"] == 11


def test_residual_units_have_shortcuts_or_projections():
    counts = network(Residual(8), Residual(16, 2), Residual(16))
    assert found(counts, "identity shortcuts", "projections", "multi-path joins") == (2, 1, 3)
    assert found(counts, "paths, log2", "longest path", "shortest path") == (3, 8, 3)
    assert counts["effective depth"] == pytest.approx(2 + (0 + 2) / 2 + (1 + 2) / 2 + (0 + 2) / 2)


def test_a_residual_that_nobody_declared_is_seen():
    declared = network(Residual(8), Plain(8))
    built = network(Plain(8), Plain(8), Plain(8), joins={2: ("block1",)})
    assert declared["identity shortcuts"] == built["identity shortcuts"] == 1
    assert network(Plain(8), Plain(8), Plain(8))["identity shortcuts"] == 0


def test_fractals_have_joins_and_no_shortcut_and_resnexts_groups():
    fractal = network(Fractal(8, columns=3))
    assert found(fractal, "identity shortcuts", "projections", "multi-path joins") == (0, 0, 2)
    # columns of 4, 2 and 1 convolutions: (2 paths to the join) twice, and the shallow one
    assert fractal["longest path"] == 6
    assert fractal["shortest path"] == 3
    assert network(ResNeXt(8, cardinality=2))["grouped convolutions"] == 1


@pytest.mark.parametrize("name", zoo())
def test_motifs_do_not_depend_on_the_nesting(name):
    """Modules are counted once each and joined; of the flattened network each primitive is a part."""
    graph = expand(zoo()[name].build(), NOMINAL_INPUT)
    assert motifs(graph) == pytest.approx(motifs(graph.flatten()))


@pytest.mark.parametrize("name", ["all_modules", "fcn_heads", "residual_vs_fractal"])
def test_nor_in_networks_of_a_space(name):
    space = load_space(name)
    for seed in range(20):
        graph = expand(space.sample(seed), space.input_shape, space.num_classes)
        assert motifs(graph) == pytest.approx(motifs(graph.flatten()))


def test_the_motif_that_matters_is_found_within_equal_flops():
    rng = np.random.default_rng(0)
    stratum, n = np.repeat(np.arange(5), 40), 200
    counts = np.zeros((n, len(NAMES)))
    counts[:, 0] = rng.integers(0, 6, n)
    counts[:, 4] = 4 * stratum + rng.integers(0, 3, n)  # goes with FLOPs, and so with error
    error = 0.5 - 0.05 * stratum - 0.02 * counts[:, 0] + rng.normal(0, 0.02, n)
    effects = {e.name: e for e in explain(counts, error, stratum, np.arange(n), rng, np.ones(n))}
    assert set(effects) == {NAMES[0], NAMES[4]}
    assert effects[NAMES[0]].correlation.high < -0.5
    assert effects[NAMES[0]].p < 0.01
    assert effects[NAMES[4]].p > 0.05
    assert explain(counts[:19], error[:19], stratum[:19], np.arange(19), rng, np.ones(19)) == ()


def test_a_motif_that_only_goes_with_flops_is_not_found_within_a_bin_of_them():
    rng = np.random.default_rng(0)
    n = 500
    cost = np.exp(rng.uniform(0, 2, n))
    stratum = np.digitize(np.log(cost), np.linspace(0, 2, 6)[1:-1])
    counts = np.zeros((n, len(NAMES)))
    counts[:, 4] = np.log(cost) + rng.normal(0, 0.1, n)
    error = 0.5 - 0.1 * np.log(cost) + rng.normal(0, 0.01, n)
    (held,) = explain(counts, error, stratum, np.arange(n), rng, cost)
    (bins,) = explain(counts, error, stratum, np.arange(n), rng, np.ones(n))
    assert bins.p < 0.01
    assert bins.correlation.value < -0.3
    assert held.p > 0.05
    assert abs(held.correlation.value) < 0.1


def test_the_analysis_of_a_search_ranks_motifs():
    space, rng, history = load_space("residual_vs_fractal"), np.random.default_rng(1), History()
    for number in range(30):
        genotype = space.sample(rng)
        graph = expand(genotype)
        shortcuts = motifs(graph)["identity shortcuts"]
        history.record(
            Trial(
                number=number,
                proposal=Proposal(genotype, "random", uniform=True),
                state="complete",
                error=0.5 - 0.03 * shortcuts + rng.normal(0, 0.01),
                cost=cost(graph),
                decisions=space.decisions(genotype),
                seed=number,
                epochs=1,
            )
        )
    analysis = analyze(history)
    assert analysis.motifs[0].correlation.value < -0.5
    text = analysis_text(analysis)
    assert "identity shortcuts" in text
    assert "nan" not in text
    assert analysis_dict(analysis)["motifs"][0]["name"] == analysis.motifs[0].name
