"""Networks for mobile devices: MobileNet (Howard et al., 2017), MobileNetV2 (Sandler et al., 2018) and
MnasNet-B1 (Tan et al., 2019)."""

from nas.modules import ActivatedConv, ConvStem, InvertedBottleneck, Module, PoolHead, Separable
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


def mobilenet() -> Genotype:
    """Return thirteen depthwise separable convolutions on a 3x3 stem."""
    modules = [(f"stage1.block{i}", Separable(*sizes)) for i, sizes in enumerate(SEPARABLE, start=1)]
    return chain(ConvStem(32, 2), modules, PoolHead())


def mobilenet_v2() -> Genotype:
    """Return seven stages of inverted bottlenecks between a 3x3 and a 1x1 convolution, with ReLU6."""
    return _inverted([(*stage, 3) for stage in V2], "relu6")


def mnasnet() -> Genotype:
    """Return seven stages with the kernels and expansions that a search found, with ReLU."""
    return _inverted(MNASNET, "relu")


def _inverted(stages: list[tuple[int, ...]] | tuple[tuple[int, ...], ...], activation: str) -> Genotype:
    modules: list[tuple[str, Module]] = [("stage1.conv", ActivatedConv(32, 2, activation=activation))]
    for i, (expansion, width, depth, stride, kernel) in enumerate(stages, start=1):
        for block in range(depth):
            own = InvertedBottleneck(width, 1 if block else stride, expansion, kernel, activation)
            modules.append((f"stage{i}.block{block + 1}", own))
    modules.append(("stage7.conv", ActivatedConv(1280, 1, kernel=1, activation=activation)))
    return chain(None, modules, PoolHead(dropout=0.2))


ENTRIES = [
    Entry("mobilenet", mobilenet, IMAGENET, 1000, "Howard et al. (2017)"),
    Entry("mobilenet_v2", mobilenet_v2, IMAGENET, 1000, "Sandler et al. (2018)"),
    Entry("mnasnet1_0", mnasnet, IMAGENET, 1000, "Tan et al. (2019), B1"),
]
