"""ShuffleNetV2 (Ma et al., 2018), RegNetY (Radosavovic et al., 2020) and ConvNeXt (Liu et al., 2022)."""

from nas.modules import (
    ActivatedConv,
    ConvNeXt,
    ConvStem,
    Module,
    NormPoolHead,
    PatchStem,
    PoolHead,
    RegNet,
    Shuffle,
)
from nas.space.genotype import Genotype
from nas.zoo.base import IMAGENET, Entry, chain, stages

REGNET_WIDTHS = (48, 104, 208, 440)


def shufflenet_v2() -> Genotype:
    """Return three stages of units that shuffle their channels, with 116 to 464 of them."""
    modules: list[tuple[str, Module]] = list(
        stages((4, 8, 4), lambda stage, stride: Shuffle(116 * 2**stage, stride), first_stride=2)
    )
    modules.append(("stage3.conv", ActivatedConv(1024, 1, kernel=1, activation="relu")))
    return chain(ConvStem(24, 2, pool=True), modules, PoolHead())


def regnet_y_400mf() -> Genotype:
    """Return four stages of bottlenecks with groups of 8 channels and gates, as torchvision builds it."""
    blocks = stages((1, 3, 6, 6), lambda stage, stride: RegNet(REGNET_WIDTHS[stage], stride), first_stride=2)
    return chain(ConvStem(32, 2), blocks, PoolHead())


def convnext_tiny() -> Genotype:
    """Return four stages of ConvNeXt blocks on patches of 4x4 pixels, without stochastic depth."""
    blocks = stages((3, 3, 9, 3), lambda stage, stride: ConvNeXt(96 * 2**stage, stride))
    return chain(PatchStem(96), blocks, NormPoolHead())


ENTRIES = [
    Entry("shufflenet_v2_x1_0", shufflenet_v2, IMAGENET, 1000, "Ma et al. (2018)"),
    Entry(
        "regnet_y_400mf",
        regnet_y_400mf,
        IMAGENET,
        1000,
        "Radosavovic et al. (2020)",
    ),
    Entry("convnext_tiny", convnext_tiny, IMAGENET, 1000, "Liu et al. (2022), no stochastic depth"),
]
