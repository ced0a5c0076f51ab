"""The grammar of modules: what can be derived, draws by its prior, and mutation."""

from collections import Counter
from math import exp, fsum

import numpy as np
import pytest
import yaml

from nas.errors import NasError
from nas.graph.cost import Cost
from nas.graph.ops import Mean, Scale
from nas.modules import Bottleneck, ConvStem, Dense, Fractal, Grammar, Inception, Plain, PoolHead, Residual
from nas.modules import ResNeXt as NextUnit
from nas.modules.derivation import Derivation
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.space.decisions import log_share, pick
from nas.space.genotype import Genotype, Node, expand
from nas.space.load import load_space, parse_space
from nas.study.history import History
from nas.study.trial import Trial
from nas.testing.module_check import alone, check_figures, check_outputs

SPACE = load_space("grammar")
BOUNDS = {
    "levels": (4,),
    "ops": tuple(SPACE.spec.modules["grammar"]["tree"]["ops"]),
}
SMALL = {"levels": (2,), "ops": ("seq2", "add2", "repeat2", "conv3x3", "identity")}
RESIDUAL = "seq(add(identity, seq(conv3x3, end3x3)), act)"
INCEPTION = (
    "concat(conv1x1@1/4, seq(conv1x1@3/8, conv3x3@1/2), seq(conv1x1@1/16, conv5x5@1/8), "
    "seq(max3x3, conv1x1@1/8))"
)
INNER = "mean(conv3x3, seq(conv3x3, conv3x3))"
KNOWN = [
    (Plain(64, convs=2), "seq(conv3x3, conv3x3)"),
    (Plain(64, convs=4, norm="pre_activation"), "repeat4(conv3x3)"),
    *((Residual(64, norm=norm), RESIDUAL) for norm in dict(Residual.choices())["norm"]),
    (Bottleneck(64), "seq(add(identity, seq(conv1x1@1/4, conv3x3@1/4, end1x1)), act)"),
    (NextUnit(64), "seq(add(identity, seq(conv1x1@1/2, conv3x3@1/2g32, end1x1)), act)"),
    (Fractal(64, columns=2), INNER),
    (Fractal(64, columns=3), f"mean(conv3x3, seq({INNER}, {INNER}))"),
    (Inception(64), INCEPTION),
    (Dense(64, layers=3, growth=16), "repeat3(concat(identity, seq(conv1x1, conv3x3@1/4)))"),
]


def network(module):
    """A network in which the module keeps the shape."""
    stem, head = ConvStem(64, norm=module.norm), PoolHead(norm=module.norm)
    return Genotype(stem, (Node("stage1.block1", module, ("stem",)),), head)


@pytest.mark.parametrize(("module", "text"), KNOWN, ids=lambda part: str(part)[:40])
def test_known_types_can_be_derived(module, text):
    derived = Grammar(64, tree=text, norm=module.norm)
    assert network(derived).digest == network(module).digest
    answers = derived.tree.answers()
    ops = (*BOUNDS["ops"], "repeat4")
    assert Derivation.build({**BOUNDS, "ops": ops}, lambda path, options: answers[path]) == derived.tree
    assert all(option in ops for option in answers.values())


def trees(bounds):
    """Every derivation within bounds, with the probability of drawing it."""
    asked = [[]]
    while asked:
        given, taken, probability = asked.pop(), [], 0.0

        def choose(path, options, given=given, taken=taken):
            nonlocal probability
            i = given[len(taken)] if len(taken) < len(given) else 0
            if len(taken) >= len(given):
                asked.extend([*taken, k] for k in range(1, len(options)))
            taken.append(i)
            probability += log_share(options, options[i])
            return options[i]

        yield Derivation.build(bounds, choose), exp(probability)


def test_every_derivation_is_counted_written_and_read_back_and_probabilities_sum_to_one():
    known = dict(trees(SMALL))
    assert Derivation.count(SMALL) == len(known) > 300
    assert fsum(known.values()) == pytest.approx(1)
    for tree in known:
        assert Derivation.read(str(tree)) == tree
        answers = tree.answers()
        assert Derivation.build(SMALL, lambda path, _, answers=answers: answers[path]) == tree


