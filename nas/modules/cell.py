"""Cell: a small graph of operations that is itself searched (Zoph et al., 2018; Dong and Yang, 2020).

Where size or width change, an entry comes before the graph: a 3x3 convolution, or the residual block between
the stages of NAS-Bench-201. Every node has the width of the cell: a 1x1 convolution follows a concatenation.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import Add, Concat, Mean, Zero
from nas.modules.base import Module, choice
from nas.modules.conv_blocks import ConvSpec, conv_unit
from nas.modules.operations import ENTRIES, operate
from nas.modules.structure import structure
from nas.modules.wiring import Wiring

JOINS = {"add": Add(), "mean": Mean(), "concat": Concat()}
NORMS = ("after_conv", "pre_activation", "relu_only_pre_activation", "after_relu", "none")


@dataclass(frozen=True)
class Cell(Module, name="cell"):
    graph: Wiring = structure(Wiring, "edges add/add: conv3x3(0); identity(0) + conv3x3(1)")
    entry: str = choice(*ENTRIES)
    norm: str = choice(*NORMS)

    def expand(self, x: Value) -> Value:
        if self.stride > 1 or x.channels != self.width:
            x = ENTRIES[self.entry](x, self.width, self.stride, self.norm).named("entry")
        output = self.graph.connect(x, self._operate, self._join)
        return Zero()(x) if output is None else output

    def _operate(self, name: str, x: Value) -> Value:
        return operate(name, x, self.width, self.norm)

    def _join(self, name: str, values: list[Value]) -> Value:
        x = JOINS[name](*values)
        return conv_unit(x, ConvSpec(self.width, 1), self.norm) if name == "concat" else x
