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
from nas.modules.fractal_class import fractal_class


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
        return fractal_class(self.columns, self.drop_path)

    def _join(self, paths: list[Value]) -> Value:
        if len(paths) == 1:
            return paths[0]
        if self.drop_path == "none":
            return Mean()(*paths)
        return DropPathMean(self.columns, self.drop_path)(*paths)
