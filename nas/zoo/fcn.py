"""Fully convolutional networks for segmentation (Long et al., 2015), 21 classes of PASCAL VOC,
on VGG-16 as in the paper, and torchvision's on a dilated ResNet-50."""

from functools import partial

from nas.modules import Bottleneck, ConvStem, FcnHead, MapHead, Module, Plain, Pool
from nas.space.genotype import Auxiliary, Genotype
from nas.zoo.base import Entry, chain, stages
from nas.zoo.resnet import DEPTHS
from nas.zoo.vgg import CONFIGURATIONS, WIDTHS

CLASSES = 21
VOC = (3, 500, 500)
DILATIONS = (1, 1, 2, 4)
"""Dilation by stage of the ResNet. The last two stages keep their size and are dilated instead."""


def fcn_vgg16(skips: int) -> Genotype:
    """Return FCN-32s, -16s or -8s with 0, 1 or 2 skips. Pools reach over the edges and the image is padded
    by 100, so that cropping at the paper's offsets gives the size of the image."""
    modules: list[tuple[str, Module]] = []
    for stage, (width, convs) in enumerate(zip(WIDTHS, CONFIGURATIONS["vgg16"], strict=True), start=1):
        modules.append((f"stage{stage}.convs", Plain(width, convs=convs - (stage == 1), norm="none")))
        modules.append((f"stage{stage}.pool", Pool(width, 2, edge="ceil")))
    head = FcnHead(skips=skips, geometry="paper")
    taps = ("stage4.pool", "stage3.pool")[:skips]
    return chain(ConvStem(WIDTHS[0], padding=100, norm="none"), modules, head, taps)


def fcn_resnet50(auxiliary: bool = False) -> Genotype:
    """Return torchvision's network, perhaps with its auxiliary head at the third stage."""

    def block(stage: int, stride: int) -> Module:
        stride = stride if stage < 2 else 1
        return Bottleneck(256 * 2**stage, stride, dilation=DILATIONS[stage])

    modules = stages(DEPTHS[50], block)
    for stage in (2, 3):  # the first block of a stage still has the dilation of the stage before
        index = next(i for i, (name, _) in enumerate(modules) if name == f"stage{stage + 1}.block1")
        first = Bottleneck(256 * 2**stage, 1, dilation=DILATIONS[stage - 1])
        modules[index] = (modules[index][0], first)
    heads = (Auxiliary("stage3.block6", MapHead(), 0.5),) if auxiliary else ()
    stem = ConvStem(64, 2, kernel=7, pool=True)
    return chain(stem, modules, MapHead(), auxiliary=heads)


ENTRIES = [
    *(
        Entry(
            f"fcn{32 // 2**skips}s", partial(fcn_vgg16, skips), VOC, CLASSES, "Long et al. (2015), on VGG-16"
        )
        for skips in (0, 1, 2)
    ),
    Entry("fcn_resnet50", fcn_resnet50, (3, 520, 520), CLASSES, "as torchvision builds it"),
    Entry(
        "fcn_resnet50_aux",
        partial(fcn_resnet50, auxiliary=True),
        (3, 520, 520),
        CLASSES,
        "as torchvision trains it, with an auxiliary head",
    ),
]
