"""A second reading of a graph, for tests: every primitive run by its own PyTorch call, so
that the code generator is not its own witness."""

import torch
import torch.nn.functional as F
from torch import nn


def modules(graph):
    """The modules of a graph's primitives in order; None where a function computes it."""
    helpers = {"nn": nn, "torch": torch, "F": F}
    for primitive in graph.primitives:
        for text in primitive.op.helpers():
            exec(text, helpers)
    made = nn.ModuleList()
    for primitive in graph.primitives:
        call = primitive.op.module(*primitive.input_shapes)
        if call is None or primitive.op.function(*primitive.input_shapes):
            made.append(None)
            continue
        words = {arg.name: arg.value for arg in call.args if arg.keyword}
        plain = [arg.value for arg in call.args if not arg.keyword]
        made.append(eval(call.target, helpers)(*plain, **words))
    return made


def run(graph, made, image):
    """The value of every primitive for a batch of images (n, channels, height, width)."""
    values = []
    for primitive, module in zip(graph.primitives, made, strict=True):
        inputs = [values[i] if i >= 0 else image for i in primitive.inputs]
        if module is not None:
            values.append(module(inputs) if primitive.op.takes_list else module(*inputs))
            continue
        call = primitive.op.function(*primitive.input_shapes)
        names = {f"v{i}": value for i, value in enumerate(inputs)}
        text = call.target.format(*names, **{arg.name: arg.value for arg in call.args})
        values.append(eval(text, {"torch": torch, "F": F, **names}))
    return values


def load(graph):
    """The class `Network` of the generated source."""
    from nas.codegen.source import source

    namespace = {}
    exec(compile(source(graph), "<generated>", "exec"), namespace)
    return namespace["Network"]


def fill_by_shape(module):
    """Parameters and buffers that depend on nothing but their shape and kind."""
    state = module.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            generator = torch.Generator().manual_seed(hash(tuple(value.shape)) % 2**31)
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            state[name] = 0.5 + 0.1 * noise.abs() if value.dim() == 1 else noise / value[0].numel() ** 0.5
    module.load_state_dict(state)
    return module
