"""Pairs of networks that have to compute the same function, and gradients in closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from testing.generated import load
from torch import Tensor, nn

import nas
from nas.errors import NasError
from nas.exporters.deepest_column import column_state, deepest_column
from nas.exporters.fold_batch_norm import fold_graph, fold_state, foldable
from nas.graph.cost import cost
from nas.graph.graph import Graph, Value, trace
from nas.graph.ops import Add, BatchNorm, Conv, Dropout, Relu
from nas.modules import Bottleneck, ConvStem, Fractal, Module, Plain, PoolHead, Residual, ResNeXt
from nas.modules.base import expansion
from nas.space.genotype import Genotype, Node, expand
from nas.testing.interpreter import modules, run
from nas.zoo import zoo_entry

SHAPE = (16, 8, 8)


def output(graph: Graph, made: nn.ModuleList, x: Tensor) -> Tensor:
    with torch.no_grad():
        value: Tensor = run(graph, made.eval(), x)[graph.output_index]
    return value


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw statistics and gains of batch norms that are not 0 and 1, as training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for value, low, high in (
                (part.weight.data, 0.5, 1.5),
                (part.bias.data, -0.3, 0.3),
                (part.running_mean, -0.3, 0.3),
                (part.running_var, 0.5, 2.0),
            ):
                assert value is not None
                value.uniform_(low, high, generator=generator)
    return module


def image(*shape: int) -> Tensor:
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))


def split_resnext(x: Value, width: int, inner: int, cardinality: int) -> Value:
    """The aggregated transformations of Xie et al. (2017), figure 3a: branches that are summed."""
    branches = []
    for _ in range(cardinality):
        y = x
        for conv in (Conv(inner // cardinality, 1), Conv(inner // cardinality, 3)):
            y = Relu()(BatchNorm()(conv(y)))
        branches.append(Conv(width, 1)(y))
    return Relu()(Add()(BatchNorm()(Add()(*branches)), x))


@pytest.mark.parametrize("cardinality", [2, 4, 8])
def test_resnext_split_and_grouped(cardinality: int) -> None:
    grouped = expansion(ResNeXt(16, cardinality=cardinality, base_width=256 // cardinality), SHAPE)
    inner = next(p.shape[0] for p in grouped.primitives if isinstance(p.op, Conv))
    assert inner == 16
    split = trace("Split", [SHAPE], lambda x: split_resnext(x, 16, inner, cardinality))
    whole = drawn(modules(grouped))
    parts = modules(split)
    layers = [part for part in whole if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    copies = [part for part in parts if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    for at in range(cardinality):
        some = slice(at * inner // cardinality, (at + 1) * inner // cardinality)
        for layer, copy in zip(layers[:5], copies[5 * at : 5 * at + 5], strict=True):
            last = layer is layers[4]  # the branch takes its share of the last 1x1's inputs
            state = {
                k: v if not v.dim() else v[:, some] if last else v[some]
                for k, v in layer.state_dict().items()
            }
            copy.load_state_dict(state)
    copies[-1].load_state_dict(layers[5].state_dict())
    assert torch.allclose(
        output(grouped, whole, image(*SHAPE)), output(split, parts, image(*SHAPE)), atol=1e-5
    )
    assert cost(split).flops == cost(grouped).flops


def test_cardinality_1_is_a_bottleneck() -> None:
    for stride in (1, 2):
        resnext = ResNeXt(64, stride, cardinality=1, base_width=64)
        assert expansion(resnext, SHAPE).digest == expansion(Bottleneck(64, stride), SHAPE).digest


@pytest.mark.parametrize("norm", ["after_conv", "pre_activation", "after_relu", "none"])
def test_a_fractal_of_one_column_is_a_plain_stack(norm: str) -> None:
    nodes = (
        Node("a", Fractal(24, 2, 1, norm=norm), ("stem",)),
        Node("b", Fractal(24, columns=1, norm=norm), ("a",)),
    )
    plain = (Node("a", Plain(24, 2, 2, norm=norm), ("stem",)),)
    stem, head = ConvStem(16, norm=norm), PoolHead(norm=norm)
    assert Genotype(stem, nodes, head).digest == Genotype(stem, plain, head).digest


@pytest.mark.parametrize("norm", ["after_conv", "relu_before_addition", "relu_only_pre_activation"])
@pytest.mark.parametrize("kind", [Residual, Bottleneck, ResNeXt])
def test_a_residual_module_whose_last_norm_is_zero_is_the_identity(kind: type[Module], norm: str) -> None:
    graph = expansion(kind(16, norm=norm), SHAPE)  # type: ignore[call-arg]
    made = drawn(modules(graph))
    last = [part for part in made if isinstance(part, nn.BatchNorm2d)][-1]
    x = image(*SHAPE)  # not negative, as after the ReLU of the module before
    assert not torch.allclose(output(graph, made, x), x)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    assert torch.equal(output(graph, made, x), x)


def assert_folds(graph: Graph) -> Graph:
    network = drawn(load(graph)()).eval()
    folded = fold_graph(graph)
    small = load(folded)()
    small.load_state_dict(fold_state(graph, folded, network.state_dict()), strict=True)
    with torch.no_grad():
        x = image(*graph.input_shape)
        expected, found = network(x), small.eval()(x)
    assert (found - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())
    assert len(folded.primitives) == len(graph.primitives) - len(foldable(graph))
    assert cost(folded).flops == cost(graph).flops
    return folded


def batch_norms(graph: Graph) -> int:
    return sum(isinstance(primitive.op, BatchNorm) for primitive in graph.primitives)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("space", ["all_modules", "bn_placement", "residual_vs_fractal"])
def test_batch_norms_fold_into_the_convolutions_before_them(space: str, seed: int) -> None:
    loaded = nas.load_space(space)
    assert_folds(expand(loaded.sample(seed), loaded.input_shape, loaded.num_classes))


@pytest.mark.parametrize(("space", "seed"), [("cells", 17), ("cells", 28), ("grammar", 0), ("grammar", 19)])
def test_modules_that_lack_a_part_by_an_argument_that_no_layer_takes_fold(space: str, seed: int) -> None:
    loaded = nas.load_space(space)
    assert_folds(expand(loaded.sample(seed), loaded.input_shape, loaded.num_classes))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet56", "fractalnet20", "googlenet", "preact_resnet110", "resnet50"])
def test_networks_of_the_zoo_fold(name: str) -> None:
    entry = zoo_entry(name)
    shape = (3, 64, 64) if entry.input_shape[1] > 64 else entry.input_shape
    graph = expand(entry.build(), shape, entry.num_classes)
    left = batch_norms(assert_folds(graph))
    # pre-activation: two batch norms a block, of which the first follows the addition
    assert left == (54 + 1 if name == "preact_resnet110" else 0)


def test_a_norm_stays_where_the_convolution_feeds_something_else() -> None:
    def function(x: Value) -> Value:
        y = Conv(16)(x)
        z = BatchNorm()(BatchNorm()(Dropout(0.2)(Conv(16)(Relu()(y)))))
        return Add()(BatchNorm()(y), z)

    graph = trace("Example", [SHAPE], function)
    assert foldable(graph) == {"bn1": "conv2"}
    folded = fold_graph(graph)
    assert [primitive.path for primitive in folded.primitives if isinstance(primitive.op, BatchNorm)] == [
        "bn2",
        "bn3",
    ]
    assert [p.op.bias for p in folded.primitives if isinstance(p.op, Conv)] == [False, True]


def test_without_batch_norms_nothing_folds() -> None:
    graph = expand(zoo_entry("vgg11").build(), (3, 64, 64), 10)
    assert fold_graph(graph) is graph


def fractal(columns: int, **fields: object) -> Genotype:
    first = Fractal(8, 2, columns, drop_path="mixed", **fields)  # type: ignore[arg-type]
    inner = Genotype(None, (Node("a", Residual(8), ("stem",)), Node("b", replace(first, stride=1), ("a",))))
    nodes = (
        Node("one", first, ("stem",)),
        Node("two", inner, ("one",)),
        Node("three", Plain(8), ("one", "two"), "mean"),
    )
    norm = str(fields.get("norm", "after_conv"))
    return Genotype(ConvStem(8, norm=norm), nodes, PoolHead(norm=norm))


@pytest.mark.parametrize("norm", ["after_conv", "none"])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_the_deepest_column_computes_what_the_network_does_with_joins_that_take_it_alone(
    columns: int, norm: str
) -> None:
    genotype = fractal(columns, dropout=0.1, norm=norm)
    alone = deepest_column(genotype)
    graph, column = expand(genotype, SHAPE), expand(alone, SHAPE)
    network = drawn(load(graph)()).eval()
    for part in network.modules():
        if type(part).__name__ == "DropPathMean":
            part.forward = lambda paths: paths[-1]
    single = load(column)()
    single.load_state_dict(column_state(graph, column, network.state_dict()), strict=True)
    x = image(*SHAPE)
    with torch.no_grad():
        assert torch.allclose(single.eval()(x), network(x), atol=1e-6)
    assert "fractal" not in alone.module_types
    assert Genotype.from_json(alone.to_json()) == alone


def test_only_fractal_modules_have_columns() -> None:
    with pytest.raises(NasError, match="no fractal module"):
        deepest_column(zoo_entry("resnet20").build())


def ioffe_szegedy(x: Tensor, dy: Tensor, gamma: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, gain and shift (Ioffe and Szegedy, 2015, section 3) for x of (examples,
    channels)."""
    m = len(x)
    mean = x.mean(0)
    variance = ((x - mean) ** 2).mean(0)
    normal = (x - mean) / (variance + eps).sqrt()
    d_normal = dy * gamma
    d_variance = (d_normal * (x - mean) * -0.5 * (variance + eps) ** -1.5).sum(0)
    d_mean = (-d_normal / (variance + eps).sqrt()).sum(0) + d_variance * (-2 * (x - mean)).mean(0)
    dx = d_normal / (variance + eps).sqrt() + d_variance * 2 * (x - mean) / m + d_mean / m
    return dx, (dy * normal).sum(0), dy.sum(0)


@pytest.mark.parametrize("shape", [(5,), (5, 4, 3)], ids=["vector", "feature map"])
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_gradients_of_batch_norm_are_the_closed_formulas(shape: tuple[int, ...], eps: float) -> None:
    graph = trace("Norm", [shape], lambda x: BatchNorm(eps)(x))
    made = modules(graph).double().train()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(7, *shape, dtype=torch.float64, generator=generator).requires_grad_()
    dy = torch.randn(7, *shape, dtype=torch.float64, generator=generator)
    norm = made[0]
    norm.weight.data.uniform_(0.5, 2, generator=generator)
    run(graph, made, x)[0].backward(dy)
    flat = [value.detach().movedim(1, -1).reshape(-1, 5) for value in (x, dy)]
    dx, d_gamma, d_beta = ioffe_szegedy(*flat, norm.weight.detach(), eps)
    assert x.grad is not None
    torch.testing.assert_close(x.grad.movedim(1, -1).reshape(-1, 5), dx, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(norm.weight.grad, d_gamma, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(norm.bias.grad, d_beta, rtol=1e-10, atol=1e-12)
