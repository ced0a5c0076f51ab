"""Convolutions that oneDNN, torch's CPU library, trains wrongly or slowly, rewritten during a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

CHANNEL_BLOCK = 16
"""Input channels below which a strided 1x1 convolution is decomposed: the wider of oneDNN's channel blocks
(AVX2: 8, AVX-512: 16)."""
NARROW = 8
"""Input channels per group below which a strided grouped convolution is trained in float32."""
NARROW_DENSE = 4
"""Input channels per group below which a grouped convolution without a stride is trained in float32."""


@contextmanager
def adapted_convolutions(network: nn.Module, *, half_on_cpu: bool) -> Iterator[None]:
    """Rewrite the affected convolutions of a network inside the block; their outputs stay the same.

    Args:
        network: The network to train.
        half_on_cpu: Whether it is trained in bfloat16 on a CPU, where narrow groups take float32.
    """
    with decompose_strided_1x1(network):
        changed = [module for module in _convolutions(network) if half_on_cpu and _slow_in_half(module)]
        for module in changed:
            module.forward = partial(_in_single, module.forward)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for module in changed:
                del module.forward  # the method of its class again


def _slow_in_half(module: nn.Conv2d) -> bool:
    """Return whether a grouped convolution has so few channels that oneDNN lacks a vectorised bfloat16
    backward pass for it (torch 2.13; benchmarks/grouped_convolutions.py)."""
    narrow = NARROW if module.stride != (1, 1) else NARROW_DENSE
    return module.groups > 1 and module.in_channels // module.groups < narrow


def _in_single(forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    with torch.autocast(inputs.device.type, enabled=False):
        return forward(inputs.float()).to(inputs.dtype)


@contextmanager
def decompose_strided_1x1(network: nn.Module) -> Iterator[None]:
    """Compute narrow strided 1x1 convolutions as subsampling and a dense convolution inside the block.

    oneDNN's backward pass for their weights writes past its scratch buffer, which ends in wrong gradients,
    a hang or a crash: in float32 and channels last, with fewer input channels than a block of the kernel
    (https://github.com/uxlfoundation/oneDNN/issues/6035). Seen with torch 2.13 (AVX2) and reported there for
    2.14. No release is known to be good, so no version of torch is exempt.

    Args:
        network: The network to train. Its convolutions have their own strides again after the block.
    """
    changed = []
    for module in _convolutions(network):
        pointwise = module.kernel_size == (1, 1) and module.padding == (0, 0)
        if pointwise and module.in_channels < CHANNEL_BLOCK and module.stride != (1, 1):
            stride = module.stride[0], module.stride[1]
            hook = module.register_forward_pre_hook(partial(_subsample, stride))
            changed.append((module, stride, hook))
            module.stride = (1, 1)
    try:
        yield
    finally:
        for module, stride, hook in changed:
            module.stride = stride
            hook.remove()


def _subsample(stride: tuple[int, int], _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0][..., :: stride[0], :: stride[1]],)


def _convolutions(network: nn.Module) -> Iterator[nn.Conv2d]:
    return (module for module in network.modules() if isinstance(module, nn.Conv2d))
