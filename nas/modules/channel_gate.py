"""Squeeze-and-excitation: each channel is scaled by a weight from 0 to 1 that depends on all channels' means
(Hu et al., 2018)."""

from __future__ import annotations

from functools import lru_cache

from nas.graph.graph import Graph, Shape, Value, trace
from nas.graph.ops import AdaptiveAvgPool, Conv, Scale, Sigmoid
from nas.modules.activated_conv import ACTIVATIONS


def channel_gate(x: Value, squeezed: int, activation: str) -> Value:
    """Scale the channels of a feature map, with `squeezed` channels between the two 1x1 convolutions."""
    return x.graph.add(_gate(x.shape, squeezed, activation), [x])


@lru_cache(maxsize=4096)
def _gate(shape: Shape, squeezed: int, activation: str) -> Graph:
    def expand(x: Value) -> Value:
        weights = Conv(squeezed, 1, bias=True)(AdaptiveAvgPool(1)(x))
        weights = Conv(x.channels, 1, bias=True)(ACTIVATIONS[activation](weights))
        return Scale()(x, Sigmoid()(weights).named("weights"))

    return trace("ChannelGate", [shape], expand)
