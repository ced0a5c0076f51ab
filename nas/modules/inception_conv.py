"""Convolutions of Inception v3, each with batch norm and ReLU (Szegedy et al., 2016)."""

from nas.graph.graph import Value
from nas.graph.ops import BatchNorm, LineConv, Relu
from nas.modules.activated_conv import activated

EPS = 1e-3


def conv(x: Value, width: int, kernel: int, stride: int = 1, padding: int | None = None) -> Value:
    """Apply a convolution with batch norm and ReLU."""
    return activated(x, max(1, width), kernel, "relu", stride, eps=EPS, padding=padding)


def line(x: Value, width: int, kernel: int, column: bool, stride: int = 1) -> Value:
    """Apply a convolution of a row or a column, with batch norm and ReLU."""
    return Relu()(BatchNorm(EPS)(LineConv(max(1, width), kernel, stride, column=column)(x)))
