"""AlexNet in the one-column form of Krizhevsky (2014), with torchvision's widths."""

from nas.modules import ConvStem, MlpHead, Plain, Pool
from nas.space.genotype import Genotype
from nas.zoo.base import IMAGENET, Entry, chain


def alexnet() -> Genotype:
    """Return AlexNet: five convolutions and three linear layers, without batch norm."""

    def conv(width: int, kernel: int = 3) -> Plain:
        return Plain(width, convs=1, kernel=kernel, norm="none")

    modules = [
        ("stage1.pool", Pool(64, 2, kernel=3)),
        ("stage2.conv", conv(192, 5)),
        ("stage2.pool", Pool(192, 2, kernel=3)),
        ("stage3.conv1", conv(384)),
        ("stage3.conv2", conv(256)),
        ("stage3.conv3", conv(256)),
        ("stage3.pool", Pool(256, 2, kernel=3)),
    ]
    stem = ConvStem(64, 4, kernel=11, padding=2, norm="none")
    return chain(stem, modules, MlpHead(size=6, dropout_first=True))


ENTRIES = [Entry("alexnet", alexnet, IMAGENET, 1000, "Krizhevsky et al. (2012, 2014)")]
