"""Every published count, to the integer where the source gives one, else to its digits.

FLOPs are multiply-adds of convolutions and linear layers. Figures are torchvision's weight
metadata where there is any, else counts that reproduce each of torchvision's parameters.
"""

import time

import pytest
from testing.generated import load

from nas.errors import NotFoundError
from nas.graph.cost import cost
from nas.graph.ops import Conv, UpsampleScores
from nas.space.genotype import Genotype, expand
from nas.zoo import zoo, zoo_entry

EXACT = {
    "alexnet": (61_100_840, 714_188_480),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg11_bn": (132_868_840, 7_609_090_048),
    "vgg13_bn": (133_053_736, 11_308_466_176),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    "vgg19_bn": (143_678_248, 19_632_062_464),
    "googlenet": (6_624_904, 1_498_376_192),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "densenet121": (7_978_856, 2_834_161_664),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "efficientnet_b0": (5_288_548, 385_814_752),
    "mnasnet1_0": (4_383_312, 314_415_872),
    "mobilenet_v3_small": (2_542_856, 56_510_400),
    "mobilenet_v3_large": (5_483_032, 216_589_760),
    "squeezenet1_1": (1_235_496, 349_151_936),
    "shufflenet_v2_x1_0": (2_278_604, 144_907_992),
    "regnet_y_400mf": (4_344_144, 401_842_848),
    "convnext_tiny": (28_589_128, 4_455_531_264),
    "inception_v3": (23_834_568, 5_713_216_096),
    "plain20": (269_722, 40_551_040),
    "plain56": (853_018, 125_485_696),
    "resnet20": (269_722, 40_551_040),
    "resnet56": (853_018, 125_485_696),
    "resnet56_b": (855_770, 125_747_840),
}
ROUNDED = {  # parameters to the integer, FLOPs in billions to the digits of the source
    "vgg_c": (133_638_952, "11.771"),
    "googlenet_paper": (6_998_552, "1.583"),
    "plain18": (11_515_688, "1.795"),
    # the reference prints 3.645 for 34 layers; torchvision's 3,663,761,408 less the three
    # projections of option B (19,267,584) is 3,644,493,824, so its last digit is rounded up
    "plain34": (21_623_848, "3.644"),
    "resnet34_c": (22_716_840, "3.831"),
    "resnet101": (44_549_160, "7.801"),
    "resnet50_1x1": (25_557_032, "3.858"),
    "resnet101_1x1": (44_549_160, "7.570"),
    "resnet152_1x1": (60_192_808, "11.282"),
    "resnext101_32x8d": (88_791_336, "16.414"),
    "resnext101_32x4d": (44_177_704, "7.970"),
    "resnext101_64x4d": (83_455_272, "15.460"),
    "wide_resnet101_2": (126_886_696, "22.753"),
    "densenet169": (14_149_480, "3.360"),
    "densenet201": (20_013_928, "4.291"),
    "mobilenet": (4_231_976, "0.569"),  # the paper: 4.2 million, 569 million
    "resnet32": (464_154, "0.0689"),
    "resnet44": (658_586, "0.0972"),
    "resnet110": (1_727_962, "0.2529"),
    "preact_resnet110": (1_727_962, "0.2529"),
    "preact_resnet164": (1_703_258, "0.2445"),
    "resnext29_8x64d": (34_426_698, "5.387"),
    "resnext29_16x64d": (68_155_210, "10.689"),
    "fractalnet20": (33_724_618, "0.845"),
    "fractalnet40": (76_106_634, "2.036"),
}
AUXILIARY = {  # parameters in training, parameters without auxiliary heads
    "googlenet_aux": (13_004_888, 6_624_904),
    "inception_v3_aux": (27_161_264, 23_834_568),
    "googlenet_paper_aux": (13_378_280, 6_998_552),
    "fcn_resnet50_aux": (35_322_218, 32_957_013),
}
FCN = {"fcn32s": 134_346_581, "fcn16s": 134_357_354, "fcn8s": 134_362_751}
PARAMS = {"resnet20_b": 272_474, "resnet32_b": 466_906, "resnet44_b": 661_338, "resnet110_b": 1_730_714}
WITH_100_CLASSES = {"resnet20": 5_850, "resnet110": 5_850, "fractalnet20": 46_170, "resnext29_8x64d": 92_250}


def graph(name, **sizes):
    entry = zoo_entry(name)
    shape, classes = sizes.get("shape", entry.input_shape), sizes.get("classes", entry.num_classes)
    return expand(entry.build(), shape, classes)


