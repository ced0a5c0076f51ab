"""Workarounds for convolutions that oneDNN trains wrongly or slowly."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from nas.training.onednn_workarounds import adapted_convolutions, decompose_strided_1x1


def test_a_decomposed_convolution_computes_the_same():
    network = nn.Sequential(nn.Conv2d(4, 16, 1, stride=2, bias=False), nn.Conv2d(16, 4, 1, stride=2))
    images = torch.randn(2, 4, 9, 8)
    expected = network(images)
    with decompose_strided_1x1(network):
        assert network[0].stride == (1, 1)
        assert network[1].stride == (2, 2)
        assert torch.allclose(network(images), expected, atol=1e-6)
    assert network[0].stride == (2, 2)
    assert not network[0]._forward_pre_hooks


@pytest.mark.parametrize(
    ("channels", "groups", "stride", "single"),
    [
        (4, 4, 2, True),
        (4, 4, 1, True),
        (16, 4, 2, True),
        (16, 4, 1, False),
        (32, 4, 2, False),
        (4, 1, 2, False),
    ],
)
def test_narrow_groups_train_in_float32_inside_a_bfloat16_network(channels, groups, stride, single):
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=groups, bias=False)
    images = torch.randn(2, channels, 9, 8).bfloat16().requires_grad_()
    exact = conv(images.float())

    def gradient(scores):
        return torch.autograd.grad(scores.float().sum(), conv.weight, retain_graph=True)[0]

    with adapted_convolutions(conv, half_on_cpu=True), torch.autocast("cpu", torch.bfloat16):
        half = conv(images)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), exact, atol=0.05)
    assert torch.equal(gradient(half), gradient(exact)) is single
    assert "forward" not in vars(conv)


def test_float32_training_changes_no_convolution():
    conv = nn.Conv2d(4, 4, 3, groups=4)
    with adapted_convolutions(conv, half_on_cpu=False):
        assert "forward" not in vars(conv)


@pytest.mark.slow
@pytest.mark.parametrize(("instructions", "channels"), [("AVX2", 4), ("DEFAULT", 4), ("DEFAULT", 12)])
def test_narrow_networks_do_not_corrupt_memory(instructions, channels):
    """Train in a separate process whose allocator checks every buffer that is freed."""
    script = (
        "import torch; from torch import nn\n"
        "from nas.training.onednn_workarounds import decompose_strided_1x1\n"
        f"c = nn.Conv2d({channels}, 12, 1, stride=2, bias=False).to(memory_format=torch.channels_last)\n"
        "with decompose_strided_1x1(c):\n"
        "    for _ in range(50):\n"
        f"        x = torch.randn(128, {channels}, 8, 8).to(memory_format=torch.channels_last)\n"
        "        c(x.requires_grad_()).square().sum().backward()\n"
        "print('whole')"
    )
    checked = {**os.environ, "MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"}
    checked |= {"LD_PRELOAD": "libc_malloc_debug.so.0", "ONEDNN_MAX_CPU_ISA": instructions}
    done = subprocess.run([sys.executable, "-c", script], env=checked, capture_output=True, text=True)
    assert done.stdout.strip() == "whole", done.stderr
