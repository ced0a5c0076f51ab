"""Basic residual unit: two 3x3 convolutions and a shortcut (He et al., 2015, 2016)."""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.modules.base import Module, choice
from nas.modules.channel_gate import GATES
from nas.modules.conv_blocks import DROP_RATES, RESIDUAL_NORMS, ConvSpec, residual_unit


@dataclass(frozen=True)
class Residual(Module, name="residual"):
    shortcut: str = choice("A", "B", "C", default="B")
    norm: str = choice(*RESIDUAL_NORMS)
    gate: str = choice(*GATES)
    drop_branch: float = choice(*DROP_RATES)

    def expand(self, x: Value) -> Value:
        convs = [ConvSpec(self.width, 3, self.stride), ConvSpec(self.width, 3)]
        return residual_unit(x, convs, self.shortcut, self.norm, self.gate, self.drop_branch)
