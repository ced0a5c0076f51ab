"""Primitives that change the size of a feature map, or its number of channels, without weights."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from nas.errors import NasError
from nas.graph.graph import Shape
from nas.graph.ops.base import Arg, Call, Op, check_sizes, feature_map, slide

CROP_SOURCE = '''\
def crop(x: torch.Tensor, like: torch.Tensor, offset: int | None = None) -> torch.Tensor:
    """Cut feature maps to the size of others, in the middle unless an offset is given."""
    height, width = like.shape[2], like.shape[3]
    top = (x.shape[2] - height) // 2 if offset is None else offset
    left = (x.shape[3] - width) // 2 if offset is None else offset
    if min(top, left) < 0:
        raise ValueError("images of this size need a network that was made for them")
    return x[:, :, top : top + height, left : left + width]
'''


@dataclass(frozen=True)
class _Pool(Op):
    """Window of `kernel` pixels that moves by `stride`; with `ceil` the last one may reach over the edge."""

    kernel: int = 2
    stride: int = 2
    padding: int = 0
    ceil: bool = False
    backward_keeps: ClassVar[str] = "input"

    def __post_init__(self) -> None:
        check_sizes(self, kernel=self.kernel, stride=self.stride)

    def shape(self, *inputs: Shape) -> Shape:
        channels, *size = feature_map(self, inputs[0])
        window = (self.kernel, self.stride, self.padding, self.ceil)
        return (channels, *(slide(self, n, *window) for n in size))

    def module(self, *inputs: Shape) -> Call:
        args = (
            Arg("kernel_size", self.kernel),
            Arg("stride", self.stride, self.kernel, keyword=True),
            Arg("padding", self.padding, 0, keyword=True),
            Arg("ceil_mode", self.ceil, False, keyword=True),
        )
        return Call(self.torch_names[0], args)


@dataclass(frozen=True)
class MaxPool(_Pool):
    label: ClassVar[str] = "pool"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.MaxPool2d",)

    def backward_bytes(self, *inputs: Shape) -> int:
        return 8 * prod(self.shape(*inputs))  # where each maximum was


@dataclass(frozen=True)
class AvgPool(_Pool):
    """Average pool. counts_padding: whether the zeros around the image are part of the averages."""

    counts_padding: bool = True
    label: ClassVar[str] = "pool"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.AvgPool2d",)

    def module(self, *inputs: Shape) -> Call:
        call = super().module(*inputs)
        return Call(
            call.target, (*call.args, Arg("count_include_pad", self.counts_padding, True, keyword=True))
        )


@dataclass(frozen=True)
class GlobalPool(Op):
    """Mean over height and width, from a feature map to a vector."""

    label: ClassVar[str] = "pool"
    torch_names: ClassVar[tuple[str, ...]] = ("F.adaptive_avg_pool2d", ".flatten")

    def shape(self, *inputs: Shape) -> Shape:
        return (feature_map(self, inputs[0])[0],)

    def function(self, *inputs: Shape) -> Call:
        return Call("F.adaptive_avg_pool2d({0}, 1).flatten(1)")


@dataclass(frozen=True)
class AdaptiveAvgPool(Op):
    """Averages over a grid of `size` x `size` windows, whatever the size of the image."""

    size: int
    label: ClassVar[str] = "pool"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.AdaptiveAvgPool2d",)
    backward_keeps: ClassVar[str] = "input"

    def __post_init__(self) -> None:
        check_sizes(self, size=self.size)

    def shape(self, *inputs: Shape) -> Shape:
        return (feature_map(self, inputs[0])[0], self.size, self.size)

    def module(self, *inputs: Shape) -> Call:
        return Call("nn.AdaptiveAvgPool2d", (Arg("size", self.size),))


@dataclass(frozen=True)
class Flatten(Op):
    """Vector of all elements of a feature map."""

    label: ClassVar[str] = "flatten"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.Flatten", "torch.flatten")

    def shape(self, *inputs: Shape) -> Shape:
        return (prod(feature_map(self, inputs[0])),)

    def module(self, *inputs: Shape) -> Call:
        return Call("nn.Flatten")

    def function(self, *inputs: Shape) -> Call:
        return Call("torch.flatten({0}, 1)")


@dataclass(frozen=True)
class Subsample(Op):
    """Every `stride`-th pixel: the spatial half of ResNet's parameter-free shortcut A.

    It is printed as a pool over single pixels, because the gradient of a slice leaves the
    channels-last layout and slows down every layer that it reaches.
    """

    stride: int = 2
    label: ClassVar[str] = "subsample"
    torch_names: ClassVar[tuple[str, ...]] = ("F.avg_pool2d",)
    backward_keeps: ClassVar[str] = "input"

    def shape(self, *inputs: Shape) -> Shape:
        channels, *size = feature_map(self, inputs[0])
        return (channels, *(-(-n // self.stride) for n in size))

    def function(self, *inputs: Shape) -> Call:
        return Call("F.avg_pool2d({0}, 1, {stride})", (Arg("stride", self.stride),))


@dataclass(frozen=True)
class PadChannels(Op):
    """Zero channels appended to a feature map: the other half of shortcut A (He et al., 2015)."""

    extra: int
    label: ClassVar[str] = "pad"
    torch_names: ClassVar[tuple[str, ...]] = ("F.pad",)

    def __post_init__(self) -> None:
        check_sizes(self, extra=self.extra)

    def shape(self, *inputs: Shape) -> Shape:
        channels, *size = feature_map(self, inputs[0])
        return (channels + self.extra, *size)

    def function(self, *inputs: Shape) -> Call:
        return Call("F.pad({0}, (0, 0, 0, 0, 0, {extra_chs}))", (Arg("extra_chs", self.extra),))


@dataclass(frozen=True)
class Crop(Op):
    """Crop of the first input to the size of the second, at an offset, or in the middle if that is None."""

    offset: int | None = None
    label: ClassVar[str] = "crop"
    sources: ClassVar[tuple[str, ...]] = (CROP_SOURCE,)
    is_view: ClassVar[bool] = True

    def shape(self, *inputs: Shape) -> Shape:
        (channels, *size), (_, *wanted) = feature_map(self, inputs[0]), feature_map(self, inputs[1])
        for large, small in zip(size, wanted, strict=True):
            start = (large - small) // 2 if self.offset is None else self.offset
            if start < 0 or start + small > large:
                raise NasError(
                    f"{small} pixels at offset {start} do not lie within {large}", where=self.label
                )
        return (channels, *wanted)

    def function(self, *inputs: Shape) -> Call:
        return Call("crop({0}, {1})" if self.offset is None else f"crop({{0}}, {{1}}, {self.offset})")


@dataclass(frozen=True)
class Resize(Op):
    """Bilinear interpolation of the first input to the size of the second."""

    label: ClassVar[str] = "resize"
    torch_names: ClassVar[tuple[str, ...]] = ("F.interpolate", ".shape")

    def shape(self, *inputs: Shape) -> Shape:
        return (feature_map(self, inputs[0])[0], *feature_map(self, inputs[1])[1:])

    def function(self, *inputs: Shape) -> Call:
        return Call('F.interpolate({0}, {1}.shape[2:], mode="bilinear")')
