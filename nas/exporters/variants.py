"""Variants of a network that can be exported: the whole, its deepest fractal column alone, and either
with batch norms folded into the convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.codegen.build import build_graph
from nas.errors import NasError
from nas.exporters.deepest_column import column_state, deepest_column
from nas.exporters.fold_batch_norm import fold_graph, fold_state
from nas.graph.graph import Graph
from nas.space.genotype import Genotype, expand

if TYPE_CHECKING:
    from torch import Tensor, nn

DEEPEST = "deepest"


@dataclass(frozen=True)
class Variant:
    """Choice of what is exported.

    column: only the deepest column of fractal modules.
    fold_bn: batch norms folded into the convolutions before them, for inference.
    """

    column: bool = False
    fold_bn: bool = False

    @property
    def suffix(self) -> str:
        """End of the name of the folder."""
        return f"-{DEEPEST}" * self.column + "-folded" * self.fold_bn

    @property
    def title(self) -> str:
        """End of the title of the model card."""
        column = ", its deepest column alone" if self.column else ""
        return column + (", batch norms folded for inference" if self.fold_bn else "")


WHOLE = Variant()


@dataclass(frozen=True)
class ExportedNetwork:
    """A network in one of its variants.

    graph: printed as the source of the export; state is a state dict of that source.
    network: built in this process to give the outputs that the export has to reproduce. Its batch
        norms are never folded.
    genotype: that of `network`.
    """

    genotype: Genotype
    graph: Graph
    state: Mapping[str, Tensor]
    network: nn.Module


def task_of(graph: Graph) -> str:
    """Return segmentation for a network that scores every pixel, else classification."""
    return "segmentation" if len(graph.output_shape) == 3 else "classification"


def check_fit(state: Mapping[str, Tensor], network: nn.Module, where: str) -> None:
    """Raise NasError, with the first differences, unless a state dict is one of a network."""
    own = network.state_dict()
    lacking, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    parts = [
        f"{what} {', '.join(names[:2])}" + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        for what, names in (("lack", lacking), ("have", unknown), ("have another shape in", sorted(shapes)))
        if names
    ]
    if parts:
        hint = "they may be of another network, or of a version of nas that named its layers otherwise"
        raise NasError(f"the weights do not fit: they {'; they '.join(parts)}", where=where, hint=hint)


def make_variant(
    genotype: Genotype,
    shape: tuple[int, int, int],
    num_classes: int,
    state: Mapping[str, Tensor],
    variant: Variant,
) -> ExportedNetwork:
    """Build a variant of a network for images of `shape` (channels, height, width), without auxiliary heads.

    `state` is a state dict of the network without auxiliary heads. Raises NasError if the column is
    asked of a network without fractal modules.
    """
    graph = expand(genotype, shape, num_classes)
    if variant.column:
        genotype = deepest_column(genotype)
        column = expand(genotype, shape, num_classes)
        graph, state = column, column_state(graph, column, state)
    network = build_graph(graph)
    network.load_state_dict(dict(state), strict=True)
    if variant.fold_bn:
        folded = fold_graph(graph)
        graph, state = folded, fold_state(graph, folded, state)
    return ExportedNetwork(genotype, graph, state, network.eval())
