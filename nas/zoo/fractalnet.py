"""FractalNet (Larsson et al., 2017): five blocks, each followed by a 2x2 pool, dropout from 0
to 0.4 by block, local and global drop-path half and half."""

from functools import partial

from nas.modules import Fractal, Module, Pool, PoolHead
from nas.space.genotype import Genotype
from nas.zoo.base import CIFAR, Entry, chain

WIDTHS = (64, 128, 256, 512, 512)
NARROW = (16, 32, 64, 128, 128)
"""Widths of the family with up to 160 layers."""


def fractalnet(columns: int, widths: tuple[int, ...] = WIDTHS) -> Genotype:
    """Return FractalNet with this number of columns, and one block per width."""
    modules: list[tuple[str, Module]] = []
    for block, width in enumerate(widths):
        module = Fractal(width, columns=columns, drop_path="mixed", dropout=block / 10)
        modules += [(f"stage{block + 1}.block1", module), (f"stage{block + 1}.pool", Pool(width, 2))]
    return chain(None, modules, PoolHead())


ENTRIES = [
    Entry("fractalnet20", partial(fractalnet, 3), CIFAR, 10, "Larsson et al. (2017), 3 columns"),
    Entry("fractalnet40", partial(fractalnet, 4), CIFAR, 10, "Larsson et al. (2017), 4 columns"),
    *(
        Entry(
            f"fractalnet{5 * 2 ** (columns - 1)}_narrow",
            partial(fractalnet, columns, NARROW),
            CIFAR,
            100,
            f"Larsson et al. (2017), 16 channels wide, {columns} columns",
        )
        for columns in range(1, 7)
    ),
]
