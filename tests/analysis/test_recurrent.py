"""Modules that recur among good networks: what is shown, what is not, and the file that holds them."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from testing.trials import a_trial

from nas.analysis.known_modules import known_as, known_variants
from nas.analysis.module_file import write_module_type
from nas.analysis.recurrent import limits, module_key, module_keys, module_places, recurrent_modules, tail
from nas.errors import NasError
from nas.graph.cost import cost
from nas.modules import MODULE_TYPES, Cell, ConvStem, Dense, Fractal, Grammar, Plain, PoolHead, Residual
from nas.space.genotype import Genotype, Node, expand
from nas.space.load import parse_space
from nas.study.trial import Proposal
from nas.testing import check_module

SPACE = parse_space(
    """
name: tiny
vary: network
input: 1x8x8
classes: 10
stem: {type: conv, width: 8}
modules:
  residual: {shortcut: [A, B, C], norm: [after_conv, pre_activation]}
  plain: {convs: [1, 2], norm: [after_conv, pre_activation]}
stages:
  - {depth: [1, 2], width: [8, 10, 12, 14, 16], stride: 2}
head: {type: pool}
""",
    "tiny",
)


FREE = """
name: free
vary: network
input: 1x8x8
classes: 10
stem: {type: conv, width: 8}
modules:
  grammar:
    tree: {levels: 3, ops: [seq2, add2, conv3x3, conv1x1, dw3x3, end1x1, identity, act]}
stages:
  - {depth: 1, width: [8, 12, 16], stride: 2}
