"""ResNeXt unit: a bottleneck whose 3x3 convolution is grouped (Xie et al., 2017).

The inner width is D * cardinality with D = floor(n * base_width / 64), where n is a
quarter of the output width: 32x4d is cardinality 32, base_width 4.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.modules.base import Module, choice
from nas.modules.channel_gate import GATES
from nas.modules.conv_blocks import DROP_RATES, RESIDUAL_NORMS, ConvSpec, residual_unit


@dataclass(frozen=True)
class ResNeXt(Module, name="resnext"):
    cardinality: int = choice(1, 2, 4, 8, 16, 32, 64, default=32)
    base_width: int = choice(range(1, 257), default=4)
    shortcut: str = choice("A", "B", "C", default="B")
    norm: str = choice(*RESIDUAL_NORMS)
    gate: str = choice(*GATES)
    drop_branch: float = choice(*DROP_RATES)

    def expand(self, x: Value) -> Value:
        inner = max(1, self.width * self.base_width // 256) * self.cardinality
        convs = [
            ConvSpec(inner, 1),
            ConvSpec(inner, 3, self.stride, self.cardinality),
            ConvSpec(self.width, 1),
        ]
        return residual_unit(x, convs, self.shortcut, self.norm, self.gate, self.drop_branch)
