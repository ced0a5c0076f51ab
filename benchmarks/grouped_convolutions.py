"""Time of a training step of grouped convolutions in float32 and in bfloat16, on one thread.

    python benchmarks/grouped_convolutions.py

A step is the forward and backward pass of 3x3 kernels on 64 images of 16 x 16 in channels last; the fastest
of REPETITIONS is reported. The table decides which grouped convolutions `nas.training.onednn_workarounds`
trains in float32 inside a bfloat16 network.
"""

import itertools
import time

import torch
from torch import nn

GROUPS = 8
WIDTHS = (1, 2, 4, 6, 8, 16, 32)
"""Channels per group."""
REPETITIONS = 8


def seconds(width: int, stride: int, half: bool) -> float:
    """Return the seconds of the fastest step; `width` is in channels per group."""
    channels = GROUPS * width
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=GROUPS, bias=False)
    conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(64, channels, 16, 16).contiguous(memory_format=torch.channels_last)
    dtype = torch.bfloat16 if half else torch.float32
    conv, images = conv.to(dtype), images.to(dtype).requires_grad_()
    gradient, taken = torch.randn_like(conv(images)), []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        conv(images).backward(gradient)
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    torch.set_num_threads(1)
    print("| stride | channels per group | float32, ms | bfloat16, ms | bfloat16 : float32 |")
    print("|---|---|---|---|---|")
    for stride, width in itertools.product((1, 2), WIDTHS):
        single, half = (1000 * seconds(width, stride, half) for half in (False, True))
        print(f"| {stride} | {width} | {single:.2f} | {half:.2f} | {half / single:.2f} |")


if __name__ == "__main__":
    main()
