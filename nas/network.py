"""From a genotype to a torch network: the generated source, executed."""

from __future__ import annotations

import linecache
from collections import deque
from typing import TYPE_CHECKING, Any

from nas.codegen.source import source
from nas.errors import NasError
from nas.genotype import Genotype, expand
from nas.graph import Graph

if TYPE_CHECKING:
    from torch import nn

KEPT_SOURCES = 64
"""Sources that tracebacks can show; a worker that trains thousands drops the oldest."""

_loaded: deque[str] = deque()


def build(
    genotype: Genotype, input_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10
) -> nn.Module:
    """The network of a genotype for images of (channels, height, width).

    It is an instance of the class that `source(expand(genotype, …))` prints, with weights
    drawn from torch's global generator: call `torch.manual_seed` before for a given draw.
    Auxiliary heads are in it, as training needs them; see `nas.genotype.expand`.
    """
    return build_graph(expand(genotype, input_shape, num_classes, auxiliary=bool(genotype.auxiliary)))


def build_graph(graph: Graph) -> nn.Module:
    """The network of a graph; see `build`."""
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