def test_draws_follow_the_prior():
    rng, draws = np.random.default_rng(0), 4000
    counts = Counter(Derivation.build(SMALL, lambda _, options: pick(options, rng)) for _ in range(draws))
    for tree, probability in trees(SMALL):
        if probability > 0.01:
            spread = (draws * probability * (1 - probability)) ** 0.5
            assert abs(counts[tree] - draws * probability) < 5 * spread


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "seq",
            "seq(conv3x3)",
            "seq(conv3x3, conv3x3",
            "seq(conv3x3, conv3x3))",
            "seq(conv3x3,conv3x3)",
        ),
        *("conv9x9", "conv3x3@1/3", "conv3x3@1", "gated(act, act, act)", "repeat9(act)", "act(act, act)"),
        *(
            "seq(" * 600,
            "seq(act, " * 7 + "act" + ")" * 7,
            "repeat4(" * 4 + "act" + ")" * 4,
            3,
            None,
            ["act"],
        ),
    ],
)
def test_any_other_text_is_refused(text):
    data = alone(Grammar(16)).to_dict()
    data["nodes"][0]["module"]["tree"] = text
    with pytest.raises(NasError, match=r"nodes\[0\]: module: tree"):
        Genotype.from_dict(data)


def test_mutation_replaces_a_subtree_by_one_of_the_same_shape():
    rng = np.random.default_rng(0)
    mutants = 0
    for seed in range(30):
        parent = SPACE.sample(seed)
        child = SPACE.mutate(parent, rng)
        assert child in SPACE
        assert expand(child).output_shape == expand(parent).output_shape
        before, after = SPACE.decisions(parent), SPACE.decisions(child)
        changed = [p for p in before.keys() | after.keys() if before.get(p) != after.get(p)]
        inside = sorted((p for p in changed if ".tree." in p), key=len)
        mutants += bool(inside)
        assert all(path.startswith(inside[0]) for path in inside)  # one node, and what is below it
    assert mutants > 5


def test_genotypes_survive_json_and_crossover():
    rng = np.random.default_rng(0)
    for seed in range(8):
        parent, other = SPACE.sample(seed), SPACE.sample(seed + 100)
        assert Genotype.from_json(parent.to_json()) == parent
        assert SPACE.crossover(parent, other, rng) in SPACE


def test_derived_modules_agree_with_torch():
    text = "seq(gated(seq(conv1x1@1/4, dw3x3), repeat2(conv3x3@1/2g8)), add(avg3x3, concat(end1x1, act)))"
    check_figures(alone(Grammar(16, stride=2, tree=text)))
    check_outputs(alone(Grammar(16, tree=text)))
    ops = [node.op for node in expand(alone(Grammar(16, tree=text))).primitives]
    assert sum(isinstance(op, Scale) for op in ops) == 1
    assert not any(isinstance(op, Mean) for op in ops)
    check_outputs(SPACE.sample(6))


def test_groups_are_no_more_than_divide_the_channels():
    check_figures(alone(Grammar(24, tree="seq(conv3x3@1/2g32, conv3x3@1/16g8)")))


@pytest.mark.parametrize("name", ["evolution", "random"])
def test_searchers_propose_derivations(name):
    searcher, history = make_searcher(name, ("error", "flops")), History(("error", "flops"))
    for number in range(25):
        proposal = propose(searcher, SPACE, history, seed=1, number=number)
        assert proposal.genotype in SPACE
        history.record(
            Trial(
                number=number,
                proposal=proposal,
                state="complete",
                error=1 / (2 + number % 7),
                cost=Cost(1, 1000 + number, 1, 1),
                decisions=SPACE.decisions(proposal.genotype),
                seed=0,
                epochs=1,
            )
        )
    assert len({trial.proposal.genotype.digest for trial in history.trials}) == 25
    assert any(trial.proposal.parent is not None for trial in history.trials) is (name == "evolution")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("levels", [2, 3], "levels is one bound"),
        ("levels", 9, "9 is not an option of levels"),
        ("ops", ["seq2", "add2"], "needs an operation besides operators"),
        ("ops", ["seq2", "conv3x3", "conv9x9"], "'conv9x9' is not an option of ops"),
        ("ops", [], "needs an operation besides operators"),
    ],
)
def test_faults_of_a_space_name_the_place(key, value, message):
    data = yaml.safe_load(SPACE.to_yaml())
    data["modules"]["grammar"]["tree"][key] = value
    with pytest.raises(NasError, match=r"modules\.grammar\.tree") as raised:
        parse_space(yaml.safe_dump(data), "mine.yaml")
    assert message in str(raised.value)
