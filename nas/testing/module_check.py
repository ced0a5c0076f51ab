"""The laws of module types, checked by torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.codegen.build import build_graph
from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import trace
from nas.modules import ConvStem, Module, PoolHead
from nas.space.genotype import Genotype, Node, expand
from nas.testing.interpreter import fill_by_shape, modules, run

IMAGES = 2
SHAPE, ODD = (16, 16, 16), (31, 29)
"""Input of a module alone, and height and width of an image whose sides do not halve evenly."""
EDGE = 2
"""Pixels by which the size of an output may differ from that of the stride, for want of padding."""
MAX_OPTIONS = 8
MAX_NUMBERS = 3
"""Options of a field that are tried, and of one that is a range or a fraction."""


def check_module(module: type[Module] | Module) -> None:
    """Check that a module type keeps the laws that everything else relies on.

    In a small network behind a convolution, at stride 1 with its defaults and at stride 2 with each option of
    each field:

    - it is a dataclass, and the output has `width` channels, and the size that the stride gives;
    - shapes at every primitive, parameters and FLOPs are those of torch, also for images of odd sides;
    - the generated source computes what the primitives do, and gradients reach all parameters;
    - after a step of training, a copy with its `state_dict` computes the same;
    - JSON holds the module, and the digest survives it and a second `expand`.

    Args:
        module: A subclass of `Module`, or one module to be checked alone.

    Raises:
        AssertionError: A law is broken; the message names the settings and the law.
        NasError: `expand` raised it, such as for shapes that do not fit.

    Example:
        >>> from nas.modules import Residual
        >>> from nas.testing import check_module
        >>> check_module(Residual)
    """
    for settings in variants(module) if isinstance(module, type) else [module]:
        genotype = alone(settings)
        kind = type(settings)
        assert "__dataclass_fields__" in vars(kind), f"{kind.__name__} lacks @dataclass(frozen=True)"
        check_shape(settings)
        check_figures(genotype)
        with suppress(NasError):  # a module may refuse sides that it cannot halve
            check_figures(genotype, ODD)
        check_outputs(genotype)
        check_state(genotype)
        check_trace(settings)
        again = Genotype.from_json(genotype.to_json())
        assert again == genotype, f"{settings}: JSON gives {again}"
        assert again.digest == genotype.digest, f"{settings}: another digest after JSON"


def variants(cls: type[Module]) -> Iterator[Module]:
    """Return a module type with its defaults at strides 1 and 2, and with each option of its fields at 2."""
    make: Any = cls
    yield make(width=16)
    strided: dict[Module, None] = {make(width=32, stride=2): None}
    for field, options in cls.choices():
        numbers = isinstance(options, range) or isinstance(options[0], float)
        for option in list(options)[: MAX_NUMBERS if numbers else MAX_OPTIONS]:
            strided[make(width=32, stride=2, **{field: option})] = None
    yield from strided


def alone(module: Module) -> Genotype:
    """Return a network with one module between a convolution and pooling, with the norm of the module."""
    norm = getattr(module, "norm", "after_conv")
    norm = norm if norm in dict(ConvStem.choices())["norm"] else "after_conv"
    stem, head = ConvStem(width=16, norm=norm), PoolHead(norm=norm)
    return Genotype(stem, (Node("stage1.block1", module, ("stem",)),), head)


def check_shape(module: Module) -> None:
    """Check channels and size of the output of a module."""
    nodes = expand(alone(module)).nodes
    channels, *size = nodes["stage1.block1"].shape
    assert channels == module.width, f"{module}: the output has {channels} channels, not {module.width}"
    before = nodes[nodes["stage1.block1"].inputs[0]].shape[1:]
    fits = all(abs(now - side / module.stride) <= EDGE for now, side in zip(size, before, strict=True))
    assert fits, f"{module}: at stride {module.stride} a size of {before} becomes {tuple(size)}"


def check_trace(module: Module) -> None:
    """Check that a module expands to the same graph again, whatever was expanded before."""
    graphs = [trace("Module", [SHAPE], lambda x: module.expand(x)) for _ in range(2)]
    assert graphs[0].digest == graphs[1].digest, f"{module}: a second expand gives another graph"


def check_figures(genotype: Genotype, size: tuple[int, int] = (32, 32)) -> None:
    """Check shapes at every primitive, parameters and FLOPs by torch on the meta device."""
    graph = expand(genotype, (3, *size))
    with torch.device("meta"):
        made, network = modules(graph).eval(), build_graph(graph)
        image = torch.empty(IMAGES, 3, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        values = run(graph, made, image)
    for primitive, value in zip(graph.primitives, values, strict=True):
        shape = tuple(value.shape[1:])
        assert shape == primitive.shape, f"{genotype}: {primitive.path} has shape {shape}"
    figures = cost(graph)
    for holder in (network, made):
        params = sum(parameter.numel() for parameter in holder.parameters())
        assert figures.params == params, f"{genotype}: torch counts {params:,} parameters"
    flops = counter.get_total_flops() // IMAGES // 2  # torch counts two for a multiply-add
    assert figures.flops == flops, f"{genotype}: torch counts {flops:,} multiply-adds, not {figures.flops:,}"


def check_state(genotype: Genotype) -> None:
    """Check that all that a training changes is in the `state_dict`, which a file of weights holds."""
    graph = expand(genotype)
    trained, copy = build_graph(graph), build_graph(graph).eval()
    image = torch.randn(IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    trained.train()(image)
    copy.load_state_dict(trained.state_dict())
    with torch.no_grad():
        scores, again = trained.eval()(image), copy(image)
    torch.testing.assert_close(
        again, scores, msg=lambda text: f"{genotype}: not all of its state is in the state_dict: {text}"
    )


def check_outputs(genotype: Genotype) -> None:
    """Check that the generated network computes what its primitives do, and that all of it is trained."""
    graph = expand(genotype)
    made = fill_by_shape(modules(graph)).double().eval()
    network: Any = fill_by_shape(build_graph(graph)).double().eval()
    image = torch.randn(IMAGES, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = run(graph, made, image)[graph.output_index]
    scores = network(image)
    features = network.forward_head(network.forward_features(image), pre_logits=True)
    assert features.shape == (IMAGES, network.num_features), f"{genotype}: features of shape {features.shape}"
    torch.testing.assert_close(scores, expected, msg=lambda text: f"{genotype}: {text}")
    scores.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{genotype}: no gradient reaches {name}"
        assert torch.isfinite(parameter.grad).all(), f"{genotype}: the gradient of {name} is not finite"
