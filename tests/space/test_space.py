import numpy as np
import pytest

from nas.errors import NasError, NotFoundError
from nas.graph.cost import cost, depth
from nas.space.genotype import Genotype, expand
from nas.space.load import load_space, parse_space, space_names

SMALL = """\
name: small
vary: block
stem: {type: conv, width: [8, 16]}
modules:
  plain: {convs: [1, 2]}
  resnext:
    cardinality: [2, 4]
    base_width: {by: cardinality, 2: [40, 64], 4: 24}
stages:
  - {depth: [1, 2], width: 16}
  - {depth: 1, width: [16, 32], stride: 2}
head: {type: pool}
"""


@pytest.mark.parametrize("name", space_names())
def test_shipped_spaces(name):
    space = load_space(name)
    genotypes = [space.sample(seed) for seed in range(30)]
    assert space.name == name
    assert space.description
    assert all(genotype in space for genotype in genotypes)
    assert len({genotype.digest for genotype in genotypes}) > 15
    assert parse_space(space.to_yaml(), "again") == space.with_input(space.input_shape, space.num_classes)


def test_shipped_spaces_hold_the_module_types_of_their_names():
    def types(name):
        space = load_space(name)
        return {kind for seed in range(60) for kind in space.sample(seed).module_types}

    assert types("residual_vs_fractal") == {"residual", "fractal"}
    assert types("plain_vs_residual") == {"plain", "residual"}
    assert types("basic_vs_bottleneck") == {"residual", "bottleneck"}
    classic = {"plain", "residual", "bottleneck", "resnext", "fractal", "inception", "max_pool"}
    assert types("all_modules") == classic
    assert any("add" in str(load_space("skip_connections").sample(seed)) for seed in range(30))


def test_size_is_the_number_of_genotypes():
    space = parse_space(SMALL, "small.yaml")
    genotypes = list(space.enumerate())
    block = 2 + 2 + 1
    assert space.size().count == 2 * (block + block**2) * 2 * block == len(genotypes) == len(set(genotypes))
    assert space.size().exact


@pytest.mark.parametrize("vary", ["stage", "network"])
def test_size_follows_how_often_types_vary(vary):
    space = parse_space(SMALL.replace("vary: block", f"vary: {vary}"), "small.yaml")
    genotypes = list(space.enumerate())
    assert space.size().count == len(genotypes) == len(set(genotypes))
    assert all(genotype in space for genotype in genotypes)


def test_size_counts_skips():
    space = parse_space(
        "name: skips\nmodules: [plain]\nstages: [{depth: [3, 4], width: 8, skips: {join: [add, concat]}}]",
        "skips",
    )
    assert space.size().count == 3 + 3 * 5 == len(set(space.enumerate()))


def test_enumeration_respects_constraints():
    space = parse_space(SMALL + "constraints: {flops: {max: 3M, min: 1M}, depth: {max: 9}}\n", "small.yaml")
    genotypes = list(space.enumerate())
    assert 0 < len(genotypes) < space.size().count
    assert not space.size().exact
    for genotype in genotypes:
        graph = expand(genotype)
        assert 1e6 <= cost(graph).flops <= 3e6
        assert depth(graph) <= 9


def test_sampling_is_uniform_over_decisions():
    space = parse_space(SMALL, "small.yaml")
    drawn = [space.decisions(space.sample(seed)) for seed in range(2000)]
    for path in ("stem.width", "stage1.depth", "stage2.block1.type", "stage2.width"):
        values = [decisions[path] for decisions in drawn]
        shares = [values.count(option) / len(values) for option in space.domains()[path]]
        assert shares == pytest.approx([0.5, 0.5], abs=0.04)


def test_log_probability_sums_to_one():
    space = parse_space(SMALL, "small.yaml")
    total = sum(np.exp(space.log_probability(genotype)) for genotype in space.enumerate())
    assert total == pytest.approx(1.0)


def test_decisions_build_the_genotype_again():
    for name in space_names():
        space = load_space(name)
        domains = space.domains()
        for seed in range(20):
            genotype = space.sample(seed)
            decisions = space.decisions(genotype)
            assert all(value in domains[path] for path, value in decisions.items())
            assert space.build(lambda path, options, known=decisions: known[path]) == genotype


