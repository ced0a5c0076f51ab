"""Convolution, batch norm and an activation: the unit of which mobile networks are made.

Blocks of such networks begin and end without an activation, so stem and last convolution are modules too.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import BatchNorm, Conv, Hardswish, Relu, Relu6, Silu
from nas.modules.base import Module, choice

ACTIVATIONS = {"relu6": Relu6(), "relu": Relu(), "silu": Silu(), "hardswish": Hardswish()}


def activated(
    x: Value,
    width: int,
    kernel: int,
    activation: str,
    stride: int = 1,
    groups: int = 1,
    eps: float = 1e-5,
    padding: int | None = None,
) -> Value:
    """Apply a convolution, a batch norm and an activation; "" leaves that out."""
    x = BatchNorm(eps)(Conv(width, kernel, stride, groups, padding=padding)(x))
    return ACTIVATIONS[activation](x) if activation else x


@dataclass(frozen=True)
class ActivatedConv(Module, name="activated_conv"):
    kernel: int = choice(3, 1, 5)
    activation: str = choice(*ACTIVATIONS)
    eps: float = choice(1e-5, 1e-3)
    padding: int | None = choice(None, 0)

    def expand(self, x: Value) -> Value:
        sizes = (self.width, self.kernel, self.activation, self.stride)
        return activated(x, *sizes, eps=self.eps, padding=self.padding)
