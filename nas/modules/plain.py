"""Plain convolutions, as in VGG and the plain nets of He et al. (2015)."""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import CHAIN_NORMS, ConvSpec, conv_unit


@dataclass(frozen=True)
class Plain(Module, name="plain"):
    convs: int = choice(1, 2, 3, 4, default=2)
    kernel: int = choice(3, 1, 5, 7)
    norm: str = choice(*CHAIN_NORMS)
    bias: bool = choice(False, True)
    eps: float = choice(1e-5, 1e-3)

    def expand(self, x: Value) -> Value:
        for i in range(self.convs):
            stride = self.stride if i == 0 else 1
            spec = ConvSpec(self.width, self.kernel, stride, bias=self.bias, eps=self.eps)
            x = conv_unit(x, spec, self.norm)
        return x
