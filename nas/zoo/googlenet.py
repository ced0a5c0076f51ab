"""GoogLeNet (Szegedy et al., 2015): the paper's form with true 5x5 convolutions and biases,
and torchvision's, whose "5x5" are 3x3, with batch norms of eps 1e-3."""

from functools import partial
from typing import Any

from nas.modules import AuxiliaryHead, ConvStem, Inception, Module, Plain, Pool, PoolHead
from nas.space.genotype import Auxiliary, Genotype
from nas.zoo.base import IMAGENET, Entry, chain

MODULES = {
    "stage3.a": (64, 96, 128, 16, 32, 32),
    "stage3.b": (128, 128, 192, 32, 96, 64),
    "stage4.a": (192, 96, 208, 16, 48, 64),
    "stage4.b": (160, 112, 224, 24, 64, 64),
    "stage4.c": (128, 128, 256, 24, 64, 64),
    "stage4.d": (112, 144, 288, 32, 64, 64),
    "stage4.e": (256, 160, 320, 32, 128, 128),
    "stage5.a": (256, 160, 320, 32, 128, 128),
    "stage5.b": (384, 192, 384, 48, 128, 128),
}
"""Channels of 1x1, 3x3 reduction, 3x3, 5x5 reduction, 5x5 and pooling projection."""


def inception(sizes: tuple[int, ...], **fields: Any) -> Inception:
    """Return the module with these channels, in the order of `MODULES`."""
    conv1, reduce3, conv3, reduce5, conv5, projection = sizes
    width = conv1 + conv3 + conv5 + projection
    return Inception(width, 1, conv1, reduce3, conv3, reduce5, conv5, **fields)


def googlenet(paper: bool = False, auxiliary: bool = False) -> Genotype:
    """Return the network of the paper, or as torchvision builds it, perhaps with its auxiliary heads."""
    unit: dict[str, Any] = {"norm": "none"} if paper else {"norm": "after_conv", "eps": 1e-3}
    last = Pool(832, 2, kernel=3, edge="ceil") if paper else Pool(832, 2, edge="ceil")
    modules: list[tuple[str, Module]] = [
        ("stage1.pool", Pool(64, 2, kernel=3, edge="ceil")),
        ("stage2.conv1", Plain(64, convs=1, kernel=1, **unit)),
        ("stage2.conv2", Plain(192, convs=1, **unit)),
        ("stage2.pool", Pool(192, 2, kernel=3, edge="ceil")),
    ]
    for name, sizes in MODULES.items():
        modules.append((name, inception(sizes, large=5 if paper else 3, **unit)))
        if name == "stage3.b":
            modules.append(("stage3.pool", Pool(480, 2, kernel=3, edge="ceil")))
        elif name == "stage4.e":
            modules.append(("stage4.pool", last))
    head = AuxiliaryHead(grid=0 if paper else 4, **unit)
    heads = (Auxiliary("stage4.a", head), Auxiliary("stage4.d", head)) if auxiliary else ()
    stem = ConvStem(64, 2, kernel=7, **unit)
    return chain(stem, modules, PoolHead(dropout=0.4 if paper else 0.2), auxiliary=heads)


ENTRIES = [
    Entry(
        "googlenet" + "_paper" * paper + "_aux" * auxiliary,
        partial(googlenet, paper, auxiliary),
        IMAGENET,
        1000,
        "Szegedy et al. (2015)"
        + ("" if paper else " as torchvision builds it")
        + (", with auxiliary heads" if auxiliary else ""),
    )
    for paper in (False, True)
    for auxiliary in (False, True)
]
