"""Cells: their wiring as text and as decisions, the networks they are, and NAS-Bench-201."""

import csv
import gzip
import re

import numpy as np
import pytest
import yaml
from testing.paths import SHARED

from nas.codegen.source import source
from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.ops import Conv, Zero
from nas.modules import Cell, Plain
from nas.modules.operations import OPERATIONS
from nas.modules.wiring import Wiring
from nas.space.genotype import Genotype, expand
from nas.space.load import load_space, parse_space
from nas.testing.module_check import alone, check_figures, check_outputs

BENCH, CELLS = load_space("nas_bench_201"), load_space("cells")
EDGES = ("0_1", "0_2", "1_2", "0_3", "1_3", "2_3")
NAMES = {
    "none": "none",
    "skip_connect": "identity",
    "avg_pool_3x3": "avg3x3",
    "nor_conv_1x1": "conv1x1",
    "nor_conv_3x3": "conv3x3",
}
TABLE = SHARED / "data" / "tables" / "nas-bench-201_seeds_cifar10.csv.gz"
BOUNDS = {
    "pairs": {"ops_on": ("edges",), "nodes": (1, 2), "ops": ("none", "conv1x1"),
              "join": ("add",), "output": ("add", "mean")},
    "edges": {"ops_on": ("edges",), "nodes": (2, 3), "inputs": (1, 2), "ops": ("identity", "conv1x1"),
              "join": ("add", "mean"), "output": ("concat",)},
    "nodes": {"ops_on": ("nodes", "edges"), "nodes": (1, 3), "inputs": (1, 2),
              "ops": ("identity", "dw3x3", "none"), "join": ("add",), "output": ("add",)},
}  # fmt: skip


def bench(cell):
    """The network of NAS-Bench-201 with a cell in the notation of the published tables."""
    ops = [part.partition("~")[0] for part in cell.replace("+", "").split("|") if part]
    taken = {f"cell.graph.op{edge}": NAMES[op] for edge, op in zip(EDGES, ops, strict=True)}
    return BENCH.build(lambda path, options: taken[path])


def cell(text, **fields):
    return alone(Cell(16, graph=text, norm="after_conv", **fields))


def every(bounds):
    """Every wiring within bounds, by answering in every way."""
    asked = [[]]
    while asked:
        given, answers = asked.pop(), []

        def choose(path, options, given=given, answers=answers):
            i = given[len(answers)] if len(answers) < len(given) else 0
            if len(answers) >= len(given):
                asked.extend([*answers, k] for k in range(1, len(options)))
            answers.append(i)
            return options[i]

        yield Wiring.build(bounds, choose)


@pytest.mark.parametrize("kind", BOUNDS)
def test_every_wiring_is_counted_written_and_read_back(kind):
    wirings = list(every(BOUNDS[kind]))
    assert Wiring.count(BOUNDS[kind]) == len(wirings) == len(set(wirings)) > 10
    for wiring in wirings:
        assert Wiring.read(str(wiring)) == wiring
        known = wiring.answers()
        assert (
            Wiring.build(BOUNDS[kind], lambda path, _, known=known: known[path.partition("[")[0]]) == wiring
        )


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "edges",
            "edges add/add:",
            "edges add/add: conv3x3(0)  ",
            "edges add/add: conv3x3(0);conv1x1(0)",
        ),
        *(
            "edges add/add: conv9x9(0)",
            "edges add/add: conv3x3(1)",
            "edges add/add: none(0)",
            "edges add/sum: none",
        ),
        *("edges add/add: conv3x3(0) + conv1x1(0)", "edges add/add: none; conv3x3(1) + conv1x1(0)"),
        *("nodes add/add: conv3x3(0)", "nodes add/add: identity(0 + 0)", "sides add/add: none"),
        *(
            "edges add/add: " + "; ".join(["none"] * 9),
            "edges add/add: " + "x" * 5000,
            3,
            None,
            ["none"],
            True,
        ),
    ],
)
def test_any_other_text_is_refused(text):
    with pytest.raises(NasError):
        Wiring.read(text)
    data = alone(Cell(16)).to_dict()
    data["nodes"][0]["module"]["graph"] = text
    with pytest.raises(NasError, match=r"nodes\[0\]: module: graph"):
        Genotype.from_dict(data)


