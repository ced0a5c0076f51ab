"""From a genotype to a torch network: the generated source, executed."""

from __future__ import annotations

import linecache
from collections import deque
from typing import TYPE_CHECKING, Any

from nas.codegen.source import source
from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Graph
from nas.space.genotype import Genotype, expand

if TYPE_CHECKING:
    from torch import nn

MAX_PARAMS = 1 << 30
MAX_FEATURES = 1 << 34
"""Bytes of the feature maps of one image. What needs more is refused by its figures, before
anything is allocated for it."""
KEPT_SOURCES = 64
"""Sources that tracebacks can show; a worker that trains thousands drops the oldest."""

_loaded: deque[str] = deque()


def build(
    genotype: Genotype, input_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10
) -> nn.Module:
    """The network of a genotype for images of (channels, height, width).

    It is an instance of the class that `source(expand(genotype, …))` prints, with weights
    drawn from torch's global generator: call `torch.manual_seed` before for a given draw.
    Auxiliary heads are in it, as training needs them; see `nas.space.genotype.expand`.
    """
    return build_graph(expand(genotype, input_shape, num_classes, auxiliary=bool(genotype.auxiliary)))


def build_graph(graph: Graph) -> nn.Module:
    """The network of a graph; see `build`. NasError where its figures are beyond any machine."""
    figures = cost(graph)
    if figures.params > MAX_PARAMS or figures.peak_memory > MAX_FEATURES:
        size = f"{figures.params:,} parameters and {figures.peak_memory:,} bytes of feature maps an image"
        hint = f"at most {MAX_PARAMS:,} parameters and {MAX_FEATURES:,} bytes are built"
        raise NasError(f"is too large to build: {size}", where="network", hint=hint)
    namespace = load_source(source(graph), f"<network {graph.digest}>")
    network: nn.Module = namespace["Network"]()
    return network


def load_source(text: str, name: str) -> dict[str, Any]:
    """Execute Python source; returns its namespace. Tracebacks show its lines under `name`.

    Raises NasError if it is no valid Python.
    """
    try:
        code = compile(text, name, "exec")
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise NasError(f"not valid Python: {error}", where=f"{name}{line}") from None
    _remember(text, name)
    namespace: dict[str, Any] = {"__name__": name, "__file__": name}
    exec(code, namespace)
    return namespace


def _remember(text: str, name: str) -> None:
    if name not in linecache.cache:
        _loaded.append(name)
    if len(_loaded) > KEPT_SOURCES:
        linecache.cache.pop(_loaded.popleft(), None)
    # Without a modification time, linecache keeps the entry although there is no such file.
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
