"""Inception module: 1x1, 3x3, 5x5 and pooling branches, concatenated (Szegedy et al., 2015)."""

from dataclasses import dataclass

from nas.errors import NasError
from nas.graph.graph import Value
from nas.graph.ops import Concat, MaxPool
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import CHAIN_NORMS, ConvSpec, conv_unit

WIDTHS = range(0, 1025)
"""Channels of a branch; 0 stands for the share that the branch has in module 3a of the paper."""


@dataclass(frozen=True)
class Inception(Module, name="inception"):
    """Inception module. The pooling branch gets the channels that the others leave of the width.

    `large` is the kernel of the "5x5" branch: torchvision has 3 there, and batch norms of eps 1e-3.
    """

    conv1: int = choice(WIDTHS)
    reduce3: int = choice(WIDTHS)
    conv3: int = choice(WIDTHS)
    reduce5: int = choice(WIDTHS)
    conv5: int = choice(WIDTHS)
    large: int = choice(5, 3)
    norm: str = choice(*CHAIN_NORMS)
    eps: float = choice(1e-5, 1e-3)

    def expand(self, x: Value) -> Value:
        w = self.width
        conv1, conv3, conv5 = self.conv1 or w // 4, self.conv3 or w // 2, self.conv5 or max(1, w // 8)
        reduce3, reduce5 = self.reduce3 or max(1, 3 * w // 8), self.reduce5 or max(1, w // 16)
        projection = w - conv1 - conv3 - conv5
        if conv1 < 1 or projection < 1:
            raise NasError(f"the branches leave {projection} channels of {w} for pooling", where="inception")
        one = self._conv(x, conv1, 1, self.stride).named("branch1")
        three = self._conv(self._conv(x, reduce3, 1), conv3, 3, self.stride).named("branch2")
        five = self._conv(self._conv(x, reduce5, 1), conv5, self.large, self.stride).named("branch3")
        pool = self._conv(MaxPool(3, self.stride, 1)(x), projection, 1).named("branch4")
        return Concat()(one, three, five, pool)

    def _conv(self, x: Value, width: int, kernel: int, stride: int = 1) -> Value:
        return conv_unit(x, ConvSpec(width, kernel, stride, eps=self.eps), self.norm)
