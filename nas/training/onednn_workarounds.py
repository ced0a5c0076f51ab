"""Convolutions that torch trains wrongly or slowly as they stand, trained in another form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

NARROW = 8
"""Input channels, of each group, below which a strided convolution is trained in another form."""
NARROW_DENSE = 4
"""The same of a convolution in groups that has no stride."""


@contextmanager
def adapted_convolutions(network: nn.Module, *, half_on_cpu: bool) -> Iterator[None]:
    """Meanwhile those convolutions compute what they compute otherwise, in a form that can be trained:
    `half_on_cpu` says whether that is in bfloat16 on a CPU, where narrow groups are slow."""
    with decompose_strided_1x1(network):
        changed = [each for each in _convolutions(network) if half_on_cpu and _slow_in_half(each)]
        for module in changed:
            module.forward = partial(_in_single, module.forward)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for module in changed:
                del module.forward  # the method of its class again


def _slow_in_half(module: nn.Conv2d) -> bool:
    """Whether float32 is the faster for a convolution in groups. oneDNN in torch 2.13 has no vectorised
    backward pass in bfloat16 for so few channels (benchmarks/grouped_convolutions.py)."""
    narrow = NARROW if module.stride != (1, 1) else NARROW_DENSE
    return module.groups > 1 and module.in_channels // module.groups < narrow


def _in_single(forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    with torch.autocast(inputs.device.type, enabled=False):
        return forward(inputs.float()).to(inputs.dtype)


@contextmanager
def decompose_strided_1x1(network: nn.Module) -> Iterator[None]:
    """Meanwhile 1x1 convolutions with a stride and few input channels take every n-th pixel first and
    then convolve, which is the same. In channels last their backward pass writes beyond its
    buffers (oneDNN in torch 2.13, AVX2), which corrupts figures or kills the process."""
    changed = []
    for module in _convolutions(network):
        dense = module.kernel_size == (1, 1) and module.padding == (0, 0)
        if dense and module.in_channels < NARROW and module.stride != (1, 1):
            stride = module.stride[0], module.stride[1]
            hook = module.register_forward_pre_hook(partial(_every, stride))
            changed.append((module, stride, hook))
            module.stride = (1, 1)
    try:
        yield
    finally:
        for module, stride, hook in changed:
            module.stride = stride
            hook.remove()


def _every(stride: tuple[int, int], _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0][..., :: stride[0], :: stride[1]],)


def _convolutions(network: nn.Module) -> Iterator[nn.Conv2d]:
    return (module for module in network.modules() if isinstance(module, nn.Conv2d))
