"""ConvNeXt block: a depthwise convolution, then two 1x1, with one norm and one activation (Liu et al., 2022).

A stride or another width comes first, as a norm and a convolution of patches of the stride.
"""

from dataclasses import dataclass
from functools import lru_cache

from nas.graph.graph import Graph, Shape, Value, trace
from nas.graph.ops import Add, Conv, Gelu, LayerNorm, LayerScale
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import DROP_RATES, ending


def patches(x: Value, width: int, stride: int) -> Value:
    """Reduce a feature map by patches of the stride, each normalised; nothing where the shape stays."""
    if stride == 1 and width == x.channels:
        return x
    return x.graph.add(_patches(x.shape, width, stride), [x]).named("downsample")


@lru_cache(maxsize=4096)
def _patches(shape: Shape, width: int, stride: int) -> Graph:
    def expand(x: Value) -> Value:
        return Conv(width, stride, stride, bias=True, padding=0)(LayerNorm()(x))

    return trace("NormPatches", [shape], expand)


@dataclass(frozen=True)
class ConvNeXt(Module, name="convnext"):
    kernel: int = choice(7, 3, 5)
    expansion: int = choice(4, 2, 3)
    drop_branch: float = choice(*DROP_RATES)

    def expand(self, x: Value) -> Value:
        x = patches(x, self.width, self.stride)
        branch = Conv(self.width, self.kernel, groups=self.width, bias=True)(x)
        branch = Conv(self.expansion * self.width, 1, bias=True)(LayerNorm()(branch))
        branch = LayerScale()(Conv(self.width, 1, bias=True)(Gelu()(branch))).named("branch")
        return Add()(ending(branch, "none", self.drop_branch), x)
