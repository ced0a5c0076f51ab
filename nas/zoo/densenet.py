"""DenseNets with bottlenecks and compression (Huang et al., 2017)."""

from functools import partial

from nas.modules import ConvStem, Dense, PoolHead
from nas.space.genotype import Genotype
from nas.zoo.base import IMAGENET, Entry, chain

DEPTHS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}


def densenet(depth: int, growth: int = 32) -> Genotype:
    """Return four dense blocks on a 7x7 stem with pooling; all but the first begin with a transition."""
    width, modules = 64, []
    for i, layers in enumerate(DEPTHS[depth]):
        width = (width // 2 if i else width) + layers * growth
        modules.append((f"stage{i + 1}.block1", Dense(width, 2 if i else 1, layers, growth)))
    return chain(ConvStem(64, 2, kernel=7, pool=True), modules, PoolHead(norm="pre_activation"))


ENTRIES = [
    Entry(f"densenet{depth}", partial(densenet, depth), IMAGENET, 1000, "Huang et al. (2017)")
    for depth in DEPTHS
]
