"""Dense block: each layer adds channels to those of all layers before it (Huang et al., 2017).

A layer is a 1x1 convolution to `bottleneck` times its `growth`, and a 3x3 one. A stride comes before the
layers, in a transition: a 1x1 convolution that halves the channels, and an average pool. Where the layers
do not end at the width of the stage, a 1x1 convolution follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nas.graph.graph import Graph, Shape, Value, trace
from nas.graph.ops import AvgPool, Concat
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import CHAIN_NORMS, ConvSpec, conv_unit


@dataclass(frozen=True)
class Dense(Module, name="dense"):
    layers: int = choice(range(1, 65), default=4)
    growth: int = choice(12, 8, 16, 24, 32, 48)
    bottleneck: int = choice(4, 2, 1)
    norm: str = choice(*CHAIN_NORMS, default="pre_activation")

    def expand(self, x: Value) -> Value:
        if self.stride > 1:
            x = conv_unit(x, ConvSpec(max(1, x.channels // 2), 1), self.norm)
            x = AvgPool(self.stride, self.stride)(x).named("transition")
        for _ in range(self.layers):
            layer = _layer(x.shape, self.growth, self.bottleneck, self.norm)
            x = Concat()(x, x.graph.add(layer, [x]))
        return x if x.channels == self.width else conv_unit(x, ConvSpec(self.width, 1), self.norm)


@lru_cache(maxsize=4096)
def _layer(shape: Shape, growth: int, bottleneck: int, norm: str) -> Graph:
    def expand(x: Value) -> Value:
        return conv_unit(conv_unit(x, ConvSpec(bottleneck * growth, 1), norm), ConvSpec(growth), norm)

    return trace("DenseLayer", [shape], expand)
