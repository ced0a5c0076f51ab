"""Primitives: the only code that knows shapes, parameters, FLOPs and PyTorch calls.

FLOPs are multiply-adds of convolutions and linear layers, the convention of the ResNet,
VGG, ResNeXt and FractalNet papers. Activations are the output elements of the same
layers (Radosavovic et al., 2020). All figures are for one image.

A new primitive is a subclass of `Op` in a file of its own, and a line here to import it.
"""

from nas.graph.ops.activations import Gelu, Hardsigmoid, Hardswish, Relu6, Sigmoid, Silu
from nas.graph.ops.base import MAX_SIZE, NUM_CLASSES, REQUIRED, Arg, Call, Op
from nas.graph.ops.channels import ChannelConv, ChannelHalf, ChannelShuffle, LayerScale, Scale
from nas.graph.ops.joins import Add, Concat, DropPathMean, Mean, Zero
from nas.graph.ops.layers import (
    BatchNorm,
    Classifier,
    Conv,
    Dropout,
    Linear,
    LocalResponseNorm,
    Relu,
    Score,
    UpsampleScores,
)
from nas.graph.ops.modern import ConvClassifier, LayerNorm, LineConv, SelfAttention, StochasticDepth
from nas.graph.ops.pooling import (
    AdaptiveAvgPool,
    AvgPool,
    Crop,
    Flatten,
    GlobalPool,
    MaxPool,
    PadChannels,
    Resize,
    Subsample,
)

__all__ = [
    "MAX_SIZE",
    "NUM_CLASSES",
    "REQUIRED",
    "AdaptiveAvgPool",
    "Add",
    "Arg",
    "AvgPool",
    "BatchNorm",
    "Call",
    "ChannelConv",
    "ChannelHalf",
    "ChannelShuffle",
    "Classifier",
    "Concat",
    "Conv",
    "ConvClassifier",
    "Crop",
    "DropPathMean",
    "Dropout",
    "Flatten",
    "Gelu",
    "GlobalPool",
    "Hardsigmoid",
    "Hardswish",
    "LayerNorm",
    "LayerScale",
    "LineConv",
    "Linear",
    "LocalResponseNorm",
    "MaxPool",
    "Mean",
    "Op",
    "PadChannels",
    "Relu",
    "Relu6",
    "Resize",
    "Scale",
    "Score",
    "SelfAttention",
    "Sigmoid",
    "Silu",
    "StochasticDepth",
    "Subsample",
    "UpsampleScores",
    "Zero",
]
