"""SqueezeNet 1.1 (Iandola et al., 2016, and their code of 2017 for the form 1.1)."""

from nas.modules import ConvPoolHead, ConvStem, Fire, Module, Pool
from nas.space.genotype import Genotype
from nas.zoo.base import IMAGENET, Entry, chain

STAGES = ((128, 128), (256, 256), (384, 384, 512, 512))
"""Width of each fire module, by stage."""


def squeezenet() -> Genotype:
    """Return eight fire modules on a 3x3 stem, with a pool before each stage, and scores by convolution."""
    width = 64
    modules: list[tuple[str, Module]] = []
    for stage, widths in enumerate(STAGES, start=1):
        modules.append((f"stage{stage}.pool", Pool(width, 2, kernel=3, edge="ceil")))
        for block, width in enumerate(widths, start=1):
            modules.append((f"stage{stage}.block{block}", Fire(width)))
    return chain(ConvStem(64, 2, padding=0, norm="none"), modules, ConvPoolHead())


ENTRIES = [Entry("squeezenet1_1", squeezenet, IMAGENET, 1000, "Iandola et al. (2016), version 1.1")]
