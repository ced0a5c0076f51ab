"""What a primitive is: its shape, parameters, FLOPs and PyTorch call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from nas.errors import NasError
from nas.graph.graph import Shape, Value, identity

REQUIRED: Any = object()
NUM_CLASSES = "num_classes"
"""The argument that every class with scores of classes in it has."""
MAX_SIZE = 65_536
"""Bound on channels, features and the like: larger is refused before it is built."""


class Arg(NamedTuple):
    """An argument of a PyTorch call; left out where it has its default."""

    name: str
    value: Any
    default: Any = REQUIRED
    keyword: bool = False


class Call(NamedTuple):
    """A PyTorch call: a constructor (`nn.Conv2d`) with its arguments, or an expression
    whose fields are the inputs ({0}, {1}, …) and the arguments by name."""

    target: str
    args: tuple[Arg, ...] = ()


@dataclass(frozen=True)
class Op:
    """A primitive. Methods take the shapes of the inputs, without the batch."""

    label: ClassVar[str]
    commutative: ClassVar[bool] = False
    keeps: ClassVar[str] = ""  # what its backward pass needs again: its "input", its "output"
    view: ClassVar[bool] = False  # whether the output lies in the memory of the first input

    def __call__(self, *values: Value, name: str = "") -> Value:
        return values[0].graph.add(self, values, name)

    def shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def params(self, *inputs: Shape) -> int:
        return 0

    def flops(self, output: Shape, *inputs: Shape) -> int:
        """Multiply-adds; above zero for convolutions and linear layers alone."""
        return 0

    @cached_property
    def identity(self) -> int:
        """128 bits that stand for the primitive in the digest of a graph."""
        return identity(self)

    def saved(self, *inputs: Shape) -> int:
        """Bytes that its backward pass needs for one image beside input and output."""
        return 0

    def module(self, *inputs: Shape) -> Call | None:
        """The `nn.Module` that computes it, or None where a function does."""
        return None

    def function(self, *inputs: Shape) -> Call | None:
        """The expression that computes it, or None where a module is needed."""
        return None

    def helpers(self) -> tuple[str, ...]:
        """Sources that a file has to carry for this primitive."""
        return ()

    def prologue(self) -> str:
        """A statement that the network runs before each forward pass in training, or ""."""
        return ""


def bounded(owner: str, low: int = 1, **sizes: int) -> None:
    for name, value in sizes.items():
        if type(value) is not int or not low <= value <= MAX_SIZE:
            raise NasError(f"{name} must be {low} to {MAX_SIZE}, not {value!r}", where=owner)


def feature_map(op: Op, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise NasError(f"needs a feature map (channels, height, width), got {shape}", where=op.label)
    return shape[0], shape[1], shape[2]


def slide(op: Op, size: int, kernel: int, stride: int, padding: int, ceil: bool = False) -> int:
    """Output size of a window that slides over one axis; with `ceil` a last window may reach
    over the end, if it starts within the image or its padding before."""
    reach = size + 2 * padding - kernel
    if reach < 0:
        raise NasError(f"a {kernel}x{kernel} window does not fit into size {size}", where=op.label)
    if ceil and reach % stride and (reach // stride + 1) * stride < size + padding:
        return reach // stride + 2
    return reach // stride + 1


def same_shapes(op: Op, inputs: tuple[Shape, ...]) -> Shape:
    if any(shape != inputs[0] for shape in inputs):
        sizes = ", ".join("x".join(map(str, shape)) for shape in inputs)
        raise NasError(f"the inputs differ in shape: {sizes}", where=op.label)
    return inputs[0]
