"""The forms in which a network is exported: whole, its deepest fractal column alone, and with
batch norms folded into the convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.codegen.build import build_graph
from nas.exporters.deepest_column import column_state, deepest_column
from nas.exporters.fold_batch_norm import fold_graph, fold_state
from nas.graph.graph import Graph
from nas.space.genotype import Genotype, expand

if TYPE_CHECKING:
    from torch import Tensor, nn

DEEPEST = "deepest"


@dataclass(frozen=True)
class Form:
    """`column`: the deepest column of fractal modules alone; `fold_bn`: batch norms folded
    into the convolutions before them, for inference."""

    column: bool = False
    fold_bn: bool = False

    @property
    def suffix(self) -> str:
        """What the name of the folder ends in."""
        return f"-{DEEPEST}" * self.column + "-folded" * self.fold_bn


WHOLE = Form()


@dataclass(frozen=True)
class Candidate:
    """A network in its form: the graph to export with its state dict, and the network in this
    process that says what it has to compute, whose genotype this is."""

    genotype: Genotype
    graph: Graph
    state: Mapping[str, Tensor]
    network: nn.Module


def in_form(
    genotype: Genotype,
    shape: tuple[int, int, int],
    num_classes: int,
    state: Mapping[str, Tensor],
    form: Form,
) -> Candidate:
    """The network for images of `shape` (channels, height, width) in a form, without auxiliary
    heads; `state` is the state dict of the network without them. NasError where a column is
    asked of a network without fractal modules."""
    graph = expand(genotype, shape, num_classes)
    if form.column:
        genotype = deepest_column(genotype)
        column = expand(genotype, shape, num_classes)
        graph, state = column, column_state(graph, column, state)
    network = build_graph(graph)
    network.load_state_dict(dict(state), strict=True)
    if form.fold_bn:
        folded = fold_graph(graph)
        graph, state = folded, fold_state(graph, folded, state)
    return Candidate(genotype, graph, state, network.eval())
