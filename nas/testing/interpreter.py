"""A second reading of a graph: each primitive run by its own PyTorch call, so that the code generator is not
its own witness."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.graph.graph import Graph

N = TypeVar("N", bound=nn.Module)


def modules(graph: Graph) -> nn.ModuleList:
    """Return the modules of a graph's primitives in order; None where a function computes it."""
    helpers: dict[str, Any] = {"nn": nn, "torch": torch, "F": F}
    for primitive in graph.primitives:
        for text in primitive.op.helpers():
            exec(text, helpers)
    made: list[nn.Module | None] = []
    for primitive in graph.primitives:
        call = primitive.op.module(*primitive.input_shapes)
        if call is None or primitive.op.function(*primitive.input_shapes):
            made.append(None)
            continue
        words = {arg.name: arg.value for arg in call.args if arg.keyword}
        plain = [arg.value for arg in call.args if not arg.keyword]
        made.append(eval(call.target, helpers)(*plain, **words))
    return nn.ModuleList(made)  # type: ignore[arg-type]  # a ModuleList holds None, too


def run(graph: Graph, made: nn.ModuleList, image: Tensor) -> list[Tensor]:
    """Return the value of every primitive for a batch of images (n, channels, height, width)."""
    values: list[Tensor] = []
    for primitive, module in zip(graph.primitives, made, strict=True):
        inputs = [values[i] if i >= 0 else image for i in primitive.inputs]
        if module is not None:
            values.append(module(inputs) if primitive.op.takes_list else module(*inputs))
            continue
        call = primitive.op.function(*primitive.input_shapes)
        assert call is not None, primitive.path
        names = {f"v{i}": value for i, value in enumerate(inputs)}
        text = call.target.format(*names, **{arg.name: arg.value for arg in call.args})
        values.append(eval(text, {"torch": torch, "F": F, **names}))
    return values


def fill_by_shape(module: N) -> N:
    """Set parameters and buffers to values that depend on nothing but their shape and kind."""
    state = module.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            generator = torch.Generator().manual_seed(hash(tuple(value.shape)) % 2**31)
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            state[name] = 0.5 + 0.1 * noise.abs() if value.dim() == 1 else noise / value[0].numel() ** 0.5
    module.load_state_dict(state)
    return module
