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
