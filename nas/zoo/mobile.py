"""Networks for mobile devices: MobileNet (Howard et al., 2017), MobileNetV2 (Sandler et al., 2018),
MnasNet-B1 (Tan et al., 2019), MobileNetV3 (Howard et al., 2019) and EfficientNet-B0 (Tan and Le, 2019)."""

from collections.abc import Iterable
from functools import partial

from nas.modules import (
    ActivatedConv,
    ConvStem,
    HiddenHead,
    InvertedBottleneck,
    InvertedV3,
    Module,
    PoolHead,
    Separable,
)
from nas.space.genotype import Genotype
from nas.zoo.base import IMAGENET, Entry, chain

SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""Width and stride of each module."""
V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, width, depth and stride of each stage (table 2 of the paper); all kernels are 3x3."""
MNASNET = (
    *((1, 16, 1, 1, 3), (3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5)),
    *((6, 96, 2, 1, 3), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
"""The same with the kernel."""
V3_SMALL = (
    *((16, 16, 3, 2, "relu", True), (72, 24, 3, 2, "relu", False), (88, 24, 3, 1, "relu", False)),
    *((96, 40, 5, 2, "hardswish", True), (240, 40, 5, 1, "hardswish", True)),
    *((240, 40, 5, 1, "hardswish", True), (120, 48, 5, 1, "hardswish", True)),
    *((144, 48, 5, 1, "hardswish", True), (288, 96, 5, 2, "hardswish", True)),
    *((576, 96, 5, 1, "hardswish", True),) * 2,
)
"""Inner width, width, kernel, stride, activation and gate of each block (table 2 of the paper)."""
V3_LARGE = (
    *((16, 16, 3, 1, "relu", False), (64, 24, 3, 2, "relu", False), (72, 24, 3, 1, "relu", False)),
    *((72, 40, 5, 2, "relu", True), *((120, 40, 5, 1, "relu", True),) * 2),
    *((240, 80, 3, 2, "hardswish", False), (200, 80, 3, 1, "hardswish", False)),
    *((184, 80, 3, 1, "hardswish", False),) * 2,
    *((480, 112, 3, 1, "hardswish", True), (672, 112, 3, 1, "hardswish", True)),
    *((672, 160, 5, 2, "hardswish", True), *((960, 160, 5, 1, "hardswish", True),) * 2),
)
"""The same of table 1."""
EFFICIENTNET = (
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
    *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)


def mobilenet() -> Genotype:
    """Return thirteen depthwise separable convolutions on a 3x3 stem."""
    modules = [(f"stage1.block{i}", Separable(*sizes)) for i, sizes in enumerate(SEPARABLE, start=1)]
    return chain(ConvStem(32, 2), modules, PoolHead())


def mobilenet_v2() -> Genotype:
    """Return seven stages of inverted bottlenecks between a 3x3 and a 1x1 convolution, with ReLU6."""
    return _inverted(((*stage, 3) for stage in V2), "relu6")


def mnasnet() -> Genotype:
    """Return seven stages with the kernels and expansions that a search found, with ReLU."""
    return _inverted(MNASNET, "relu")


def mobilenet_v3(blocks: Iterable[tuple[int, int, int, int, str, bool]], hidden: int) -> Genotype:
    """Return inverted bottlenecks, most of them with hardswish and gates, and a hidden layer in the head."""
    conv = partial(ActivatedConv, activation="hardswish", eps=1e-3)
    modules: list[tuple[str, Module]] = [("stage1.conv", conv(16, 2))]
    stage, block = 1, 0
    for inner, width, kernel, stride, activation, gate in blocks:
        stage, block = (stage + 1, 1) if stride > 1 else (stage, block + 1)
        own = InvertedV3(width, stride, inner, kernel, activation, gate)
        modules.append((f"stage{stage}.block{block}", own))
    modules.append((f"stage{stage}.conv", conv(6 * width, 1, kernel=1)))
    return chain(None, modules, HiddenHead(hidden=hidden))


def efficientnet_b0() -> Genotype:
    """Return seven stages of inverted bottlenecks with channel gates and SiLU, without stochastic depth."""
    return _inverted(EFFICIENTNET, "silu", squeeze=4)


def _inverted(stages: Iterable[tuple[int, ...]], activation: str, squeeze: int = 0) -> Genotype:
    modules: list[tuple[str, Module]] = [("stage1.conv", ActivatedConv(32, 2, activation=activation))]
    for i, (expansion, width, depth, first, kernel) in enumerate(stages, start=1):
        for block in range(1, depth + 1):
            stride = first if block == 1 else 1
            own = InvertedBottleneck(width, stride, expansion, kernel, activation, squeeze)
            modules.append((f"stage{i}.block{block}", own))
    modules.append(("stage7.conv", ActivatedConv(1280, 1, kernel=1, activation=activation)))
    return chain(None, modules, PoolHead(dropout=0.2))


ENTRIES = [
    Entry("mobilenet", mobilenet, IMAGENET, 1000, "Howard et al. (2017)"),
    Entry("mobilenet_v2", mobilenet_v2, IMAGENET, 1000, "Sandler et al. (2018)"),
    Entry("mnasnet1_0", mnasnet, IMAGENET, 1000, "Tan et al. (2019), B1"),
    *(
        Entry(f"mobilenet_v3_{size}", partial(mobilenet_v3, *form), IMAGENET, 1000, "Howard et al. (2019)")
        for size, form in (("small", (V3_SMALL, 1024)), ("large", (V3_LARGE, 1280)))
    ),
    Entry("efficientnet_b0", efficientnet_b0, IMAGENET, 1000, "Tan and Le (2019), no stochastic depth"),
]
