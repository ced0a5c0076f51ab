"""Inception-v3 (Szegedy et al., 2016), as torchvision builds it, for images of 299 pixels."""

from functools import partial

from nas.modules import (
    ActivatedConv,
    AuxiliaryConvHead,
    ConvStem,
    FactorizedInception,
    Module,
    Pool,
    PoolHead,
    Reduction,
)
from nas.space.genotype import Auxiliary, Genotype
from nas.zoo.base import Entry, chain

INNER = (128, 160, 160, 192)
"""Channels between the lines of the modules of stage 4."""


def inception_v3(auxiliary: bool = False) -> Genotype:
    """Return the network, perhaps with its auxiliary head."""

    def conv(width: int, kernel: int, padding: int | None = 0) -> ActivatedConv:
        return ActivatedConv(width, kernel=kernel, activation="relu", eps=1e-3, padding=padding)

    modules: list[tuple[str, Module]] = [
        ("stage1.conv1", conv(32, 3)),
        ("stage1.conv2", conv(64, 3, None)),
        ("stage1.pool", Pool(64, 2, kernel=3)),
        ("stage2.conv1", conv(80, 1)),
        ("stage2.conv2", conv(192, 3)),
        ("stage2.pool", Pool(192, 2, kernel=3)),
        *((f"stage3.block{i + 1}", _module("3x3", width)) for i, width in enumerate((256, 288, 288))),
        ("stage4.reduction", Reduction(768, 2, "3x3", "drop")),
        *((f"stage4.block{i + 1}", _module("7x7", 768, inner)) for i, inner in enumerate(INNER)),
        ("stage5.reduction", Reduction(1280, 2, "7x7", "drop")),
        *((f"stage5.block{i + 1}", _module("wide", 2048)) for i in range(2)),
    ]
    heads = (Auxiliary("stage4.block4", AuxiliaryConvHead()),) if auxiliary else ()
    return chain(ConvStem(32, 2, padding=0, eps=1e-3), modules, PoolHead(dropout=0.5), auxiliary=heads)


def _module(form: str, width: int, inner: int = 0) -> FactorizedInception:
    return FactorizedInception(width, 1, form, inner, 288 if width == 256 else 0)


ENTRIES = [
    Entry(
        "inception_v3" + "_aux" * auxiliary,
        partial(inception_v3, auxiliary),
        (3, 299, 299),
        1000,
        "Szegedy et al. (2016) as torchvision builds it" + ", with its auxiliary head" * auxiliary,
    )
    for auxiliary in (False, True)
]
