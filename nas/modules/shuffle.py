"""ShuffleNetV2 unit: half of the channels pass, half are convolved, and all are shuffled (Ma et al., 2018).

Where the shape changes both halves are made from all channels, the first by a depthwise convolution.
"""

from dataclasses import dataclass

from nas.errors import NasError
from nas.graph.graph import Value
from nas.graph.ops import ChannelHalf, ChannelShuffle, Concat
from nas.modules.activated_conv import ACTIVATIONS, activated
from nas.modules.base import Module, choice


@dataclass(frozen=True)
class Shuffle(Module, name="shuffle"):
    kernel: int = choice(3, 5, 7)
    activation: str = choice(*ACTIVATIONS, default="relu")

    def expand(self, x: Value) -> Value:
        if self.width % 2:
            raise NasError(f"{self.width} channels have no half for each branch", where="shuffle")
        half = self.width // 2
        if self.stride == 1 and x.channels == self.width:
            kept, x = ChannelHalf()(x).named("kept"), ChannelHalf(second=True)(x)
        else:
            kept = activated(x, x.channels, self.kernel, "", self.stride, groups=x.channels)
            kept = activated(kept, half, 1, self.activation).named("kept")
        branch = activated(x, half, 1, self.activation)
        branch = activated(branch, half, self.kernel, "", self.stride, groups=half)
        branch = activated(branch, half, 1, self.activation).named("branch")
        return ChannelShuffle(2)(Concat()(kept, branch))