def test_mutation_changes_one_decision_and_its_dependents():
    space = parse_space(SMALL, "small.yaml")
    rng = np.random.default_rng(1)
    seen = set()
    for seed in range(300):
        before, mutant = space.sample(seed), space.mutate(space.sample(seed), rng)
        old, new = space.decisions(before), space.decisions(mutant)
        changed = [path for path in old if path in new and old[path] != new[path]]
        assert len(changed) == 1
        seen.add(changed[0])
        if changed[0] == "stage2.block1.type":
            assert all(path.startswith("stage2.block1.") for path in set(old) ^ set(new))
    assert seen >= {"stem.width", "stage1.depth", "stage2.width", "stage2.block1.type"}


def test_crossover_takes_every_decision_from_a_parent():
    space = parse_space(SMALL, "small.yaml")
    rng = np.random.default_rng(2)
    for seed in range(100):
        a, b = space.sample(seed), space.sample(seed + 500)
        parents = (space.decisions(a), space.decisions(b))
        child = space.decisions(space.crossover(a, b, rng))
        for path, value in child.items():
            inherited = [parent[path] for parent in parents if path in parent]
            assert value in inherited or not inherited


def test_a_space_of_one_has_no_neighbour():
    space = parse_space("name: one\nmodules: [plain]\nstages: [{depth: 1, width: 8}]", "one.yaml")
    assert space.size().count == 1
    assert space.domains() == {}
    with pytest.raises(NasError, match="no neighbour"):
        space.mutate(space.sample(0), np.random.default_rng(0))


def test_constraints_count_at_the_size_of_the_images():
    space = parse_space(SMALL + "constraints: {flops: {max: 1M}}\n", "small.yaml")
    small = space.with_input((1, 8, 8), 10)
    genotype = small.sample(0)
    assert genotype in small
    assert space.violations(genotype) or cost(expand(genotype)).flops <= 1e6
    impossible = parse_space(SMALL + "constraints: {flops: {max: 1k}}\n", "small.yaml")
    with pytest.raises(
        NasError, match=r"small: no network .* 0 of 10,000 .*\n.*flops at most 1,000: .* nearest has 644,256"
    ):
        impossible.sample(0)


def test_foreign_genotypes_are_refused_with_the_first_difference():
    space = load_space("plain_vs_residual")
    foreign = load_space("residual_vs_fractal").sample(3)
    assert foreign not in space
    with pytest.raises(NasError, match="plain_vs_residual"):
        space.decisions(foreign)


BAD = {
    "name: x\n": "bad.yaml:1: stages: needs 'stages'",
    SMALL.replace("plain:", "plane:"): "bad.yaml:4: modules: unknown module 'plane'\n  did you mean 'plain'?",
    SMALL.replace("convs:", "conv:"): "bad.yaml:5: modules.plain.conv: unknown field 'conv' of plain",
    SMALL.replace("[1, 2]}", "[1, 9]}", 1): "bad.yaml:5: modules.plain.convs: 9 is not an option of convs",
    SMALL.replace("depth: 1,", "depht: 1,"): "stages[1].depht: unknown key 'depht'\n  did you mean 'depth'?",
    SMALL.replace(
        "vary: block", "vary: blok"
    ): "bad.yaml:2: vary: unknown value 'blok'\n  did you mean 'block'?",
    SMALL.replace("width: 16}", "width: 0}"): "bad.yaml:10: stages[0].width",
    SMALL.replace("width: 16}", "width: 1000000000}"): "stages[0].width",
    SMALL.replace("width: 16}", "width: true}"): "stages[0].width",
    SMALL.replace(
        "width: 16}", "width: yes}"
    ): "bad.yaml:10: yes without quotes is true in YAML\n  write true, or",
    SMALL.replace(
        "16, 32]", "010, 020]"
    ): "bad.yaml:11: 010 without quotes is 8 in YAML\n  write 10 or 8, or",
    SMALL.replace("16, 32]", "1:30, 32]"): "bad.yaml:11: 1:30 without quotes is 90 in YAML\n  write 90, or",
    SMALL.replace("convs: [1, 2]", "norm: [off]"): "bad.yaml:5: off without quotes is false in YAML",
    SMALL.replace("convs: [1, 2]", "norm: []"): "bad.yaml:5: modules.plain.norm: is an empty list; give",
    SMALL.replace("depth: 1,", "depth: [],"): "bad.yaml:11: stages[1].depth: is an empty list; give",
    SMALL.replace("width: 16}", "width: 1e2}"): "bad.yaml:10: stages[0].width",
    SMALL
    + "constraints: {flops: {max: 1e30}}\n": "bad.yaml:13: constraints.flops.max: must be less than 2^63",
    SMALL.replace("by: cardinality", "by: cardinalty"): "'cardinalty' is not known here",
    SMALL.replace("4: 24", "8: 24"): "has no options for cardinality 4",
    SMALL.replace("4: 24", "4: 24, 8: 14"): "cardinality is never 8",
    SMALL.replace("depth: 1,", "depth: [1, 2], skips: {join: add},"): "a skip ends at block 3 or later",
    SMALL + "constraints: {flops: {at: 32x32}}\n": "constraints.flops: needs min or max",
    SMALL.replace("type: pool", "type: pol"): "bad.yaml:12: head.type: unknown head 'pol'",
    SMALL.replace("name: small", "name: ../x"): "bad.yaml:1: name",
    SMALL
    + "constraints: {flop: {max: 1M}}\n": "constraints.flop: unknown limit 'flop'\n  did you mean 'flops'?",
    SMALL + "constraints: {flops: {max: 1 M}}\n": "must be a number, as in 250k, 40M or 1.5G",
    SMALL + "constraints: {flops: {max: 1M, min: 2M}}\n": "min is above max",
    SMALL + "constraints: {flops: {mx: 1M}}\n": "unknown key 'mx'\n  did you mean 'max'?",
    SMALL + "name: twice\n": "bad.yaml:13: not valid YAML: the key 'name' appears twice",
    SMALL + "input: 32x32\n": "must be CHANNELSxHEIGHTxWIDTH",
    SMALL.replace("convs: [1, 2]", "width: 8"): "width belongs to the stage",
    "a: [" * 60: "nested deeper than 50",
    "a: &a [1]\nb: *a\n": "bad.yaml:2: not valid YAML: aliases are not allowed",
    "a: !!python/object/apply:os.system [ls]\n": "not valid YAML",
    "a: \x00\n": "not valid YAML",
    "? [1]\n: 2\n": "a key must be a word or a number",
    "- 1\n": "must be a mapping",
    "": "must be a mapping",
    "#" * (2 << 20): "larger than 65,536 bytes",
}


