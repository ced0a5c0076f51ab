"""Primitives that join several values into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas.errors import NasError
from nas.graph.graph import Shape, shape_text
from nas.graph.ops.base import Arg, Call, Op, same_shapes


@dataclass(frozen=True)
class Add(Op):
    """Elementwise sum: the join of residual modules."""

    label: ClassVar[str] = "add"
    commutative: ClassVar[bool] = True

    def shape(self, *inputs: Shape) -> Shape:
        return same_shapes(self, inputs)

    def function(self, *inputs: Shape) -> Call:
        return Call(" + ".join(_operands(inputs)))


@dataclass(frozen=True)
class Mean(Op):
    """Elementwise mean: the join of FractalNet at test time."""

    label: ClassVar[str] = "mean"
    commutative: ClassVar[bool] = True

    def shape(self, *inputs: Shape) -> Shape:
        return same_shapes(self, inputs)

    def function(self, *inputs: Shape) -> Call:
        return Call(f"({' + '.join(_operands(inputs))}) / {len(inputs)}")


@dataclass(frozen=True)
class Concat(Op):
    """Concatenation of channels."""

    label: ClassVar[str] = "concat"
    torch_names: ClassVar[tuple[str, ...]] = ("torch.cat",)

    def shape(self, *inputs: Shape) -> Shape:
        if any(shape[1:] != inputs[0][1:] for shape in inputs):
            sizes = ", ".join(map(shape_text, inputs))
            raise NasError(f"the inputs differ in size: {sizes}", where=self.label)
        return (sum(shape[0] for shape in inputs), *inputs[0][1:])

    def function(self, *inputs: Shape) -> Call:
        return Call(f"torch.cat([{', '.join(_operands(inputs))}], dim=1)")


@dataclass(frozen=True)
class Zero(Op):
    """Zeros in the shape of the input: the output of a cell in which no path leads to it."""

    label: ClassVar[str] = "zero"

    def function(self, *inputs: Shape) -> Call:
        return Call("0 * {0}")


DROP_PATH_SOURCE = '''\
class DropPathMean(nn.Module):
    """Mean of the columns that drop-path leaves (Larsson et al., 2017).

    Local: each input is dropped with probability 0.15, but never all of them. Global:
    one column stays, the same in the whole network. Nothing is dropped at test.
    """

    def __init__(self, columns: int, mode: str, drop: float = 0.15):
        super().__init__()
        self.columns = columns  # of the block; a join may see only the deepest of them
        self.mode = mode
        self.drop = drop
        self.draw = None  # set by draw_column: is this batch global, and which column

    def forward(self, paths: list[torch.Tensor]) -> torch.Tensor:
        if not self.training:
            total = paths[0]
            for path in paths[1:]:
                total = total + path
            return total / len(paths)
        weights = self.draw_weights(len(paths), paths[0])
        total = weights[0] * paths[0]
        for i in range(1, len(paths)):
            total = total + weights[i] * paths[i]
        return total

    def draw_weights(self, count: int, like: torch.Tensor) -> torch.Tensor:
        """Return the weight of each path in the mean, 0 for those that are dropped."""
        order = torch.arange(count, device=like.device)
        keep = torch.rand(count, device=like.device) >= self.drop
        revived = order == torch.randint(count, (1,), device=like.device)
        keep = torch.where(keep.any(), keep, revived)
        if torch.jit.is_scripting():
            if self.mode != "local":
                raise RuntimeError("global drop-path is not trained in TorchScript")
        elif self.draw is not None:
            is_global, position = self.draw
            column = (position * self.columns).long() - (self.columns - count)
            keep = torch.where(is_global & (column >= 0), order == column, keep)
        return keep.to(like.dtype) / keep.sum()
'''
DRAW_COLUMN_SOURCE = '''\
def draw_column(network: nn.Module) -> None:
    """Draw the column of global drop-path; mixed joins use it in half of the batches."""
    coin, position = torch.rand(2, device=next(network.parameters()).device)
    for join in network.modules():
        if isinstance(join, DropPathMean) and join.mode != "local":
            join.draw = (coin < (0.5 if join.mode == "mixed" else 1.0), position)
'''


@dataclass(frozen=True)
class DropPathMean(Op):
    """Elementwise mean with drop-path in training; its inputs go from shallow to deep.

    columns: columns of the block.
    mode: how paths are dropped: "local", "global" or "mixed".
    """

    columns: int
    mode: str
    label: ClassVar[str] = "join"
    takes_list: ClassVar[bool] = True
    sources: ClassVar[tuple[str, ...]] = (DROP_PATH_SOURCE, DRAW_COLUMN_SOURCE)

    def shape(self, *inputs: Shape) -> Shape:
        return same_shapes(self, inputs)

    def module(self, *inputs: Shape) -> Call:
        return Call("DropPathMean", (Arg("columns", self.columns), Arg("mode", self.mode)))

    def helpers(self) -> tuple[str, ...]:
        return self.sources[:1] if self.mode == "local" else self.sources

    def prologue(self) -> str:
        return "" if self.mode == "local" else "draw_column(self)"


def _operands(inputs: tuple[Shape, ...]) -> list[str]:
    """Return the fields of an expression that stand for its inputs: {0}, {1}, …"""
    return [f"{{{i}}}" for i in range(len(inputs))]
