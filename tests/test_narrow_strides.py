"""Convolutions that torch's backward pass computes wrongly are trained in another form."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from nas.training import strides_apart


def test_a_narrow_strided_convolution_computes_the_same():
    network = nn.Sequential(nn.Conv2d(4, 12, 1, stride=2, bias=False), nn.Conv2d(12, 4, 1, stride=2))
    images = torch.randn(2, 4, 9, 8)
    expected = network(images)
    with strides_apart(network):
        assert network[0].stride == (1, 1)
        assert network[1].stride == (2, 2)
        assert torch.allclose(network(images), expected, atol=1e-6)
    assert network[0].stride == (2, 2)
    assert not network[0]._forward_pre_hooks


@pytest.mark.slow
def test_narrow_networks_do_not_corrupt_memory():
    """In a process of its own, where the allocator checks every buffer that is freed."""
    script = (
        "import torch; from torch import nn; from nas.training import strides_apart\n"
        "c = nn.Conv2d(4, 12, 1, stride=2, bias=False).to(memory_format=torch.channels_last)\n"
        "with strides_apart(c):\n"
        "    for _ in range(50):\n"
        "        x = torch.randn(128, 4, 8, 8).to(memory_format=torch.channels_last).requires_grad_()\n"
        "        c(x).square().sum().backward()\n"
        "print('whole')"
    )
    checked = {**os.environ, "MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"}
    checked["LD_PRELOAD"] = "libc_malloc_debug.so.0"
    done = subprocess.run([sys.executable, "-c", script], env=checked, capture_output=True, text=True)
    assert done.stdout.strip() == "whole", done.stderr
