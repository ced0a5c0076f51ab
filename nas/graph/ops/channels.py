"""Primitives over the channels of a feature map: gates, halves, shuffles and scales."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from nas.errors import NasError
from nas.graph.graph import Shape, shape_text
from nas.graph.ops.base import Arg, Call, Op, check_sizes, feature_map

CHANNEL_CONV_SOURCE = '''\
class ChannelConv(nn.Conv1d):
    """A convolution along the channels of pooled feature maps (Wang et al., 2020)."""

    def __init__(self, kernel_size: int):
        super().__init__(1, 1, kernel_size, bias=False)
        self.reach = kernel_size // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.conv1d(x.squeeze(3).transpose(1, 2), self.weight, padding=self.reach)
        return x.transpose(1, 2).unsqueeze(3)
'''
LAYER_SCALE_SOURCE = '''\
class LayerScale(nn.Module):
    """One learned factor per channel, small at the start (Touvron et al., 2021)."""

    def __init__(self, chs: int, start: float = 1e-06):
        super().__init__()
        self.layer_scale = nn.Parameter(start * torch.ones(chs, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer_scale * x
'''


@dataclass(frozen=True)
class Scale(Op):
    """Product of a feature map with one weight per channel, of the shape (channels, 1, 1)."""

    label: ClassVar[str] = "scale"
    backward_keeps: ClassVar[str] = "input"

    def shape(self, *inputs: Shape) -> Shape:
        channels = feature_map(self, inputs[0])[0]
        if inputs[1] != (channels, 1, 1):
            raise NasError(f"needs {channels}x1x1 weights, got {shape_text(inputs[1])}", where=self.label)
        return inputs[0]

    def function(self, *inputs: Shape) -> Call:
        return Call("{0} * {1}")


@dataclass(frozen=True)
class ChannelConv(Op):
    """Convolution of `kernel` neighbouring channels of the shape (channels, 1, 1): the gate of ECA
    (Wang et al., 2020)."""

    kernel: int
    label: ClassVar[str] = "conv"
    sources: ClassVar[tuple[str, ...]] = (CHANNEL_CONV_SOURCE,)
    backward_keeps: ClassVar[str] = "input"

    def __post_init__(self) -> None:
        check_sizes(self, kernel=self.kernel)
        if self.kernel % 2 == 0:
            raise NasError(f"needs an odd kernel, not {self.kernel}", where=self.label)

    def shape(self, *inputs: Shape) -> Shape:
        if feature_map(self, inputs[0])[1:] != (1, 1):
            raise NasError(f"needs pooled feature maps, got {shape_text(inputs[0])}", where=self.label)
        return inputs[0]

    def params(self, *inputs: Shape) -> int:
        return self.kernel

    def flops(self, output: Shape, *inputs: Shape) -> int:
        return prod(output) * self.kernel

    def module(self, *inputs: Shape) -> Call:
        return Call("ChannelConv", (Arg("kernel_size", self.kernel),))


@dataclass(frozen=True)
class LayerScale(Op):
    """Learned factor per channel that starts at `start` (Touvron et al., 2021)."""

    start: float = 1e-6
    label: ClassVar[str] = "scale"
    sources: ClassVar[tuple[str, ...]] = (LAYER_SCALE_SOURCE,)
    backward_keeps: ClassVar[str] = "input"

    def params(self, *inputs: Shape) -> int:
        return feature_map(self, inputs[0])[0]

    def module(self, *inputs: Shape) -> Call:
        args = (Arg("chs", inputs[0][0]), Arg("start", self.start, 1e-6, keyword=True))
        return Call("LayerScale", args)


@dataclass(frozen=True)
class ChannelHalf(Op):
    """First or second half of the channels (Ma et al., 2018)."""

    second: bool = False
    label: ClassVar[str] = "half"
    torch_names: ClassVar[tuple[str, ...]] = (".chunk",)
    is_view: ClassVar[bool] = True

    def shape(self, *inputs: Shape) -> Shape:
        channels, *size = feature_map(self, inputs[0])
        if channels % 2:
            raise NasError(f"{channels} channels have no half", where=self.label)
        return (channels // 2, *size)

    def function(self, *inputs: Shape) -> Call:
        return Call(f"{{0}}.chunk(2, dim=1)[{int(self.second)}]")


@dataclass(frozen=True)
class ChannelShuffle(Op):
    """Channels of `groups` groups in turn: the first of each, the second of each (Zhang et al., 2018)."""

    groups: int = 2
    label: ClassVar[str] = "shuffle"
    torch_names: ClassVar[tuple[str, ...]] = (".unflatten", ".transpose", ".flatten")

    def __post_init__(self) -> None:
        check_sizes(self, groups=self.groups)

    def shape(self, *inputs: Shape) -> Shape:
        channels = feature_map(self, inputs[0])[0]
        if channels % self.groups:
            raise NasError(f"{channels} channels do not divide into {self.groups} groups", where=self.label)
        return inputs[0]

    def function(self, *inputs: Shape) -> Call:
        args = (Arg("groups", self.groups),)
        return Call("{0}.unflatten(1, ({groups}, -1)).transpose(1, 2).flatten(1, 2)", args)
