"""Layers with weights, normalisation, activation and dropout."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

from nas.errors import NasError
from nas.graph.graph import Shape
from nas.graph.ops.base import NUM_CLASSES, Arg, Call, Op, check_sizes, feature_map, slide

SCORE_SOURCE = '''\
class Score(nn.Conv2d):
    """The scores of the classes at every pixel, zero at the start (Long et al., 2015)."""

    def __init__(self, in_chs: int, num_classes: int):
        super().__init__(in_chs, num_classes, 1)
        nn.init.zeros_(self.weight)
'''
UPSAMPLE_SOURCE = '''\
class UpsampleScores(nn.ConvTranspose2d):
    """A transposed convolution that starts as bilinear interpolation of each class."""

    def __init__(self, num_classes: int, stride: int, padding: int = 0):
        size = 2 * stride
        super().__init__(num_classes, num_classes, size, stride, padding, bias=False)
        ramp = 1 - (torch.arange(size) - (size - 1) / 2).abs() / stride
        eye = torch.eye(num_classes)[:, :, None, None]
        self.weight = nn.Parameter(eye * ramp[:, None] * ramp)
'''


@dataclass(frozen=True)
class Conv(Op):
    """Convolution, padded to keep the size at stride 1 unless `padding` says otherwise."""

    channels: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    bias: bool = False
    padding: int | None = None
    dilation: int = 1
    label: ClassVar[str] = "conv"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.Conv2d",)
    backward_keeps: ClassVar[str] = "input"

    def __post_init__(self) -> None:
        check_sizes(self, channels=self.channels, kernel=self.kernel, stride=self.stride)
        check_sizes(self, groups=self.groups, dilation=self.dilation)

    @property
    def pad(self) -> int:
        return self.dilation * (self.kernel // 2) if self.padding is None else self.padding

    def shape(self, *inputs: Shape) -> Shape:
        channels, height, width = feature_map(self, inputs[0])
        if channels % self.groups or self.channels % self.groups:
            raise NasError(
                f"{channels} to {self.channels} channels do not divide into {self.groups} groups",
                where=self.label,
            )
        reach, pad = self.dilation * (self.kernel - 1) + 1, self.pad
        rows = slide(self, height, reach, self.stride, pad)
        columns = rows if width == height else slide(self, width, reach, self.stride, pad)
        return (self.channels, rows, columns)

    def params(self, *inputs: Shape) -> int:
        weights = self.channels * (inputs[0][0] // self.groups) * self.kernel**2
        return weights + (self.channels if self.bias else 0)

    def flops(self, output: Shape, *inputs: Shape) -> int:
        return prod(output) * (inputs[0][0] // self.groups) * self.kernel**2

    def module(self, *inputs: Shape) -> Call:
        return Call(
            "nn.Conv2d",
            (
                Arg("in_chs", inputs[0][0]),
                Arg("out_chs", self.channels),
                Arg("kernel_size", self.kernel),
                Arg("stride", self.stride, 1, keyword=True),
                Arg("padding", self.pad, 0, keyword=True),
                Arg("dilation", self.dilation, 1, keyword=True),
                Arg("groups", self.groups, 1, keyword=True),
                Arg("bias", self.bias, True, keyword=True),
            ),
        )


@dataclass(frozen=True)
class BatchNorm(Op):
    """Batch normalisation (Ioffe and Szegedy, 2015)."""

    eps: float = 1e-5
    label: ClassVar[str] = "bn"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.BatchNorm1d", "nn.BatchNorm2d")
    backward_keeps: ClassVar[str] = "input"

    def params(self, *inputs: Shape) -> int:
        return 2 * inputs[0][0]

    def module(self, *inputs: Shape) -> Call:
        dims = 2 if len(inputs[0]) == 3 else 1
        args = (Arg("out_chs", inputs[0][0]), Arg("eps", self.eps, 1e-5, keyword=True))
        return Call(f"nn.BatchNorm{dims}d", args)


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """Normalisation over neighbouring channels (Krizhevsky et al., 2012)."""

    size: int = 5
    label: ClassVar[str] = "lrn"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.LocalResponseNorm",)
    backward_keeps: ClassVar[str] = "input"

    def backward_bytes(self, *inputs: Shape) -> int:
        return 16 * prod(inputs[0])  # squares, their padded and their weighted sums, the divisor

    def module(self, *inputs: Shape) -> Call:
        return Call("nn.LocalResponseNorm", (Arg("size", self.size),))


@dataclass(frozen=True)
class Relu(Op):
    """Rectified linear unit."""

    label: ClassVar[str] = "relu"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.ReLU",)
    backward_keeps: ClassVar[str] = "output"

    def module(self, *inputs: Shape) -> Call:
        return Call("nn.ReLU")


@dataclass(frozen=True)
class Dropout(Op):
    """Dropout of single elements, at a rate from 0 to 1, in training only."""

    rate: float
    label: ClassVar[str] = "dropout"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.Dropout",)

    def backward_bytes(self, *inputs: Shape) -> int:
        return 4 * prod(inputs[0])  # the mask, as numbers

    def module(self, *inputs: Shape) -> Call:
        return Call("nn.Dropout", (Arg("drop", self.rate),))


@dataclass(frozen=True)
class Linear(Op):
    """Linear layer with a bias, from a vector to a vector of `features`."""

    features: int
    label: ClassVar[str] = "fc"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.Linear",)
    backward_keeps: ClassVar[str] = "input"

    def __post_init__(self) -> None:
        check_sizes(self, features=self.features)

    def shape(self, *inputs: Shape) -> Shape:
        if len(inputs[0]) != 1:
            raise NasError(f"needs a vector, got {inputs[0]}; pool or flatten it first", where=self.label)
        return (self.features,)

    def params(self, *inputs: Shape) -> int:
        return (inputs[0][0] + 1) * self.features

    def flops(self, output: Shape, *inputs: Shape) -> int:
        return inputs[0][0] * self.features

    def module(self, *inputs: Shape) -> Call:
        return Call("nn.Linear", (Arg("in_features", inputs[0][0]), Arg("out_features", self.features)))


@dataclass(frozen=True)
class Classifier(Linear):
    """Last linear layer. Its number of classes belongs to the data, so it is left out of the digest."""

    features: int = field(metadata={"in_digest": False})
    label: ClassVar[str] = "classifier"

    def module(self, *inputs: Shape) -> Call:
        return Call("nn.Linear", (Arg("in_features", inputs[0][0]), Arg(NUM_CLASSES, self.features)))


@dataclass(frozen=True)
class Score(Conv):
    """1x1 convolution from the channels of each pixel to the scores of the classes."""

    channels: int = field(metadata={"in_digest": False})
    kernel: int = 1
    bias: bool = True
    label: ClassVar[str] = "score"
    sources: ClassVar[tuple[str, ...]] = (SCORE_SOURCE,)

    def module(self, *inputs: Shape) -> Call:
        return Call("Score", (Arg("in_chs", inputs[0][0]), Arg(NUM_CLASSES, self.channels)))


@dataclass(frozen=True)
class UpsampleScores(Op):
    """Transposed convolution of scores with a kernel of twice the stride, which starts as bilinear
    interpolation (Long et al., 2015). Without padding it reaches over the edges by one stride."""

    stride: int
    padded: bool = True
    label: ClassVar[str] = "upsample"
    sources: ClassVar[tuple[str, ...]] = (UPSAMPLE_SOURCE,)
    backward_keeps: ClassVar[str] = "input"

    def __post_init__(self) -> None:
        check_sizes(self, stride=self.stride)

    def shape(self, *inputs: Shape) -> Shape:
        channels, *size = feature_map(self, inputs[0])
        over = self.stride % 2 if self.padded else self.stride
        return (channels, *(n * self.stride + over for n in size))

    def params(self, *inputs: Shape) -> int:
        return inputs[0][0] ** 2 * (2 * self.stride) ** 2

    def flops(self, output: Shape, *inputs: Shape) -> int:
        return prod(inputs[0]) * inputs[0][0] * (2 * self.stride) ** 2

    def module(self, *inputs: Shape) -> Call:
        padding = Arg("padding", self.stride // 2 if self.padded else 0, 0, keyword=True)
        args = (Arg(NUM_CLASSES, inputs[0][0]), Arg("stride", self.stride), padding)
        return Call("UpsampleScores", args)
