"""Primitives that came after 2015: layer norm, attention, stochastic depth, and factorised convolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

from nas.errors import NasError
from nas.graph.graph import Shape
from nas.graph.ops.base import NUM_CLASSES, Arg, Call, Op, check_sizes, feature_map, slide
from nas.graph.ops.layers import Classifier, Conv

LAYER_NORM_SOURCE = '''\
class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel (Ba et al., 2016)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)
'''
ATTENTION_SOURCE = '''\
class SelfAttention(nn.Module):
    """Attention of each pixel to all, from their queries, keys and values.

    Vaswani et al. (2017), without projections: the channels hold all three.
    """

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2], x.shape[3]
        query, key, value = x.flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)
        scale = x.new_full((1,), query.shape[2]).rsqrt()
        weights = torch.matmul(scale * query.transpose(2, 3), key).softmax(dim=3)
        x = torch.matmul(value, weights.transpose(2, 3))
        return x.flatten(1, 2).unflatten(2, (height, width))
'''
STOCHASTIC_DEPTH_SOURCE = '''\
class StochasticDepth(nn.Module):
    """Drops the branch of whole images in training (Huang et al., 2016)."""

    def __init__(self, drop: float):
        super().__init__()
        self.drop = drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.drop
        return x * keep.to(x.dtype) / (1 - self.drop)
'''
CONV_CLASSIFIER_SOURCE = '''\
class ConvClassifier(nn.Conv2d):
    """Scores of the classes at each pixel, their ReLU averaged (Iandola et al., 2016)."""

    def __init__(self, in_chs: int, num_classes: int):
        super().__init__(in_chs, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # FX quantisation asks for all arguments of a convolution.
        settings = (self.stride, self.padding, self.dilation, self.groups)
        x = F.conv2d(x, self.weight, self.bias, *settings)
        return F.relu(x).mean((2, 3))
'''


@dataclass(frozen=True)
class LayerNorm(Op):
    """Layer normalisation over channels, at each pixel of a feature map (Ba et al., 2016)."""

    eps: float = 1e-6
    label: ClassVar[str] = "norm"
    torch_names: ClassVar[tuple[str, ...]] = ("nn.LayerNorm",)
    sources: ClassVar[tuple[str, ...]] = (LAYER_NORM_SOURCE,)
    backward_keeps: ClassVar[str] = "input"

    def params(self, *inputs: Shape) -> int:
        return 2 * inputs[0][0]

    def module(self, *inputs: Shape) -> Call:
        args = (Arg("out_chs", inputs[0][0]), Arg("eps", self.eps, 1e-5, keyword=True))
        return Call("LayerNorm2d" if len(inputs[0]) == 3 else "nn.LayerNorm", args)


@dataclass(frozen=True)
class SelfAttention(Op):
    """Attention between all pixels, from three thirds of the channels: queries, keys and values, each split
    into `heads` (Vaswani et al., 2017). Its FLOPs are those of the two products."""

    heads: int
    label: ClassVar[str] = "attention"
    sources: ClassVar[tuple[str, ...]] = (ATTENTION_SOURCE,)
    backward_keeps: ClassVar[str] = "input"

    def __post_init__(self) -> None:
        check_sizes(self, heads=self.heads)

    def shape(self, *inputs: Shape) -> Shape:
        channels, *size = feature_map(self, inputs[0])
        if channels % (3 * self.heads):
            message = f"{channels} channels do not divide into 3 times {self.heads} heads"
            raise NasError(message, where=self.label)
        return (channels // 3, *size)

    def flops(self, output: Shape, *inputs: Shape) -> int:
        return 2 * prod(output) * prod(output[1:])

    def backward_bytes(self, *inputs: Shape) -> int:
        return 4 * self.heads * prod(inputs[0][1:]) ** 2  # the weights

    def module(self, *inputs: Shape) -> Call:
        return Call("SelfAttention", (Arg("heads", self.heads),))


@dataclass(frozen=True)
class StochasticDepth(Op):
    """Drop of the whole value of an image at a rate from 0 to 1, in training only (Huang et al., 2016)."""

    rate: float
    label: ClassVar[str] = "drop_branch"
    sources: ClassVar[tuple[str, ...]] = (STOCHASTIC_DEPTH_SOURCE,)

    def shape(self, *inputs: Shape) -> Shape:
        feature_map(self, inputs[0])
        return inputs[0]

    def module(self, *inputs: Shape) -> Call:
        return Call("StochasticDepth", (Arg("drop", self.rate),))


@dataclass(frozen=True)
class LineConv(Conv):
    """Convolution of one row of `kernel` pixels, or of one column: half of a factorised one (Szegedy et al.,
    2016)."""

    column: bool = False
    torch_names: ClassVar[tuple[str, ...]] = ("nn.Conv2d",)

    def shape(self, *inputs: Shape) -> Shape:
        square = Conv(self.channels, 1, self.stride, self.groups)
        channels, *size = square.shape(*inputs)
        along = size[0] if self.column else size[1]
        long = inputs[0][1] if self.column else inputs[0][2]
        reach = slide(self, long, self.dilation * (self.kernel - 1) + 1, self.stride, self.pad)
        if reach != along:
            raise NasError("keeps the size of the image, so the padding follows", where=self.label)
        return (channels, *size)

    def params(self, *inputs: Shape) -> int:
        weights = self.channels * (inputs[0][0] // self.groups) * self.kernel
        return weights + (self.channels if self.bias else 0)

    def flops(self, output: Shape, *inputs: Shape) -> int:
        return prod(output) * (inputs[0][0] // self.groups) * self.kernel

    def module(self, *inputs: Shape) -> Call:
        window, pad = ((self.kernel, 1), (self.pad, 0)) if self.column else ((1, self.kernel), (0, self.pad))
        own = {"kernel_size": Arg("window", window), "padding": Arg("padding", pad, 0, keyword=True)}
        call = super().module(*inputs)
        return Call(call.target, tuple(own.get(arg.name, arg) for arg in call.args))


@dataclass(frozen=True)
class ConvClassifier(Classifier):
    """1x1 convolution to scores at each pixel, whose ReLU is averaged (Iandola et al., 2016)."""

    features: int = field(metadata={"in_digest": False})
    label: ClassVar[str] = "classifier"
    sources: ClassVar[tuple[str, ...]] = (CONV_CLASSIFIER_SOURCE,)

    def shape(self, *inputs: Shape) -> Shape:
        feature_map(self, inputs[0])
        return (self.features,)

    def flops(self, output: Shape, *inputs: Shape) -> int:
        return prod(inputs[0]) * self.features

    def activations(self, output: Shape, *inputs: Shape) -> int:
        return prod(inputs[0][1:]) * self.features  # of the scores at each pixel

    def backward_bytes(self, *inputs: Shape) -> int:
        return 8 * self.activations((), *inputs)  # their ReLU and its gradient

    def module(self, *inputs: Shape) -> Call:
        return Call("ConvClassifier", (Arg("in_chs", inputs[0][0]), Arg(NUM_CLASSES, self.features)))
