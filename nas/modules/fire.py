"""Fire module: a narrow 1x1 convolution, then a 1x1 and a 3x3 side by side (Iandola et al., 2016)."""

from dataclasses import dataclass

from nas.errors import NasError
from nas.graph.graph import Value
from nas.graph.ops import Concat
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import CHAIN_NORMS, ConvSpec, conv_unit


@dataclass(frozen=True)
class Fire(Module, name="fire"):
    """Fire module. `squeeze` n leaves 1/n of the channels of the output between the two parts."""

    squeeze: int = choice(8, 4, 2, 16)
    norm: str = choice(*CHAIN_NORMS, default="none")

    def expand(self, x: Value) -> Value:
        if self.width % 2:
            raise NasError(f"{self.width} channels have no half for each branch", where="fire")
        x = conv_unit(x, ConvSpec(max(1, self.width // self.squeeze), 1), self.norm).named("squeezed")
        one = conv_unit(x, ConvSpec(self.width // 2, 1, self.stride), self.norm).named("branch1")
        three = conv_unit(x, ConvSpec(self.width // 2, 3, self.stride), self.norm).named("branch3")
        return Concat()(one, three)
