"""Attention block: attention of each pixel to all, then two 1x1 convolutions (Dosovitskiy et al., 2021).

It is the encoder block of the vision transformer on a feature map, whose pixels are the tokens, without an
embedding of their positions. A stride or another width comes first, as in ConvNeXt.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import Add, Conv, Gelu, LayerNorm, SelfAttention
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import DROP_RATES, ending
from nas.modules.convnext import patches


@dataclass(frozen=True)
class Attention(Module, name="attention"):
    heads: int = choice(4, 1, 2, 8)
    expansion: int = choice(4, 2, 1)
    drop_branch: float = choice(*DROP_RATES)

    def expand(self, x: Value) -> Value:
        x = patches(x, self.width, self.stride)
        stacked = Conv(3 * self.width, 1, bias=True)(LayerNorm()(x))
        mixed = Conv(self.width, 1, bias=True)(SelfAttention(self.heads)(stacked)).named("mixed")
        x = Add()(ending(mixed, "none", self.drop_branch), x)
        inner = Conv(self.expansion * self.width, 1, bias=True)(LayerNorm()(x))
        branch = Conv(self.width, 1, bias=True)(Gelu()(inner)).named("branch")
        return Add()(ending(branch, "none", self.drop_branch), x)
