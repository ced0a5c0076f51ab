"""Inverted bottleneck: a depthwise convolution between a wider and a narrower 1x1 (Sandler et al., 2018).

No activation follows the last convolution. The shortcut joins the narrow ends, where they have one shape.
With `squeeze` n a channel gate follows the depthwise convolution, of 1/n of the input channels inside.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import Add
from nas.modules.activated_conv import ACTIVATIONS, activated
from nas.modules.base import Module, choice
from nas.modules.channel_gate import channel_gate
from nas.modules.conv_blocks import DROP_RATES, ending


@dataclass(frozen=True)
class InvertedBottleneck(Module, name="inverted_bottleneck"):
    expansion: int = choice(6, 4, 3, 2, 1)
    kernel: int = choice(3, 5, 7)
    activation: str = choice(*ACTIVATIONS)
    squeeze: int = choice(0, 4, 8, 16)
    drop_branch: float = choice(*DROP_RATES)

    def expand(self, x: Value) -> Value:
        inner, branch = self.expansion * x.channels, x
        if self.expansion > 1:
            branch = activated(branch, inner, 1, self.activation)
        branch = activated(branch, inner, self.kernel, self.activation, self.stride, groups=inner)
        if self.squeeze:
            branch = channel_gate(branch, max(1, x.channels // self.squeeze), self.activation)
        branch = activated(branch, self.width, 1, "").named("branch")
        if branch.shape != x.shape:
            return branch
        return Add()(ending(branch, "none", self.drop_branch), x)
