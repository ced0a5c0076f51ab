"""Max pooling between blocks, with a 1x1 convolution where the width changes."""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import MaxPool
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import CHAIN_NORMS, ConvSpec, conv_unit


@dataclass(frozen=True)
class Pool(Module, name="max_pool"):
    """Max pooling. `edge` decides about windows that reach over the edge: drop leaves them out (VGG,
    AlexNet), ceil keeps them (GoogLeNet), pad enlarges the image instead (ResNet)."""

    kernel: int = choice(2, 3)
    edge: str = choice("drop", "ceil", "pad")
    norm: str = choice(*CHAIN_NORMS)

    def expand(self, x: Value) -> Value:
        padding = self.kernel // 2 if self.edge == "pad" else 0
        channels = x.channels
        x = MaxPool(self.kernel, self.stride, padding, self.edge == "ceil")(x)
        return x if channels == self.width else conv_unit(x, ConvSpec(self.width, 1), self.norm)
