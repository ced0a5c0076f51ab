"""Counts of published networks, to the integer: He et al. (2015), Xie et al. (2017), and the
parameter counts of torchvision's models. FLOPs are multiply-adds of conv and linear."""

import pytest

from nas.graph.cost import cost
from nas.modules import Bottleneck, ConvStem, Plain, PoolHead, Residual, ResNeXt
from nas.space.genotype import Genotype, Node, expand


def network(stem, depths, module):
    """Stages of `depths` blocks; `module(stage, stride)` makes each block."""
    nodes, before = [], "stem"
    for stage, depth in enumerate(depths):
        for block in range(depth):
            name = f"stage{stage + 1}.block{block + 1}"
            nodes.append(Node(name, module(stage, 2 if stage and not block else 1), (before,)))
            before = name
    return Genotype(stem, tuple(nodes), PoolHead())


def cifar(module, n):
    return network(
        ConvStem(width=16), (n, n, n), lambda stage, stride: module(width=16 * 2**stage, stride=stride)
    )


def imagenet(module):
    stem = ConvStem(width=64, stride=2, kernel=7, pool=True)
    return network(stem, (3, 4, 6, 3), lambda stage, stride: module(width=256 * 2**stage, stride=stride))


def residual_a(**fields):
    return Residual(shortcut="A", **fields)


@pytest.mark.parametrize(
    ("genotype", "params", "flops"),
    [
        pytest.param(cifar(residual_a, 3), 269_722, 40_551_040, id="resnet-20-A"),
        pytest.param(cifar(residual_a, 9), 853_018, 125_485_696, id="resnet-56-A"),
        pytest.param(cifar(Plain, 3), 269_722, 40_551_040, id="plain-20"),
        pytest.param(cifar(Plain, 9), 853_018, 125_485_696, id="plain-56"),
        pytest.param(cifar(Residual, 9), 855_770, 125_747_840, id="resnet-56-B"),
    ],
)
def test_cifar(genotype, params, flops):
    figures = cost(expand(genotype))
    assert (figures.params, figures.flops) == (params, flops)


@pytest.mark.parametrize(
    ("module", "params", "flops"),
    [
        pytest.param(Bottleneck, 25_557_032, 4_089_184_256, id="resnet50"),
        pytest.param(ResNeXt, 25_028_904, 4_230_479_872, id="resnext50_32x4d"),
    ],
)
def test_imagenet(module, params, flops):
    figures = cost(expand(imagenet(module), (3, 224, 224), 1000))
    assert (figures.params, figures.flops) == (params, flops)


def test_stride_in_the_first_1x1_costs_what_the_paper_says():
    def module(**fields):
        return Bottleneck(stride_in="1x1", **fields)

    figures = cost(expand(imagenet(module), (3, 224, 224), 1000))
    assert figures.params == 25_557_032
    assert round(figures.flops / 1e9, 3) == 3.858
