"""Fractal block: columns of convolutions of halving depth (Larsson et al., 2017).

f_1 is one convolution, f_(C+1)(z) = f_C(f_C(z)) joined with conv(z). Joins that meet are
merged into one, so after step t of the deepest column every column that ends a
convolution there takes part. A stride is taken by the first convolution of each column.
"""

from dataclasses import dataclass

from nas.graph.graph import Value
from nas.graph.ops import DropPathMean, Mean
from nas.modules.base import Module, WrittenClass, choice
from nas.modules.conv_blocks import CHAIN_NORMS, ConvSpec, nested_conv_unit

INIT = """\
        super().__init__()
        self.columns = columns
        lengths = [1]  # of a convolution, in steps of the deepest column; by column
        for _ in range(columns - 1):
            lengths = [2 * lengths[0], *lengths]
        self.steps = nn.ModuleList()
        for step in range(1, lengths[0] + 1):
            convs = nn.ModuleList()  # those that end at this step, the deepest last
            for length in lengths:
                if step == length:
                    convs.append({first})
                elif step % length == 0:
                    convs.append({later})
            self.steps.append(convs)
"""
DROP_PATH = """\
        self.join = DropPathMean(columns, "{mode}")
"""
FORWARD = """
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = [x] * self.columns
        for convs in self.steps:
            first = self.columns - len(convs)
            for i, conv in enumerate(convs, first):
                columns[i] = conv(columns[i])
            if len(convs) > 1:
                joined = self.join(columns[first:])
                columns = columns[:first] + [joined] * len(convs)
        return columns[-1]
"""
MEAN = """
    def join(self, columns: list[torch.Tensor]) -> torch.Tensor:
        total = columns[0]
        for x in columns[1:]:
            total = total + x
        return total / len(columns)
"""


@dataclass(frozen=True)
class Fractal(Module, name="fractal"):
    columns: int = choice(range(1, 7), default=3)
    drop_path: str = choice("none", "local", "global", "mixed")
    dropout: float = choice(0.0, 0.1, 0.2, 0.3, 0.4)
    norm: str = choice(*CHAIN_NORMS)

    def expand(self, x: Value) -> Value:
        heads = [x] * self.columns  # last value of each column, from shallow to deep
        for step in range(1, 2 ** (self.columns - 1) + 1):
            ending = [c for c in range(self.columns) if step % 2 ** (self.columns - 1 - c) == 0]
            for i, c in enumerate(ending):
                stride = self.stride if heads[c] is x else 1
                spec = ConvSpec(self.width, 3, stride)
                unit = nested_conv_unit(heads[c], spec, self.norm, self.dropout)
                heads[c] = unit.named(f"steps.{step - 1}.{i}")
            joined = self._join([heads[c] for c in ending])
            for c in ending:
                heads[c] = joined
        return heads[-1]

    def written_class(self) -> WrittenClass:
        join = MEAN if self.drop_path == "none" else ""
        drop = DROP_PATH.format(mode=self.drop_path) if self.drop_path != "none" else ""
        drops = (DropPathMean(self.columns, self.drop_path),) if drop else ()
        parts = {"first": "steps.0.0", "later": "steps.1.1"}
        return WrittenClass(INIT + drop + FORWARD + join, parts, ("columns",), drops)

    def _join(self, paths: list[Value]) -> Value:
        if len(paths) == 1:
            return paths[0]
        if self.drop_path == "none":
            return Mean()(*paths)
        return DropPathMean(self.columns, self.drop_path)(*paths)
