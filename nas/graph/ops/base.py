"""Base class of the primitives: shape, parameters, FLOPs and PyTorch call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, ClassVar, NamedTuple

from nas.errors import NasError
from nas.graph.digest import identity
from nas.graph.graph import Shape, Value, shape_text

REQUIRED: Any = object()
NUM_CLASSES = "num_classes"
"""Argument of every generated class that scores the classes of the data."""
MAX_SIZE = 65_536
"""Largest number of channels, features and the like; larger is refused before it is built."""


class Arg(NamedTuple):
    """Argument of a PyTorch call, printed unless it has its default value."""

    name: str
    value: Any
    default: Any = REQUIRED
    keyword: bool = False


class Call(NamedTuple):
    """A PyTorch call: a constructor (`nn.Conv2d`) with its arguments, or an expression
    with fields for the inputs ({0}, {1}, …) and for the arguments by name."""

    target: str
    args: tuple[Arg, ...] = ()


PRIMITIVES: list[type[Op]] = []
"""Every class of primitives that has been defined, those of plugins included."""


@dataclass(frozen=True)
class Op:
    """A primitive. Methods take the shapes of the inputs, without the batch.

    label: name of its nodes and attributes in generated code.
    commutative: whether the order of its inputs makes no difference.
    torch_names: every name of torch in its calls (`nn.Conv2d`, `torch.relu`, `F.pad`), and every
        attribute of tensors that they use (`.shape`). Generated code may use no others.
    sources: classes and functions that its calls need; their names of torch need not be listed.
    backward_keeps: the tensor that its backward pass reads again: "input", "output" or neither.
    is_view: whether the output lies in the memory of the first input.
    takes_list: whether its module takes its inputs as one list.
    """

    label: ClassVar[str]
    commutative: ClassVar[bool] = False
    torch_names: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = ()
    backward_keeps: ClassVar[str] = ""
    is_view: ClassVar[bool] = False
    takes_list: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        taken = next((op for op in PRIMITIVES if op.__name__ == cls.__name__), None)  # digests hold names
        if taken and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            message = f"{cls.__name__} is the name of the operation {taken.__module__}.{taken.__qualname__}"
            raise NasError(message, where=f"{cls.__module__}.{cls.__qualname__}")
        PRIMITIVES.append(cls)

    def __call__(self, *values: Value, name: str = "") -> Value:
        return values[0].graph.add(self, values, name)

    def shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def params(self, *inputs: Shape) -> int:
        return 0

    def flops(self, output: Shape, *inputs: Shape) -> int:
        """Return the multiply-adds, above zero for convolutions and linear layers alone."""
        return 0

    def activations(self, output: Shape, *inputs: Shape) -> int:
        """Return the elements that it writes: those of the output, unless a map inside is larger."""
        return prod(output)

    @cached_property
    def identity(self) -> int:
        """Number of 128 bits that represents the primitive in the digest of a graph."""
        return identity(self)

    def backward_bytes(self, *inputs: Shape) -> int:
        """Return the bytes per image that the backward pass needs beside input and output."""
        return 0

    def module(self, *inputs: Shape) -> Call | None:
        """Return the constructor of the `nn.Module` that computes it, or None where a function does."""
        return None

    def function(self, *inputs: Shape) -> Call | None:
        """Return the expression that computes it, or None where a module is needed."""
        return None

    def helpers(self) -> tuple[str, ...]:
        """Return those of its `sources` that a file needs for this primitive."""
        return self.sources

    def prologue(self) -> str:
        """Return the statement that the network runs before each forward pass in training, or ""."""
        return ""


def check_sizes(op: Op, **sizes: int) -> None:
    """Raise NasError unless every size is an integer from 1 to `MAX_SIZE`."""
    for name, value in sizes.items():
        if type(value) is not int or not 1 <= value <= MAX_SIZE:
            raise NasError(f"{name} must be 1 to {MAX_SIZE}, not {value!r}", where=op.label)


def feature_map(op: Op, shape: Shape) -> tuple[int, int, int]:
    """Return channels, height and width; NasError if the shape is that of a vector."""
    if len(shape) != 3:
        raise NasError(f"needs a feature map (channels, height, width), got {shape}", where=op.label)
    return shape[0], shape[1], shape[2]


def slide(op: Op, size: int, kernel: int, stride: int, padding: int, ceil: bool = False) -> int:
    """Return the output size of a window that slides over one axis. With `ceil` a last window may reach
    over the end, if it starts within the image or the padding before it."""
    reach = size + 2 * padding - kernel
    if reach < 0:
        raise NasError(f"a {kernel}x{kernel} window does not fit into size {size}", where=op.label)
    if ceil and reach % stride and (reach // stride + 1) * stride < size + padding:
        return reach // stride + 2
    return reach // stride + 1


def same_shapes(op: Op, inputs: tuple[Shape, ...]) -> Shape:
    """Return the shape that all inputs share; NasError if they differ."""
    if any(shape != inputs[0] for shape in inputs):
        sizes = ", ".join(map(shape_text, inputs))
        raise NasError(f"the inputs differ in shape: {sizes}", where=op.label)
    return inputs[0]
