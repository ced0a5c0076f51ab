"""The space around a network: it holds the network, varies what was asked for, and keeps to the budget."""

import json
from pathlib import Path

import pytest

import nas
from nas.cli import run
from nas.errors import NasError
from nas.graph.cost import cost
from nas.searchers.warm_start import find_warm_starts
from nas.space.around import around
from nas.space.genotype import expand
from nas.space.load import parse_space
from nas.zoo import zoo_entry


def space_around(name, vary, share=0.5):
    entry = zoo_entry(name)
    genotype, images = entry.build(), (entry.input_shape, entry.num_classes)
    limit = round(share * cost(expand(genotype, *images)).flops)
    return genotype, parse_space(around(genotype, *images, name=name, vary=vary, max_flops=limit), name)


@pytest.mark.parametrize("name", ["resnet50", "resnet20", "preact_resnet110", "resnext50_32x4d", "vgg16_bn"])
def test_it_holds_the_network_at_its_greatest_depth_and_width(name):
    genotype, space = space_around(name, None)
    assert space.build(lambda _, options: options[-1]).digest == genotype.digest
    half = cost(expand(genotype, space.input_shape, space.num_classes)).flops / 2
    drawn = space.sample(0)
    assert cost(expand(drawn, space.input_shape, space.num_classes)).flops <= half
    assert drawn.stem == genotype.stem


def test_what_may_vary_is_what_was_asked_for():
    _, space = space_around("resnet50", ("depth",))
    assert {path.split(".")[-1] for path in space.domains()} == {"depth"}
    assert space.domains()["stage3.depth"] == (2, 3, 4, 6)
    _, space = space_around("resnet20", ("width",))
    assert space.domains()["stage2.width"] == (8, 16, 24, 32)
    _, space = space_around("resnext50_32x4d", ("cardinality",), 1.0)
    assert space.domains()["stage1.resnext.cardinality"] == (1, 2, 4, 8, 32)
    genotype, space = space_around("preact_resnet110", ("type",), 1.0)
    assert genotype in space
    assert set(space.domains()["stage1.type"]) == {"plain", "residual", "bottleneck", "resnext", "fractal"}
    norms = {node.module.norm for seed in range(5) for node in space.sample(seed).nodes}
    assert norms == {"pre_activation"}


def test_what_can_vary_of_depth_and_width_does_by_default():
    _, space = space_around("vgg16", None)
    assert space.spec.description == "Around vgg16: width may vary."
    _, space = space_around("resnet20", None)
    assert space.spec.description == "Around resnet20: depth, width may vary."


WITH_ODD_STAGES = ("alexnet", "vgg_c", "inception_v3", "squeezenet1_1", "fractalnet20", "shufflenet_v2_x1_0")
WITHOUT_STEM = ("mobilenet", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "mnasnet1_0")


@pytest.mark.parametrize(
    "name", [*WITH_ODD_STAGES, *WITHOUT_STEM, "resnet18", "densenet121", "convnext_tiny"]
)
def test_a_search_of_the_space_can_begin_with_the_network_itself(name):
    deeper = () if name in ("fractalnet20", "densenet121") else ("depth",)
    genotype, space = space_around(name, (*deeper, "width", "type"), 1.0)
    (start,) = find_warm_starts(space, [name])
    assert start.genotype.digest == genotype.digest
    assert not start.changes
    assert parse_space(space.to_yaml(), "again").build(lambda _, options: options[0]) in space


@pytest.mark.parametrize("name", ["convnext_tiny", "fcn32s"])
def test_other_types_bring_a_network_within_the_budget_where_numbers_do_not(name):
    _, space = space_around(name, ("type",), 0.25)
    (start,) = find_warm_starts(space, [name])
    assert start.genotype in space
    assert any("type" in change for change in start.changes)


def test_a_convolution_before_the_blocks_stays_one():
    _, space = space_around("mobilenet_v2", ("depth", "width", "type"), 1.0)
    assert {module.type_name for seed in range(5) for module in [space.sample(seed).nodes[0].module]} == {
        "activated_conv"
    }
    assert space.domains()["stage3.depth"] == (1, 2)


@pytest.mark.parametrize(
    ("name", "vary", "message"),
    [
        ("resnet20", ("widht",), "did you mean 'width'"),
        ("resnet20", ("width", "cardinality"), "cardinality can vary in no stage of it"),
        ("vgg16", ("depth", "type"), "depth can vary in no stage of it\n  --vary type"),
        ("fcn16s", ("width",), "no space holds exactly this network"),
        ("fcn8s", ("width",), "no space holds exactly this network"),
        ("googlenet", ("depth", "width"), "the settings of its blocks cannot be mixed"),
        ("resnet20", (), "flops at most 20,275,520: met by 0.0% of random draws, the nearest has 40,551,040"),
    ],
)
def test_what_has_no_space_is_refused(name, vary, message):
    with pytest.raises(NasError, match=message):
        space_around(name, vary)


@pytest.mark.slow
def test_the_command_writes_a_space_that_a_search_starts_from_the_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    half = ["--vary", "depth,width", "--flops", "0.5x"]
    assert run(["spaces", "--around", "resnet20", "--input", "1x8x8", *half]) == 0
    Path("mine.yaml").write_text(capsys.readouterr().out)
    space = nas.load_space("mine.yaml")
    own = cost(expand(zoo_entry("resnet20").build(), (1, 8, 8), 10)).flops
    assert space.spec.constraints["flops"].max == round(own / 2)
    search = ["search", "--space", "mine.yaml", "--seed-with", "resnet20", "--dry-run", "--json"]
    assert run(search) == 0
    plan = json.loads(capsys.readouterr().out)
    assert any("depth" in change or "width" in change for change in plan["seeds"][0]["changes"])
    assert plan["costs"]["flops"]["high"] <= own / 2
    Path("net.json").write_text(space.sample(1).to_json())
    assert run(["spaces", "--around", "net.json", "--vary", "width", "--flops", "30M", "--json"]) == 0
    assert "max: 30000000" in json.loads(capsys.readouterr().out)["yaml"]


@pytest.mark.parametrize("flops", ["half", "0x", "-1M", "2P"])
def test_a_limit_that_is_none_is_refused(flops, capsys):
    assert run(["spaces", "--around", "resnet20", f"--flops={flops}"]) == 2
    assert "write 0.5x, 40M or 2G" in capsys.readouterr().err
