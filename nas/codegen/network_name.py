"""Name of the class of a network: its module types and its depth, such as ResNet20 or ResFractalNet13."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from nas.graph.graph import HEAD, STEM, Graph
from nas.graph.ops import Conv, Linear

FAMILIES = {"Residual": "ResNet", "Bottleneck": "ResNet", "ResNeXt": "ResNeXt", "ConvNeXt": "ConvNeXt"}
"""Names of networks of one module type, where they are not `{type}Net`."""
MOST_TYPES = 2
"""Number of module types up to which the name lists them."""
LEAST_SHARE = 0.25
NETWORK = "Network"
"""Name under which the class of a loaded source is found, so that no other class of it may have the name."""
CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)


def network_name(graph: Graph) -> str:
    """Return the name of the class of a network.

    It is made of the module types that more than a quarter of the body are of, if there are at most two, and
    the number of convolutions and linear layers on the longest path from the image to the scores. Networks
    that score every pixel start with FCN.
    """
    counts = Counter(FAMILIES.get(kind, f"{kind.removesuffix('Net')}Net") for kind in _kinds(graph))
    families = [family for family, count in counts.items() if count > LEAST_SHARE * counts.total()]
    if not counts:
        family = "Net"
    elif not 1 <= len(families) <= MOST_TYPES:
        family = "MixedNet"
    else:
        family = "".join([name.removesuffix("Net") for name in families[:-1]] + families[-1:])
    prefix = "FCN" if len(graph.output_shape) == 3 else ""
    return f"{prefix}{family}{depth(graph)}"


def class_of(text: str) -> str:
    """Return the name of the class of the network in a source: `Network` if there is one, else the last."""
    names = CLASS.findall(text)
    return NETWORK if NETWORK in names or not names else str(names[-1])


def depth(graph: Graph) -> int:
    """Return the number of convolutions and linear layers on the longest path to the output."""
    depths: list[int] = []
    for primitive in graph.primitives:
        before = max((depths[i] for i in primitive.inputs if i >= 0), default=0)
        depths.append(before + isinstance(primitive.op, Conv | Linear))
    return depths[graph.output_index] if graph.output_index >= 0 else 0


def _kinds(graph: Graph) -> Iterator[str]:
    """Yield the kind of each module of the body that has weights."""
    for name, node in graph.nodes.items():
        op = node.op
        if name in (STEM, HEAD) or name in graph.auxiliary or not isinstance(op, Graph):
            continue
        if op.module is None:
            yield from _kinds(op)
        elif any(isinstance(primitive.op, Conv | Linear) for primitive in op.primitives):
            yield op.kind
