"""Convolution units and residual units, shared by the module types, with batch normalisation in every
place where the literature has it.

The places are those of He et al., "Identity mappings in deep residual networks" (2016),
figure 4, of the common experiment with BN after the ReLU, and none at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from nas.graph.graph import Graph, Shape, Value, trace
from nas.graph.ops import Add, BatchNorm, Conv, Dropout, PadChannels, Relu, StochasticDepth, Subsample
from nas.modules.channel_gate import channel_gate, gated


class Placement(NamedTuple):
    """Layers around convolutions, as strings of B (batch norm) and R (ReLU)."""

    before: str
    after: str
    last: str  # after the last convolution of a residual branch
    joined: str  # after the addition


PLACEMENTS = {
    "after_conv": Placement("", "BR", "B", "R"),
    "pre_activation": Placement("BR", "", "", ""),
    "after_relu": Placement("", "RB", "", "RB"),
    "after_addition": Placement("", "BR", "", "BR"),
    "relu_before_addition": Placement("", "BR", "BR", ""),
    "relu_only_pre_activation": Placement("R", "B", "B", ""),
    "none": Placement("", "R", "", "R"),
}
CHAIN_NORMS = ("after_conv", "pre_activation", "after_relu", "none")
"""Placements that differ in a module without an addition."""
RESIDUAL_NORMS = tuple(PLACEMENTS)


class ConvSpec(NamedTuple):
    """Convolution of a unit, the eps of its batch norms, and the channels inside a gate that follows."""

    width: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    bias: bool = False  # kept even where a batch norm makes it redundant, as VGG and FractalNet do
    eps: float = 1e-5
    squeezed: int = 0


DROP_RATES = (0.0, 0.1, 0.2, 0.3, 0.5)
"""Rates at which stochastic depth drops the branch of an image in training (Huang et al., 2016)."""


def activate(x: Value, steps: str, eps: float = 1e-5) -> Value:
    """Apply batch norms (B) and ReLUs (R) in the order of `steps`."""
    for step in steps:
        x = _norm(eps)(x) if step == "B" else RELU(x)
    return x


def has_bias(norm: str) -> bool:
    """Tell whether convolutions have a bias, which a batch norm after them would make redundant."""
    return norm in ("after_relu", "none")


# made once, because sampling asks for the same few all the time
RELU = Relu()
_norm = lru_cache(BatchNorm)


@lru_cache(maxsize=1024)
def _conv(spec: ConvSpec, bias: bool = False) -> Conv:
    return Conv(spec.width, spec.kernel, spec.stride, spec.groups, bias=bias, dilation=spec.dilation)


def conv_unit(x: Value, spec: ConvSpec, norm: str, *, dropout: float = 0.0, last: bool = False) -> Value:
    """Apply a convolution with the layers that `norm` places before and after it.

    last: whether it ends a residual branch.
    dropout: rate of the dropout after the convolution, as in FractalNet.
    """
    place = PLACEMENTS[norm]
    x = activate(x, place.before, spec.eps)
    x = _conv(spec, bias=spec.bias or has_bias(norm))(x)
    if dropout:
        x = Dropout(dropout)(x)
    x = activate(x, place.last if last else place.after, spec.eps)
    return channel_gate(x, spec.squeezed, "relu") if spec.squeezed else x


LAYER_NAMES = {"B": "Norm", "R": "Act"}


@lru_cache(maxsize=4096)
def _unit_graph(shape: Shape, spec: ConvSpec, norm: str, dropout: float, last: bool) -> Graph:
    place = PLACEMENTS[norm]
    order = (*place.before, "Conv", "Drop" if dropout else "", *(place.last if last else place.after))
    name = "".join(LAYER_NAMES.get(layer, layer) for layer in order)
    return trace(name, [shape], lambda x: conv_unit(x, spec, norm, dropout=dropout, last=last))


def nested_conv_unit(x: Value, spec: ConvSpec, norm: str, dropout: float = 0.0, last: bool = False) -> Value:
    """Apply a `conv_unit` as a nested graph named after its layers, for modules that hold many of them."""
    return x.graph.add(_unit_graph(x.shape, spec, norm, dropout, last), [x])


def residual_unit(
    x: Value,
    convs: Sequence[ConvSpec],
    shortcut: str,
    norm: str,
    gate: str = "none",
    drop_branch: float = 0.0,
) -> Value:
    """Add a branch of convolutions to a shortcut (He et al., 2015 and 2016).

    Shortcut A subsamples and appends zero channels, B projects where the shape changes,
    C projects always. With full pre-activation a unit that changes the shape shares its
    first BN-ReLU between branch and shortcut. The branch ends with the gate, and with stochastic
    depth where it is dropped at a rate.
    """
    place = PLACEMENTS[norm]
    width, stride = convs[-1].width, prod(spec.stride for spec in convs)
    changes = stride > 1 or width != x.channels
    project = shortcut == "C" or (changes and (shortcut == "B" or width < x.channels))
    first, *rest = convs
    if norm == "pre_activation" and (changes or project):
        x = activate(x, place.before).named("preact")
        branch = _conv(first)(x)
    else:
        branch = conv_unit(x, first, norm, last=not rest)
    for i, spec in enumerate(rest, start=2):
        branch = conv_unit(branch, spec, norm, last=i == len(convs))
    identity = x
    if project:
        identity = Conv(width, 1, stride)(x)
        if place.last.startswith("B"):
            identity = _norm()(identity)
    elif changes:
        identity = Subsample(stride)(identity) if stride > 1 else identity
        identity = PadChannels(width - x.channels)(identity) if width > x.channels else identity
    if identity is not x:
        identity.named("downsample" if project else "shortcut")
    branch = ending(branch.named("branch"), gate, drop_branch)
    return activate(Add()(branch, identity), place.joined).named("post")


def ending(branch: Value, gate: str, drop_branch: float) -> Value:
    """Apply what may follow the convolutions of a branch: a gate, and stochastic depth."""
    if gate != "none":
        branch = gated(branch, gate).named("gated")
    return StochasticDepth(drop_branch)(branch) if drop_branch else branch
