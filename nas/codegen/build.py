"""Builds torch networks by executing their generated source."""

from __future__ import annotations

import linecache
from collections import deque
from typing import TYPE_CHECKING, Any

from nas.codegen.network_name import NETWORK
from nas.codegen.source import source
from nas.errors import NasError
from nas.graph.cost import cost
from nas.graph.graph import Graph
from nas.space.genotype import Genotype, expand

if TYPE_CHECKING:
    from torch import nn

MAX_PARAMS = 1 << 30
MAX_FEATURES = 1 << 34
"""Most bytes of feature maps per image. A network that needs more is refused by its figures, before
memory is allocated."""
KEPT_SOURCES = 64
"""Number of sources that tracebacks can show; the oldest are dropped, as a worker trains thousands."""

_loaded: deque[str] = deque()


def build(
    genotype: Genotype, input_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10
) -> nn.Module:
    """Build the network of a genotype as an `nn.Module`, with auxiliary heads where it has them.

    The network is an instance of the class that `nas.source` prints. Its weights are drawn from torch's
    global generator: call `torch.manual_seed` before for a given draw.

    Args:
        genotype: The architecture.
        input_shape: (channels, height, width) of an image.
        num_classes: Classes to tell apart.

    Returns:
        The network, in training mode.

    Raises:
        NasError: Shapes do not fit, or the network is too large for any machine.

    Example:
        >>> import nas
        >>> genotype = nas.load_space("residual_vs_fractal").sample(seed=0)
        >>> network = nas.build(genotype, (3, 32, 32), num_classes=10)
        >>> sum(p.numel() for p in network.parameters()) == nas.cost(nas.expand(genotype)).params
        True
    """
    return build_graph(expand(genotype, input_shape, num_classes, auxiliary=bool(genotype.auxiliary)))


def build_graph(graph: Graph) -> nn.Module:
    """Build the network of a graph; see `build`. Raises NasError if its figures are beyond any machine."""
    figures = cost(graph)
    if figures.params > MAX_PARAMS or figures.peak_memory > MAX_FEATURES:
        size = f"{figures.params:,} parameters and {figures.peak_memory:,} bytes of feature maps an image"
        hint = f"at most {MAX_PARAMS:,} parameters and {MAX_FEATURES:,} bytes are built"
        raise NasError(f"is too large to build: {size}", where="network", hint=hint)
    namespace = load_source(source(graph), f"<network {graph.digest}>")
    network: nn.Module = namespace[NETWORK]()
    return network


def load_source(text: str, name: str) -> dict[str, Any]:
    """Execute Python source and return its namespace. Tracebacks show its lines under `name`.

    The last class with a `forward` is also there as `Network`, unless a class has that name.
    Raises NasError if the source is not valid Python.
    """
    try:
        code = compile(text, name, "exec")
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise NasError(f"not valid Python: {error}", where=f"{name}{line}") from None
    _remember(text, name)
    namespace: dict[str, Any] = {"__name__": name, "__file__": name}
    exec(code, namespace)
    networks = [
        value for value in namespace.values() if isinstance(value, type) and hasattr(value, "forward")
    ]
    return {NETWORK: networks[-1], **namespace} if networks else namespace


def _remember(text: str, name: str) -> None:
    if name not in linecache.cache:
        _loaded.append(name)
    if len(_loaded) > KEPT_SOURCES:
        linecache.cache.pop(_loaded.popleft(), None)
    # linecache drops entries of files that do not exist, unless they have no modification time
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
