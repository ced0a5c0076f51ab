"""Convolution, batch norm and an activation: the unit of which mobile networks are made.

Blocks of such networks begin and end without an activation, so stem and last convolution are modules too.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import BatchNorm, Conv, Relu, Relu6, Silu
from nas.modules.base import Module, choice

ACTIVATIONS = {"relu6": Relu6(), "relu": Relu(), "silu": Silu()}


def activated(x: Value, width: int, kernel: int, activation: str, stride: int = 1, groups: int = 1) -> Value:
    """Apply a convolution, a batch norm and an activation; "" leaves that out."""
    x = BatchNorm()(Conv(width, kernel, stride, groups)(x))
    return ACTIVATIONS[activation](x) if activation else x


@dataclass(frozen=True)
class ActivatedConv(Module, name="activated_conv"):
    kernel: int = choice(3, 1, 5)
    activation: str = choice(*ACTIVATIONS)

    def expand(self, x: Value) -> Value:
        return activated(x, self.width, self.kernel, self.activation, self.stride)
