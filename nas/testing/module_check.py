"""The laws of module types, checked by torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.codegen.build import build_graph
from nas.graph.cost import cost
from nas.modules import ConvStem, Module, PoolHead
from nas.space.genotype import Genotype, Node, expand
from nas.testing.interpreter import fill_by_shape, modules, run

IMAGES = 2
MAX_OPTIONS = 8
MAX_NUMBERS = 3
"""Options of a field that are tried, and of one that is a range or a fraction."""


def check_module(module: type[Module] | Module) -> None:
    """Check that a module type keeps the laws that everything else relies on.

    In a small network behind a convolution, at stride 1 with its defaults and at stride 2 with each option of
    each field:

    - the output has `width` channels;
    - shapes at every primitive, parameters and FLOPs are those of torch;
    - the generated source computes what the primitives do, and gradients reach all parameters;
    - JSON holds the module, and the digest survives it.

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
        check_width(settings)
        check_figures(genotype)
        check_outputs(genotype)
        again = Genotype.from_json(genotype.to_json())
        assert again == genotype, f"{settings}: JSON gives {again}"
        assert again.digest == genotype.digest, f"{settings}: another digest after JSON"


def variants(cls: type[Module]) -> Iterator[Module]:
    """Return a module type with its defaults at stride 1, and with each option of its fields at stride 2."""
    make: Any = cls
    yield make(width=16)
    strided: dict[Module, None] = {}  # defaults are an option of every field
    for field, options in cls.choices():
        numbers = isinstance(options, range) or isinstance(options[0], float)
        for option in list(options)[: MAX_NUMBERS if numbers else MAX_OPTIONS]:
            strided[make(width=32, stride=2, **{field: option})] = None
    yield from strided


def alone(module: Module) -> Genotype:
    """Return a network with one module between a convolution and pooling, with the norm of the module."""
    norm = getattr(module, "norm", "after_conv")
    stem, head = ConvStem(width=16, norm=norm), PoolHead(norm=norm)
    return Genotype(stem, (Node("stage1.block1", module, ("stem",)),), head)


def check_width(module: Module) -> None:
    """Check the channels of the output of a module."""
    graph = expand(alone(module))
    inside = [primitive for primitive in graph.primitives if primitive.path.startswith("stage1.block1")]
    channels = inside[-1].shape[0]
    assert channels == module.width, f"{module}: the output has {channels} channels, not {module.width}"


def check_figures(genotype: Genotype) -> None:
    """Check shapes at every primitive, parameters and FLOPs by torch on the meta device."""
    graph = expand(genotype)
    with torch.device("meta"):
        made, network = modules(graph).eval(), build_graph(graph)
        image = torch.empty(IMAGES, 3, 32, 32)
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
