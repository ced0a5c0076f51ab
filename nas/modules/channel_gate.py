"""Gates, which scale each channel by a weight from 0 to 1 that depends on the means of the channels.

Squeeze-and-excitation (SE) takes all means through two 1x1 convolutions (Hu et al., 2018), efficient channel
attention (ECA) those of a few neighbours through one small convolution (Wang et al., 2020).
"""

from __future__ import annotations

from functools import lru_cache
from math import log2

from nas.graph.graph import Graph, Shape, Value, trace
from nas.graph.ops import AdaptiveAvgPool, ChannelConv, Conv, Hardsigmoid, Scale, Sigmoid
from nas.modules.activated_conv import ACTIVATIONS

GATES = ("none", "se", "eca")
"""Gates at the end of a residual branch; SE has a sixteenth of the channels inside, as in the paper."""
REDUCTION = 16


def gated(x: Value, gate: str) -> Value:
    """Scale the channels of a feature map by one of `GATES`."""
    if gate == "se":
        return channel_gate(x, max(1, x.channels // REDUCTION), "relu")
    return x.graph.add(_efficient_gate(x.shape), [x]) if gate == "eca" else x


def channel_gate(x: Value, squeezed: int, activation: str, hard: bool = False) -> Value:
    """Scale the channels of a feature map by SE, with `squeezed` channels between the two convolutions.

    hard: whether a hard sigmoid gives the weights, as in MobileNetV3.
    """
    return x.graph.add(_gate(x.shape, squeezed, activation, hard), [x])


def eca_kernel(channels: int) -> int:
    """Return the kernel of ECA: log2(channels) / 2 + 1 / 2, cut to an integer and raised to an odd one."""
    return int(log2(channels) / 2 + 0.5) | 1


@lru_cache(maxsize=4096)
def _gate(shape: Shape, squeezed: int, activation: str, hard: bool) -> Graph:
    def expand(x: Value) -> Value:
        weights = Conv(squeezed, 1, bias=True)(AdaptiveAvgPool(1)(x))
        weights = Conv(x.channels, 1, bias=True)(ACTIVATIONS[activation](weights))
        return Scale()(x, (Hardsigmoid() if hard else Sigmoid())(weights).named("weights"))

    return trace("ChannelGate", [shape], expand)


@lru_cache(maxsize=4096)
def _efficient_gate(shape: Shape) -> Graph:
    def expand(x: Value) -> Value:
        weights = ChannelConv(eca_kernel(x.channels))(AdaptiveAvgPool(1)(x))
        return Scale()(x, Sigmoid()(weights).named("weights"))

    return trace("EfficientChannelGate", [shape], expand)
