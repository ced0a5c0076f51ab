"""Activations that came after the ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas.graph.graph import Shape
from nas.graph.ops.base import Call, Op


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
class Gelu(_Activation):
    """x times the normal distribution function of x (Hendrycks and Gimpel, 2016)."""

    label: ClassVar[str] = "gelu"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.GELU",)


@dataclass(frozen=True)
class Hardswish(_Activation):
    """x * relu6(x + 3) / 6, a swish without an exponential (Howard et al., 2019)."""

    label: ClassVar[str] = "hardswish"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.Hardswish",)


@dataclass(frozen=True)
class Hardsigmoid(_Activation):
    """relu6(x + 3) / 6, from 0 to 1 (Howard et al., 2019)."""

    label: ClassVar[str] = "hardsigmoid"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.Hardsigmoid",)
