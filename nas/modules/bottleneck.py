"""Bottleneck residual unit: 1x1, 3x3, 1x1 (He et al., 2015).

The paper has the stride in the first 1x1 (`stride_in`); later code has it in the 3x3, for more FLOPs.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.modules.base import Module, choice
from nas.modules.channel_gate import GATES
from nas.modules.conv_blocks import DROP_RATES, RESIDUAL_NORMS, ConvSpec, residual_unit


@dataclass(frozen=True)
class Bottleneck(Module, name="bottleneck"):
    reduction: int = choice(4, 2, 1)
    stride_in: str = choice("3x3", "1x1")
    shortcut: str = choice("A", "B", "C", default="B")
    norm: str = choice(*RESIDUAL_NORMS)
    dilation: int = choice(1, 2, 4)
    gate: str = choice(*GATES)
    drop_branch: float = choice(*DROP_RATES)

    def expand(self, x: Value) -> Value:
        inner = max(1, self.width // self.reduction)
        first, second = (self.stride, 1) if self.stride_in == "1x1" else (1, self.stride)
        convs = [
            ConvSpec(inner, 1, first),
            ConvSpec(inner, 3, second, dilation=self.dilation),
            ConvSpec(self.width, 1),
        ]
        return residual_unit(x, convs, self.shortcut, self.norm, self.gate, self.drop_branch)
