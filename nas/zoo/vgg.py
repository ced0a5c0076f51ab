"""VGG, configurations A, B, C, D and E, with and without batch norm (Simonyan and Zisserman, 2015)."""

from functools import partial

from nas.modules import ConvStem, MlpHead, Module, Plain, Pool
from nas.space.genotype import Genotype
from nas.zoo.base import IMAGENET, Entry, chain

WIDTHS = (64, 128, 256, 512, 512)
CONFIGURATIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg_c": (2, 2, 3, 3, 3),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""3x3 convolutions of each stage; in C the third is a 1x1."""


def vgg(name: str, norm: str = "none") -> Genotype:
    """Return the network of a configuration; `norm` is after_conv for the version with batch norm."""
    modules: list[tuple[str, Module]] = []
    for stage, (width, convs) in enumerate(zip(WIDTHS, CONFIGURATIONS[name], strict=True), start=1):
        small = 1 if name == "vgg_c" and convs == 3 else 0
        large = convs - small - (stage == 1)  # the stem is the first convolution
        if large:
            modules.append((f"stage{stage}.convs", Plain(width, convs=large, norm=norm, bias=True)))
        if small:
            modules.append((f"stage{stage}.conv1x1", Plain(width, convs=1, kernel=1, norm=norm, bias=True)))
        modules.append((f"stage{stage}.pool", Pool(width, 2)))
    return chain(ConvStem(WIDTHS[0], norm=norm, bias=True), modules, MlpHead(size=7))


ENTRIES = [
    Entry(
        name + suffix, partial(vgg, name, norm), IMAGENET, 1000, f"Simonyan and Zisserman (2015){with_norm}"
    )
    for name in CONFIGURATIONS
    for suffix, norm, with_norm in (("", "none", ""), ("_bn", "after_conv", ", with batch norm"))
]
