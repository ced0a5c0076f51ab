"""Operations by name, for modules whose inside is searched. They keep the size of a feature map;
entries change it."""

from __future__ import annotations

import re
from functools import lru_cache

from nas.graph.graph import Graph, Shape, Value, trace
from nas.graph.ops import Add, AvgPool, Conv, MaxPool
from nas.modules.conv_blocks import ConvSpec, conv_unit, nested_conv_unit

IDENTITY, NONE = "identity", "none"
POOLS = {"avg3x3": AvgPool(3, 1, 1, counts_padding=False), "max3x3": MaxPool(3, 1, 1)}
CONVOLUTIONS = (
    *("conv1x1", "conv3x3", "conv5x5", "conv7x7"),
    *("dw3x3", "dw5x5", "sep3x3", "sep5x5", "dil3x3", "dil5x5"),
)
OPERATIONS = (*CONVOLUTIONS, *POOLS, IDENTITY)


def has_weights(name: str) -> bool:
    return name in CONVOLUTIONS


def operate(name: str, x: Value, width: int, norm: str) -> Value:
    """Apply an operation: conv, dw (depthwise), sep (depthwise, then 1x1) and dil (of dilation 2) with the
    layers that `norm` places around each convolution; avg and max pool; or nothing."""
    if name == IDENTITY:
        return x
    if name in POOLS:
        return POOLS[name](x)
    kind, kernel = re.findall(r"[a-z]+|\d", name)[:2]
    if kind == "conv":
        return nested_conv_unit(x, ConvSpec(width, int(kernel)), norm)
    if kind == "dil":
        return nested_conv_unit(x, ConvSpec(width, int(kernel), dilation=2), norm)
    x = nested_conv_unit(x, ConvSpec(x.channels, int(kernel), groups=x.channels), norm)
    return x if kind == "dw" else nested_conv_unit(x, ConvSpec(width, 1), norm)


def convolution_entry(x: Value, width: int, stride: int, norm: str) -> Value:
    """Change width and size by a 3x3 convolution."""
    return nested_conv_unit(x, ConvSpec(width, 3, stride), norm)


def residual_entry(x: Value, width: int, stride: int, norm: str) -> Value:
    """Change width and size by the residual block of NAS-Bench-201, whose shortcut averages before its 1x1
    convolution."""
    return x.graph.add(_residual(x.shape, width, stride, norm), [x])


@lru_cache(maxsize=4096)
def _residual(shape: Shape, width: int, stride: int, norm: str) -> Graph:
    def expand(x: Value) -> Value:
        branch = conv_unit(x, ConvSpec(width, 3, stride), norm)
        branch = conv_unit(branch, ConvSpec(width), norm, last=True).named("branch")
        shortcut = Conv(width, 1)(AvgPool(stride, stride, ceil=True)(x))
        return Add()(branch, shortcut.named("shortcut"))

    return trace("ResidualEntry", [shape], expand)


ENTRIES = {"conv": convolution_entry, "residual": residual_entry}
