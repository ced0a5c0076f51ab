"""Channel gates: what they cost, what they compute, and the shapes that are refused."""

import pytest
import torch
from torch import nn

from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Graph, trace
from nas.graph.ops import GlobalPool, Scale
from nas.modules.channel_gate import channel_gate
from nas.testing.interpreter import modules, run


def gate(channels: int, squeezed: int) -> Graph:
    return trace("Gate", [(channels, 7, 7)], lambda x: channel_gate(x, squeezed, "relu"))


def test_a_gate_costs_what_the_paper_says() -> None:
    """2 C^2 / r weights (Hu et al., 2018, equation 5), here with biases, and as many multiply-adds."""
    figures = cost(gate(256, 16))
    assert figures.params == 2 * 256 * 256 // 16 + 256 + 16
    assert figures.flops == 2 * 256 * 256 // 16


def test_a_gate_keeps_shape_and_needs_one_weight_per_channel() -> None:
    assert gate(8, 2).output_shape == (8, 7, 7)
    with pytest.raises(NasError, match="needs 8x1x1 weights, got 8"):
        trace("Gate", [(8, 7, 7)], lambda x: Scale()(x, GlobalPool()(x)))


def test_a_gate_scales_each_channel_by_a_weight_from_0_to_1() -> None:
    graph = gate(4, 2)
    made = modules(graph).eval()
    convs = [module for module in made.modules() if isinstance(module, nn.Conv2d)]
    nn.init.zeros_(convs[1].weight)
    with torch.no_grad():
        convs[1].bias.copy_(torch.tensor([0.0, 50.0, -50.0, 0.0]))
        x = torch.randn(2, 4, 7, 7, generator=torch.Generator().manual_seed(0))
        scaled = run(graph, made, x)[graph.output_index]
    expected = x * torch.tensor([0.5, 1.0, 0.0, 0.5])[:, None, None]
    torch.testing.assert_close(scaled, expected)
