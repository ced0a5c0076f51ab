"""What module types after 2015 cost and compute, by the figures and definitions of their papers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.codegen.build import build
from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import trace
from nas.graph.ops import ChannelHalf, ChannelShuffle, LayerNorm, LineConv, SelfAttention, StochasticDepth
from nas.modules import MODULE_TYPES, Attention, Bottleneck, ConvNeXt, ConvStem, PoolHead, Residual
from nas.modules.base import expansion
from nas.modules.channel_gate import eca_kernel
from nas.space.genotype import Genotype, Node, expand
from nas.testing.interpreter import modules, run
from nas.zoo.resnet import DEPTHS, imagenet


def counted(**fields):
    return cost(expand(imagenet(50, Bottleneck, **fields), (3, 224, 224), 1000))


def test_squeeze_and_excitation_in_resnet50():
    """2.5 million weights, equation 5 of Hu et al. (2018) for r = 16, and hardly a FLOP more."""
    plain, squeezed = counted(), counted(gate="se")
    widths = [256 * 2**stage for stage, depth in enumerate(DEPTHS[50]) for _ in range(depth)]
    weights = 2 * sum(width**2 for width in widths) // 16
    assert round(weights / 1e6, 1) == 2.5
    assert squeezed.params - plain.params == weights + sum(width + width // 16 for width in widths)
    assert f"{(squeezed.flops - plain.flops) / 1e9:.2f}" == "0.00"


def test_efficient_channel_attention_in_resnet50():
    """Kernels of Wang et al. (2020), as their code rounds them. Their count of 80 takes 5 for all 16."""
    assert [eca_kernel(256 * 2**stage) for stage in range(4)] == [5, 5, 5, 7]
    assert counted(gate="eca").params - counted().params == 3 * 5 + 4 * 5 + 6 * 5 + 3 * 7


def test_attention_blocks_are_those_of_the_vision_transformer():
    """ViT-B/16 of torchvision: 86,567,656 parameters, 17.564 billion FLOPs, over 196 patches and a token."""
    block = cost(expansion(Attention(768), (768, 197, 1)))
    patches, rest = 3 * 16**2 * 768, 768 + 197 * 768 + 2 * 768
    assert 12 * block.params + patches + 768 + rest + 769 * 1000 == 86_567_656
    assert f"{(12 * block.flops + patches * 196 + 768 * 1000) / 1e9:.3f}" == "17.564"


def test_a_convnext_block_costs_what_the_paper_says():
    """49 weights per channel, two 1x1 of four times the width (Liu et al., 2022), norm, biases and scale."""
    assert cost(expansion(ConvNeXt(96), (96, 56, 56))).params == 50 * 96 + 2 * 96 + 8 * 96**2 + 5 * 96 + 96


def value_of(op, x):
    graph = trace("Test", [tuple(x.shape[1:])], op)
    return run(graph, modules(graph).eval(), x)[-1]


def test_channels_are_halved_and_shuffled():
    x = torch.arange(12.0).reshape(1, 12, 1, 1)
    torch.testing.assert_close(value_of(ChannelShuffle(3), x), nn.ChannelShuffle(3)(x))
    assert value_of(ChannelHalf(), x).flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert value_of(ChannelHalf(second=True), x).flatten().tolist() == [6, 7, 8, 9, 10, 11]
    with pytest.raises(NasError, match="3 channels have no half"):
        trace("Test", [(3, 1, 1)], ChannelHalf())


def test_layer_norm_and_attention_are_torchs():
    x = torch.randn(2, 24, 5, 3, generator=torch.Generator().manual_seed(0))
    pixels = x.flatten(2).transpose(1, 2)  # n, pixels, channels
    normed = F.layer_norm(pixels, (24,), eps=1e-6)
    torch.testing.assert_close(value_of(LayerNorm(), x).flatten(2).transpose(1, 2), normed)
    query, key, value = pixels.unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value).permute(0, 1, 3, 2).flatten(1, 2)
    torch.testing.assert_close(value_of(SelfAttention(2), x).flatten(2), mixed)


def test_lines_cost_a_share_of_the_square_and_keep_the_size():
    def lines(x):
        return LineConv(8, 7, column=True)(LineConv(8, 7)(x))

    graph = trace("Test", [(8, 12, 9)], lines)
    assert graph.output_shape == (8, 12, 9)
    assert cost(graph).params == 2 * 7 * 8**2
    with pytest.raises(NasError, match="the padding follows"):
        trace("Test", [(8, 12, 9)], LineConv(8, 7, padding=0))


def network(module):
    genotype = Genotype(ConvStem(16), (Node("stage1.block1", module, ("stem",)),), PoolHead())
    return build(genotype)


def test_stochastic_depth_drops_whole_images_in_training_and_nothing_at_test():
    torch.manual_seed(0)
    graph = trace("Test", [(4, 3, 3)], StochasticDepth(0.3))
    layer, x = modules(graph)[0], torch.ones(4000, 4, 3, 3)
    kept = layer.train()(x)
    by_image = kept.flatten(1).mean(dim=1)
    assert set(by_image.tolist()) == {0.0, by_image.max().item()}
    assert abs((by_image == 0).float().mean().item() - 0.3) < 0.03
    assert abs(kept.mean().item() - 1) < 0.05
    assert torch.equal(layer.eval()(x), x)


def test_stochastic_depth_leaves_a_network_as_it_is_at_test():
    dropping, usual = network(Residual(16, drop_branch=0.5)).eval(), network(Residual(16)).eval()
    dropping.load_state_dict(usual.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(dropping(x), usual(x))


@pytest.mark.parametrize("gate", ["se", "eca"])
def test_a_gated_branch_can_start_at_zero(gate):
    made = network(Residual(16, gate=gate, drop_branch=0.1))
    made.stage1[0].zero_init_last()
    x = torch.rand(2, 16, 8, 8)
    torch.testing.assert_close(made.eval().stage1(x), x)


NEW = ("attention", "convnext", "factorized_inception", "fire", "inception_reduction", "regnet", "shuffle")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [*NEW, "inverted_bottleneck_v3"])
def test_code_of_new_types_compiles_with_torchscript(name):
    made = network(MODULE_TYPES[name](32, 2)).eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(torch.jit.script(made)(x), made(x))
