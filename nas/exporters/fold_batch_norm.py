"""Folding of batch norms into the convolutions before them, for inference.

In evaluation a batch norm is a scale and a shift of each channel, so a convolution with a
bias computes both at once (Jacob et al., 2018, section 3.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from nas.codegen.parameter_names import by_module, carry, module_names
from nas.graph.graph import Graph, Value
from nas.graph.ops import BatchNorm, Conv, Dropout

if TYPE_CHECKING:
    from torch import Tensor

FOLDED = "batch norms folded"


def foldable(graph: Graph) -> dict[str, str]:
    """Map the path of each batch norm that can be folded to the path of its convolution.

    A batch norm is folded if it follows a convolution that feeds nothing else. Dropout between the
    two does nothing at test.
    """
    primitives = graph.primitives
    uses = Counter(source for primitive in primitives for source in primitive.inputs)
    uses[graph.output_index] += 1
    folds = {}
    for primitive in primitives:
        i = primitive.inputs[0]
        while i >= 0 and uses[i] == 1 and isinstance(primitives[i].op, Dropout):
            i = primitives[i].inputs[0]
        follows = i >= 0 and uses[i] == 1 and isinstance(primitives[i].op, Conv)
        if follows and isinstance(primitive.op, BatchNorm):
            folds[primitive.path] = primitives[i].path
    return folds


@lru_cache(maxsize=1024)
def fold_graph(graph: Graph) -> Graph:
    """Return the graph without the batch norms that can be folded; their convolutions have a bias.
    Nesting is kept, so that the generated code reads like that of the network itself."""
    folded = foldable(graph)
    return _rebuilt(graph, frozenset(folded), frozenset(folded.values()))


def fold_state(graph: Graph, folded: Graph, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of the network of `fold_graph(graph)`, from one of `graph`."""
    old, new, entries = module_names(graph), module_names(folded), by_module(state)
    made = carry(state, graph, folded)
    eps = {primitive.path: getattr(primitive.op, "eps", 0.0) for primitive in graph.primitives}
    for norm, conv in foldable(graph).items():
        merged = _merged(entries[old[conv]], entries[old[norm]], eps[norm])
        made |= {f"{new[conv]}.{entry}": value for entry, value in merged.items()}
    return made


def _merged(conv: Mapping[str, Tensor], norm: Mapping[str, Tensor], eps: float) -> dict[str, Tensor]:
    """Compute weight and bias of the convolution that stands for both, in double precision."""
    weight = conv["weight"].double()
    gain, shift, mean, var = (norm[n].double() for n in ("weight", "bias", "running_mean", "running_var"))
    scale = gain / (var + eps).sqrt()
    bias = conv["bias"].double() if "bias" in conv else 0.0
    merged = {"weight": weight * scale[:, None, None, None], "bias": shift + (bias - mean) * scale}
    return {entry: value.to(conv["weight"].dtype) for entry, value in merged.items()}


def _rebuilt(graph: Graph, norms: frozenset[str], convs: frozenset[str]) -> Graph:
    """Copy the graph without the batch norms at these paths, and with a bias for these convolutions."""
    if not norms and not convs:
        return graph
    kind = graph.kind if graph.module else graph.kind.replace("Norm", "")  # of a unit named by its layers
    new = Graph(kind, graph.input_shapes)
    new.arg_names = graph.arg_names
    new.description = ", ".join(part for part in (str(graph.description), FOLDED) if part)
    if graph.module is not None:
        new.module, new.variant = graph.module, fold_graph
    retrace = graph.retrace
    if retrace:
        new.retrace = lambda *shapes: _rebuilt(retrace(*shapes), norms, convs)
    values = {name: Value(new, name, graph.nodes[name].shape) for name in graph.input_names}
    for name, node in graph.nodes.items():
        op = node.op
        if op is None:
            continue
        sources = [values[source] for source in node.inputs]
        if name in norms:
            values[name] = sources[0]
        else:
            if name in convs:
                op = replace(op, bias=True)
            elif isinstance(op, Graph):
                op = _rebuilt(op, _below(name, norms), _below(name, convs))
            values[name] = new.add(op, sources, name)
        label = node.label
        if label and not new.nodes[values[name].node].label:
            values[name].named(label)
    return new.close(values[graph.output], graph.auxiliary)


def _below(name: str, paths: frozenset[str]) -> frozenset[str]:
    start = f"{name}/"
    return frozenset(path.removeprefix(start) for path in paths if path.startswith(start))
