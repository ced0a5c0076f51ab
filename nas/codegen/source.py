"""Prints the graph of a network as a PyTorch file that a person would want to read.

One class for each distinct module, numbers that differ as arguments, chains as
`nn.Sequential`, and at the end the network with the interface of a timm model. The network
that is trained is this source, executed.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence

from nas.codegen.classes import plan_classes
from nas.codegen.format import WIDTH, fresh
from nas.codegen.interface import CHECKPOINT_BLOCKS
from nas.codegen.module_class import module_class
from nas.codegen.network_class import inlined, network_class
from nas.codegen.network_name import network_name
from nas.codegen.whitelist import checked
from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Graph, shape_text


def source(graph: Graph) -> str:
    """Print a network as Python source that imports only torch, laid out as `ruff format` would.

    Args:
        graph: The graph of a network, as `nas.expand` returns it.

    Returns:
        The text of a file whose last class is the network, such as `ResNet20(num_classes, in_chans)`.

    Raises:
        NasError: The graph holds something that is not on the whitelist of `nas.codegen.whitelist`.

    Example:
        >>> import nas
        >>> graph = nas.expand(nas.load_space("residual_vs_fractal").sample(seed=0))
        >>> "class ResFractalNet16(nn.Module):" in nas.source(graph)
        True
    """
    plans = plan_classes(graph)
    ops = [primitive.op for primitive in graph.primitives]
    ops += [op for plan in plans if plan.written for op in plan.written.primitives]
    helpers = list(dict.fromkeys(helper for op in ops for helper in op.helpers()))
    _check_names(helpers)
    own = {id(op) for op in inlined(graph)}
    classes = [plan for plan in plans if not all(id(op) in own for op in plan.graphs)]
    name = fresh(network_name(graph), {plan.name for plan in plans})
    network = network_class(graph, plans, name)
    if "checkpoint_blocks(" in network:
        helpers.append(CHECKPOINT_BLOCKS)
    body = "\n\n".join([*helpers, *(module_class(plan) for plan in classes), network])
    imports = [
        "import torch",
        "import torch.nn.functional as F" if re.search(r"\bF\.", body) else "",
        "from torch import nn",
        "from torch.utils.checkpoint import checkpoint" if re.search(r"\bcheckpoint\(", body) else "",
    ]
    head = "\n".join(line for line in imports if line)
    return checked(f"{_docstring(graph)}\n{head}\n\n\n{body}")


def _check_names(helpers: Sequence[str]) -> None:
    """Raise NasError for two texts of one name, as of an operation of a plug-in: the last would replace the
    others."""
    names = Counter(name for helper in helpers for name in re.findall(r"^(?:class|def) (\w+)", helper, re.M))
    twice = [name for name, number in names.items() if number > 1]
    if twice:
        hint = "give the one in `sources` of your operation a name of its own"
        raise NasError(f"two different parts of the network are called {twice[0]}", hint=hint)


def _docstring(graph: Graph) -> str:
    figures = cost(graph)
    size, classes = shape_text(graph.input_shape), graph.output_shape[0]
    text = str(graph.description or graph.kind)
    digest = getattr(graph.description, "digest", graph.digest)  # of a genotype, whatever the size of images
    unbroken = text.replace(" ", "\0").replace("\0|\0", " |\0").replace(",\0", ", ").replace(";\0", "; ")
    title = textwrap.fill(unbroken, WIDTH - 3, break_on_hyphens=False).replace("\0", " ")
    return f'''"""{title}

digest      {digest}
input       {size}, {classes} classes
parameters  {figures.params:,}
FLOPs       {figures.flops:,} (multiply-adds of convolutions and linear layers)
"""
'''
