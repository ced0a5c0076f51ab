"""RegNet block: a bottleneck of one width, whose 3x3 has groups of a fixed width (Radosavovic et al., 2020).

With `squeeze` n, as in RegNetY, a gate follows the 3x3, of 1/n of the input channels inside.
"""

from dataclasses import dataclass

from nas.errors import NasError
from nas.graph.graph import Value
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import DROP_RATES, RESIDUAL_NORMS, ConvSpec, residual_unit


@dataclass(frozen=True)
class RegNet(Module, name="regnet"):
    group_width: int = choice(8, 4, 16, 32)
    squeeze: int = choice(4, 0, 8, 16)
    shortcut: str = choice("A", "B", "C", default="B")
    norm: str = choice(*RESIDUAL_NORMS)
    drop_branch: float = choice(*DROP_RATES)

    def expand(self, x: Value) -> Value:
        if self.width % self.group_width:
            raise NasError(f"{self.width} channels have no groups of {self.group_width}", where="regnet")
        squeezed = max(1, round(x.channels / self.squeeze)) if self.squeeze else 0
        convs = [
            ConvSpec(self.width, 1),
            ConvSpec(self.width, 3, self.stride, self.width // self.group_width, squeezed=squeezed),
            ConvSpec(self.width, 1),
        ]
        return residual_unit(x, convs, self.shortcut, self.norm, drop_branch=self.drop_branch)