def test_genotypes_survive_json_mutation_and_crossover():
    rng = np.random.default_rng(0)
    for space in (BENCH, CELLS):
        for seed in range(8):
            parent, other = space.sample(seed), space.sample(seed + 100)
            assert Genotype.from_json(parent.to_json()) == parent
            mutant, child = space.mutate(parent, rng), space.crossover(parent, other, rng)
            assert mutant in space
            assert child in space
            before, after = space.decisions(parent), space.decisions(mutant)
            changed = [path for path in before.keys() & after.keys() if before[path] != after[path]]
            assert len(changed) == 1 or before.keys() != after.keys()


ALL_OPERATIONS = (
    "edges add/mean: conv1x1(0) ; conv3x3(0) + conv5x5(1); conv7x7(0) + dw3x3(1) + dw5x5(2); "
    "sep3x3(0) + sep5x5(1) + dil3x3(2) + dil5x5(3); avg3x3(0) + max3x3(1) + identity(2)"
).replace(" ;", ";")


@pytest.mark.parametrize(
    "text",
    [
        ALL_OPERATIONS + " + conv1x1(3) + conv1x1(4)",
        "nodes concat/concat: conv1x1(0); dw3x3(0 + 1); identity(0 + 1 + 2)",
        "edges add/add: none",
    ],
)
def test_cells_agree_with_torch(text):
    assert all(f"{op}(" in ALL_OPERATIONS for op in OPERATIONS)
    check_figures(cell(text))
    check_outputs(cell(text))


def test_random_cells_agree_with_torch():
    check_figures(CELLS.sample(3))
    check_outputs(CELLS.sample(5))


def test_paths_that_add_nothing_vanish_before_the_digest():
    plain = alone(Plain(16, convs=1)).digest
    same = [
        "edges add/add: conv3x3(0)",
        "edges mean/mean: identity(0); conv3x3(1)",
        "edges add/concat: conv3x3(0); none; identity(1)",
        "edges add/add: none; conv3x3(0) + conv1x1(1)",
        "nodes add/add: conv3x3(0); dw3x3(1); identity(1)",
    ]
    assert {cell(text).digest for text in same} == {plain}
    assert cell("edges add/add: conv3x3(0); conv3x3(1)").digest != plain


def test_a_result_used_twice_is_not_made_twice_but_a_pool_is_only_made_once():
    def digest(first, second):
        return cell(f"edges add/add: {first}(0); {second}; conv1x1(1) + conv3x3(2)").digest

    assert digest("conv3x3", "identity(1)") != digest("conv3x3", "conv3x3(0)")
    assert digest("avg3x3", "identity(1)") == digest("avg3x3", "avg3x3(0)")


