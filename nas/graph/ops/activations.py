"""Activations that came after the ReLU, and the product by which a gate scales channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas.errors import NasError
from nas.graph.graph import Shape, shape_text
from nas.graph.ops.base import Call, Op, feature_map


@dataclass(frozen=True)
class _Activation(Op):
    backward_keeps: ClassVar[str] = "input"

    def module(self, *inputs: Shape) -> Call:
        return Call(self.torch_names[0])


@dataclass(frozen=True)
class Relu6(_Activation):
    """ReLU bounded by 6 (Howard et al., 2017)."""

    label: ClassVar[str] = "relu6"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.ReLU6",)


@dataclass(frozen=True)
class Silu(_Activation):
    """x * sigmoid(x), also called swish (Elfwing et al., 2018; Ramachandran et al., 2017)."""

    label: ClassVar[str] = "silu"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.SiLU",)


@dataclass(frozen=True)
class Sigmoid(_Activation):
    """1 / (1 + exp(-x)), from 0 to 1."""

    label: ClassVar[str] = "sigmoid"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.Sigmoid",)
    backward_keeps: ClassVar[str] = "output"


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
