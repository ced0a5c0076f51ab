"""Depthwise separable convolution: one filter per channel, then a 1x1 convolution (Howard et al., 2017)."""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.modules.activated_conv import ACTIVATIONS, activated
from nas.modules.base import Module, choice


@dataclass(frozen=True)
class Separable(Module, name="separable"):
    kernel: int = choice(3, 5, 7)
    activation: str = choice(*ACTIVATIONS, default="relu")

    def expand(self, x: Value) -> Value:
        x = activated(x, x.channels, self.kernel, self.activation, self.stride, groups=x.channels)
        return activated(x, self.width, 1, self.activation)