head: {type: pool}
"""


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("nas.analysis.recurrent.DRAWS", 150)


def trials_of(error, parents=None, count=48):
    """Trials of networks drawn uniformly; `error(genotype, rng)` is that of each."""
    rng, made, seen = np.random.default_rng(0), [], set()
    for seed in range(400):
        genotype = SPACE.sample(seed)
        if genotype.digest in seen or len(made) == count:
            continue
        seen.add(genotype.digest)
        parent = parents(len(made)) if parents else None
        proposal = Proposal(genotype, "random", uniform=parent is None, parent=parent)
        made.append(a_trial(len(made), 0, proposal=proposal, error=error(genotype, rng)))
    return [trial_with_cost(trial) for trial in made]


def trial_with_cost(trial):
    graph = expand(trial.proposal.genotype, SPACE.input_shape, SPACE.num_classes)
    return replace(trial, cost=cost(graph))


def favours_c(genotype, rng):
    good = any(getattr(node.module, "shortcut", "") == "C" for node in genotype.nodes)
    return 0.1 + 0.5 * (not good) + 0.01 * rng.random()


def chance(genotype, rng):
    return rng.random()


def test_modules_are_told_apart_by_what_they_compute():
    assert module_key(Fractal(16, columns=1)) == module_key(Plain(32, 2, convs=1))
    assert module_key(Residual(16)) != module_key(Residual(16, gate="se"))
    assert module_key(Dense(16, layers=2)) == module_key(Dense(24, 2, layers=2))


def test_a_module_that_makes_networks_good_is_shown_and_one_by_chance_is_not():
    found = recurrent_modules(trials_of(favours_c), SPACE)
    assert {row.module.shortcut for row in found.shown} <= {"C"}
    assert found.shown
    first = found.modules[0]
    assert first.share.low > first.expected
    assert first.networks == first.families <= found.good == found.families
    assert recurrent_modules(trials_of(chance), SPACE).shown == ()
    lows, highs = zip(*found.ranges, strict=True)
    assert list(lows) == sorted(lows)
    assert all(low <= high for low, high in found.ranges)
    assert all(high <= low for high, low in zip(highs, lows[1:], strict=False))


def test_what_one_network_alone_has_is_never_shown():
    """In a free space each network has modules that no other has, a good one, too."""
    free = parse_space(FREE, "free")
    rng = np.random.default_rng(0)
    proposals = [Proposal(free.sample(rng), "random") for _ in range(16)]
    trials = [
        trial_with_cost(a_trial(i, 0, proposal=own, error=rng.random())) for i, own in enumerate(proposals)
    ]
    found = recurrent_modules(trials, free)
    assert {row.families for row in found.modules} >= {1}
    assert {row.p for row in found.modules if row.families == 1} == {1.0}
    assert found.shown == ()


def test_modules_of_equal_p_are_ordered_by_families_and_error():
    found = recurrent_modules(trials_of(chance), SPACE)
    order = [(row.p, -row.families, -row.gain) for row in found.modules]
    assert order == sorted(order)
    assert found.modules[0].gain > 0


def tree(text):
    return type(Grammar(16).tree).read(text)


def test_known_modules_are_recognised_in_a_free_space():
    assert known_as(Grammar(16, 2)) == "residual"
    assert known_as(Grammar(32, tree=tree("conv3x3"), norm="pre_activation")).startswith("plain(convs=1")
    assert known_as(Grammar(32, tree=tree("seq(conv3x3, dw3x3)"))) == ""
    one = Grammar(32, tree=tree("conv1x1"), norm="pre_activation")
    assert known_as(one) == "plain(convs=1, kernel=1, norm=pre_activation)"
    assert known_as(Residual(16)) == "residual"


def test_the_places_of_batch_norm_with_which_a_new_module_is_known():
    end = Grammar(32, tree=tree("end3x3"))
    assert known_as(end) == ""
    assert known_variants(end)["pre_activation"] == "plain(convs=1, norm=pre_activation)"
    assert known_variants(Grammar(32, tree=tree("seq(conv3x3, dw3x3)"))) == {}


def test_networks_of_one_descent_count_once():
    """All descend from the first network, so that even a module in all good ones may be there by copying."""
    found = recurrent_modules(trials_of(favours_c, parents=lambda n: n - 1 if n else None), SPACE)
    assert found.families == 1
    assert found.shown == ()


def test_bounds_hold_in_simulation():
    """At 20 values with mean 0.3, the bound of 5 % is passed in no more than 5 % of samples."""
    rng = np.random.default_rng(1)
    shares = rng.binomial(20, 0.3, 4000) / 20
    assert np.mean([tail(share, 0.3, 20) < 0.05 for share in shares]) < 0.05
    assert np.mean([low <= 0.3 <= high for low, high in (limits(share, 20) for share in shares)]) > 0.95


def test_too_few_networks_are_refused():
    with pytest.raises(NasError, match="5 networks are trained, 8 needed"):
        recurrent_modules(trials_of(chance, count=5), SPACE)


@pytest.fixture
def forget():
    yield
    MODULE_TYPES.pop("tri", None)
    sys.modules.pop("tri", None)


TREES = (
    "seq(add(identity, seq(conv3x3, end3x3)), act)",
    "add(seq(seq(conv1x1, add(conv1x1@1/2, conv3x3@1/2g8), conv3x3), conv1x1, dw3x3), conv1x1, conv1x1)",
)
GRAPHS = (
    "nodes add/add: conv1x1(0); identity(1)",
    "nodes mean/concat: dil3x3(0); max3x3(0); dw3x3(1 + 2); identity(3)",
)


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(
    "modules",
    [
        [Residual(16, shortcut="A"), Residual(24, 2, shortcut="C", gate="se")],
        [Grammar(16, tree=type(Grammar(16).tree).read(tree)) for tree in TREES],
        [Cell(16, graph=type(Cell(16).graph).read(graph)) for graph in GRAPHS],
        [Dense(16, layers=3, growth=8)],
    ],
    ids=["residual", "grammar", "cell", "dense"],
)
def test_a_file_holds_the_modules_as_one_type(modules, tmp_path):
    made = write_module_type(tmp_path / "tri.py", "tri", modules, [(modules[0], (8, 16, 16))], "tiny")
    text = (tmp_path / "tri.py").read_text()
    assert made.type_name == "tri"
    assert len(text.splitlines()) <= 50
    assert max(map(len, text.splitlines())) <= 110
    norms = dict(made.choices())["norm"]
    assert norms[0] == modules[0].norm
    assert set(norms) == set(dict(type(modules[0]).choices())["norm"])
    varied = {name for name, options in made.choices() if len(options) > 1}
    free = {"grammar": {"tree"}, "cell": {"graph"}, "dense": set()}
    assert varied == {"residual": {"shortcut", "gate"}, **free}[modules[0].type_name] | {"norm"}
    check_module(made)
    with pytest.raises(NasError, match="is the name of a module type"):
        write_module_type(tmp_path / "other.py", "tri", modules, [], "tiny")


def test_modules_of_two_types_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(NasError, match="the modules are of 2 types"):
        write_module_type(tmp_path / "tri.py", "tri", [Residual(16), Plain(16)], [], "tiny")
    assert not list(tmp_path.iterdir())


def test_places_are_those_of_the_networks():
    trials = trials_of(chance, count=12)
    module = next(node.module for node in trials[0].proposal.genotype.nodes)
    places = module_places(trials, SPACE, {module_key(module)})
    assert (module, (8, 8, 8)) in places


def test_the_steps_of_a_derivation_are_modules_too():
    tree = type(Grammar(16).tree).read("seq(add(identity, seq(conv3x3, end3x3)), act)")
    inner = type(tree).read("seq(conv3x3, end3x3)")
    module = Grammar(16, tree=tree)
    genotype = Genotype(ConvStem(16), (Node("stage1.block1", module, ("stem",)),), PoolHead())
    keys = module_keys(genotype)
    assert {module_key(module), module_key(Grammar(16, tree=inner))} <= keys.keys()
    assert len(keys) == 3
