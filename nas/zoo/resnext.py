"""ResNeXt (Xie et al., 2017): 32x4d is cardinality 32 and base width 4."""

from functools import partial

from nas.modules import ConvStem, PoolHead, ResNeXt
from nas.space.genotype import Genotype
from nas.zoo.base import CIFAR, IMAGENET, Entry, chain, stages
from nas.zoo.resnet import imagenet

FORMS = ((50, 32, 4), (101, 32, 4), (101, 32, 8), (101, 64, 4))


def resnext29(cardinality: int, base_width: int) -> Genotype:
    """Return three stages of three blocks, 256 to 1024 channels, for CIFAR."""

    def make(stage: int, stride: int) -> ResNeXt:
        return ResNeXt(256 * 2**stage, stride, cardinality, base_width)

    return chain(ConvStem(64), stages((3, 3, 3), make), PoolHead())


ENTRIES = [
    *(
        Entry(
            f"resnext{depth}_{cardinality}x{width}d",
            partial(imagenet, depth, ResNeXt, cardinality=cardinality, base_width=width),
            IMAGENET,
            1000,
            "Xie et al. (2017)",
        )
        for depth, cardinality, width in FORMS
    ),
    *(
        Entry(f"resnext29_{c}x64d", partial(resnext29, c, 64), CIFAR, 10, "Xie et al. (2017)")
        for c in (8, 16)
    ),
]