@pytest.mark.parametrize(("name", "expected"), EXACT.items(), ids=EXACT)
def test_counts_to_the_integer(name, expected):
    figures = cost(graph(name))
    assert (figures.params, figures.flops) == expected


@pytest.mark.parametrize(("name", "expected"), ROUNDED.items(), ids=ROUNDED)
def test_counts_to_the_digits_given(name, expected):
    figures = cost(graph(name))
    params, flops = expected
    assert figures.params == params
    assert f"{figures.flops / 1e9:.{len(flops.partition('.')[2])}f}" == flops


@pytest.mark.parametrize(("name", "params"), PARAMS.items(), ids=PARAMS)
def test_parameters(name, params):
    assert cost(graph(name)).params == params


@pytest.mark.parametrize(("name", "more"), WITH_100_CLASSES.items(), ids=WITH_100_CLASSES)
def test_100_classes(name, more):
    assert cost(graph(name, classes=100)).params - cost(graph(name, classes=10)).params == more


@pytest.mark.parametrize(("name", "expected"), AUXILIARY.items(), ids=AUXILIARY)
def test_auxiliary_heads_count_apart(name, expected):
    entry = zoo_entry(name)
    training = expand(entry.build(), entry.input_shape, entry.num_classes, auxiliary=True)
    assert (cost(training).params, cost(graph(name)).params) == expected
    assert cost(graph(name)) == cost(graph(name.removesuffix("_aux")))


def test_fcn_resnet50_flops_are_torchvisions_with_the_auxiliary_head():
    entry = zoo_entry("fcn_resnet50_aux")
    training = expand(entry.build(), entry.input_shape, entry.num_classes, auxiliary=True)
    assert f"{cost(training).flops / 1e9:.3f}" == "152.717"


@pytest.mark.parametrize(("name", "params"), FCN.items(), ids=FCN)
def test_fcn_counts_leave_out_the_upsampling(name, params):
    upsampling = (p for p in graph(name).primitives if isinstance(p.op, UpsampleScores))
    assert cost(graph(name)).params - sum(p.op.params(*p.input_shapes) for p in upsampling) == params
    assert graph(name).output_shape == (21, 500, 500)


def test_the_lecture_counts_by_three_rules():
    """11.3 billion has the stride in the first 1x1, 15.3 leaves out the linear layers of
    VGG-16, and 19.6 takes in those of VGG-19."""

    def convolutions_only(name):
        convs = [p for p in graph(name).primitives if isinstance(p.op, Conv)]
        return sum(p.op.flops(p.shape, *p.input_shapes) for p in convs)

    assert f"{cost(graph('resnet152_1x1')).flops / 1e9:.1f}" == "11.3"
    assert f"{convolutions_only('vgg16') / 1e9:.3f}" == "15.347"
    assert f"{convolutions_only('vgg19') / 1e9:.3f}" == "19.508"
    assert f"{cost(graph('vgg19')).flops / 1e9:.1f}" == "19.6"


def test_depth_is_in_the_name():
    from nas.graph.cost import depth

    for name in ("vgg16", "vgg19", "plain34", "resnet18", "resnet50", "resnet110", "preact_resnet164"):
        assert depth(graph(name)) == int("".join(c for c in name if c.isdigit()))
    assert depth(graph("fractalnet20")) == 20 + 1  # the paper does not count the linear layer
    assert depth(graph("fractalnet160_narrow")) == 160 + 1


def test_every_entry_survives_json_and_has_code_that_runs():
    torch = pytest.importorskip("torch")
    for entry in zoo().values():
        genotype = entry.build()
        assert Genotype.from_json(genotype.to_json()) == genotype
    for name in ("plain20", "resnet20", "fractalnet20", "preact_resnet110", "resnext29_8x64d"):
        with torch.device("meta"):
            network = load(graph(name))(num_classes=7, in_chans=1)
            assert network(torch.empty(2, 1, 32, 32)).shape == (2, 7)
    for name in ("alexnet", "vgg_c_bn", "googlenet", "googlenet_paper", "resnet34", "resnext50_32x4d"):
        with torch.device("meta"):
            network = load(graph(name))()
            assert network(torch.empty(2, 3, 224, 224)).shape == (2, 1000)
            assert sum(p.numel() for p in network.parameters()) == cost(graph(name)).params


def test_counting_is_quick():
    start = time.perf_counter()
    for name in zoo():
        cost(graph(name))
    assert time.perf_counter() - start < 30


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(NotFoundError, match="did you mean 'googlenet'"):
        zoo_entry("gogglenet")