@pytest.mark.parametrize(("text", "expected"), BAD.items(), ids=range(len(BAD)))
def test_bad_files_name_line_key_and_way_out(text, expected):
    with pytest.raises(NasError) as caught:
        parse_space(text, "bad.yaml")
    assert expected in str(caught.value)


@pytest.mark.parametrize("written", ["1M", "1e6", "1.0e+6", "1E6", "1000000", "1_000_000", "1000k"])
def test_a_limit_in_any_notation_is_what_it_says(written):
    space = parse_space(f"{SMALL}constraints: {{flops: {{max: {written}}}}}\n", "small.yaml")
    assert space.spec.constraints["flops"].max == 1_000_000
    assert parse_space(space.to_yaml(), "again") == space


def test_words_that_look_like_values_are_words_in_quotes():
    space = parse_space(SMALL.replace("name: small", "name: 'off'\ndescription: '010'"), "small.yaml")
    assert (space.name, space.description) == ("off", "010")
    assert parse_space(space.to_yaml(), "again") == space


def test_unknown_spaces(tmp_path):
    with pytest.raises(NotFoundError, match="did you mean 'residual_vs_fractal'"):
        load_space("residual_vs_fractl")
    with pytest.raises(NotFoundError, match="cannot be read"):
        load_space(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NasError, match="not a text file"):
        load_space(tmp_path / "binary.yaml")


def test_a_limit_that_one_module_type_lacks_is_named_with_the_others():
    cell = "cell: {graph: {ops_on: edges, nodes: 2, ops: [none, conv3x3], join: add, output: add}}"
    text = f"name: x\nvary: network\nmodules:\n  plain: {{}}\n  {cell}\nstages: [{{depth: 1, width: 8}}]\n"
    with pytest.raises(NasError, match=r"flops at most 1: [\s\S]*edges at most 2: met by"):
        parse_space(f"{text}constraints: {{flops: {{max: 1}}, edges: {{max: 2}}}}\n", "x").sample(0)


def test_a_block_that_joins_the_stem_is_not_in_a_space():
    text = "name: x\nmodules: [plain]\nstages: [{depth: 3, width: 16, skips: {join: add}}]\n"
    space = parse_space(text, "x")
    data = space.sample(0).to_dict()
    data["nodes"][2] |= {"inputs": ["stage1.block2", "stem"], "join": "add"}
    assert Genotype.from_dict(data) not in space
