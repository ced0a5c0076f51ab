"""Inverted bottleneck of MobileNetV3: any inner width, and a gate with a hard sigmoid (Howard et al., 2019).

The gate has a quarter of the inner channels inside, to the next multiple of 8. Where the inner width is that
of the input, no 1x1 convolution comes first.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import Add
from nas.modules.activated_conv import activated
from nas.modules.base import Module, choice
from nas.modules.channel_gate import channel_gate
from nas.modules.conv_blocks import DROP_RATES, ending

INNER = range(0, 2049)
"""Inner channels; 0 stands for four times those of the input."""


def divisible(channels: int, by: int = 8) -> int:
    """Return the multiple nearest to a number of channels, but none below nine tenths of it."""
    nearest = max(by, (channels + by // 2) // by * by)
    return nearest + by if nearest < 0.9 * channels else nearest


@dataclass(frozen=True)
class InvertedV3(Module, name="inverted_bottleneck_v3"):
    inner: int = choice(INNER)
    kernel: int = choice(3, 5, 7)
    activation: str = choice("hardswish", "relu")
    gate: bool = choice(False, True)
    eps: float = choice(1e-3, 1e-5)
    drop_branch: float = choice(*DROP_RATES)

    def expand(self, x: Value) -> Value:
        inner, branch = self.inner or 4 * x.channels, x
        if inner != x.channels:
            branch = activated(x, inner, 1, self.activation, eps=self.eps)
        branch = activated(branch, inner, self.kernel, self.activation, self.stride, inner, self.eps)
        if self.gate:
            branch = channel_gate(branch, divisible(inner // 4), "relu", hard=True)
        branch = activated(branch, self.width, 1, "", eps=self.eps).named("branch")
        if branch.shape != x.shape:
            return branch
        return Add()(ending(branch, "none", self.drop_branch), x)