def test_a_cell_without_a_path_outputs_zeros():
    zero = bench("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    ops = [node.op for node in expand(zero).primitives]
    assert ops.count(Zero()) == 15
    assert cost(expand(zero)).params == 73_306
    assert zero.digest == bench("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|avg_pool_3x3~2|").digest
    with_limit = parse_space(BENCH.to_yaml() + "constraints: {paths: {min: 1}}\n", "limited")
    assert "paths 0 is below 1" in with_limit.violations(zero)
    assert Wiring.read("edges add/add: conv3x3(0); identity(0) + conv1x1(1)").measure() == {
        "edges": 3,
        "paths": 2,
    }


def test_flops_and_parameters_of_nas_bench_201():
    most = bench(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )
    figures = cost(expand(most))
    assert figures.flops == 220_119_680  # 220.1 M as published
    assert figures.params == 1_531_546
    assert BENCH.size().count == 15_625
    assert sum(isinstance(node.op, Conv) for node in expand(most).primitives) == 15 * 6 + 1 + 2 * 3


@pytest.mark.skipif(not TABLE.exists(), reason="the published table is not here")
def test_parameters_and_classes_of_a_sample_of_the_table():
    """benchmarks/nas_bench_201.py does this for all cells; whole classes of equal digests are few here."""
    with gzip.open(TABLE, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    checked = 0
    for row in rows[::1201]:
        genotype = bench(row["architecture"])
        wiring = genotype.nodes[0].module.graph
        if len(wiring.alive) < sum(len(node.inputs) for node in wiring.nodes):
            continue  # the table counts operations that do nothing
        checked += 1
        assert round(cost(expand(genotype)).params / 1e6, 6) == float(row["params_millions"])
    assert checked > 4


def test_one_class_per_cell_with_nodes_by_name():
    text = source(expand(cell("nodes add/add: conv3x3(0); dw3x3(0 + 1); identity(1 + 2)")))
    assert len(re.findall(r"^class Cell[0-9a-f]{4}\(nn.Module\):", text, re.MULTILINE)) == 1
    assert "nodes add/add: conv3x3(0); dw3x3(0 + 1);" in text
    assert "self.conv3x3_1 = ConvNormAct(out_chs, out_chs)" in text
    assert "return conv3x3_1 + self.dw3x3_2(node2)" in text


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ops", ["conv3x3", "conv9x9"], "'conv9x9' is not an option of ops"),
        ("nodes", [], "is an empty list"),
        ("nodes", 99, "99 is not an option of nodes"),
        ("joins", "add", "unknown key 'joins'"),
        ("ops", None, "None is not an option of ops"),
        ("ops_on", "nodes", "operations on nodes need 'inputs'"),
        ("join", [["add"]], "must be a value or a list of different values"),
    ],
)
def test_faults_of_a_space_name_the_place(key, value, message):
    data = yaml.safe_load(BENCH.to_yaml())
    data["modules"]["cell"]["graph"][key] = value
    with pytest.raises(NasError, match=r"modules\.cell\.graph") as raised:
        parse_space(yaml.safe_dump(data), "mine.yaml")
    assert message in str(raised.value)


def test_all_missing_keys_are_named_at_once():
    data = yaml.safe_load(BENCH.to_yaml())
    for key in ("join", "output"):
        del data["modules"]["cell"]["graph"][key]
    with pytest.raises(NasError, match="needs 'join', 'output'"):
        parse_space(yaml.safe_dump(data), "mine.yaml")


def test_all_decisions_of_cells_with_operations_on_edges_or_nodes_are_known():
    data = yaml.safe_load(BENCH.to_yaml())
    graph = {"ops_on": ["edges", "nodes"], "nodes": [2, 4], "inputs": [1, 2], "ops": ["conv3x3", "conv1x1"]}
    data["modules"]["cell"]["graph"] = {**graph, "join": "add", "output": ["add", "concat"]}
    space = parse_space(yaml.safe_dump(data), "mine.yaml")
    domains = space.domains()
    for seed in range(100):
        assert space.decisions(space.sample(seed)).keys() <= domains.keys()


def test_texts_of_wirings_are_options_too():
    data = yaml.safe_load(BENCH.to_yaml())
    texts = ["edges add/add: conv3x3(0)", "edges add/add: conv1x1(0)"]
    data["modules"]["cell"]["graph"] = texts
    space = parse_space(yaml.safe_dump(data), "mine.yaml")
    assert space.domains() == {"cell.graph": tuple(texts)}
    assert space.size().count == len({genotype.digest for genotype in space.enumerate()}) == 2
    assert space.sample(0) in space
    data["modules"]["cell"]["graph"] = "edges add/add: conv3x3(0) "
    with pytest.raises(NasError, match="did you mean 'edges add/add: conv3x3"):
        parse_space(yaml.safe_dump(data), "mine.yaml")
    with pytest.raises(NasError, match="unknown limit 'edges'"):
        parse_space(load_space("residual_vs_fractal").to_yaml().replace("params:", "edges:"), "mine.yaml")
