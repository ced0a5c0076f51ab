"""Derivation of a module: a tree of sequences, branches and repetitions over named operations.

As text, a residual unit is `seq(add(identity, seq(conv3x3, end3x3)), act)`. A convolution `conv3x3` comes
with the layers that the norm of the module places around it, and `end3x3` with those at the end of a branch;
`act` is what follows a join. `conv3x3@1/4g8` has a quarter of the width of the module and 8 groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Any, ClassVar

from nas.errors import NasError, did_you_mean
from nas.modules.structure import Bounds, Choose, Structure, Weighted

RATIOS = ("1/16", "1/8", "1/4", "3/8", "1/2", "1", "2", "4")
GROUPS = (1, 2, 4, 8, 16, 32)
JOINS = ("add", "mean", "concat", "gated")
MAX_CHILDREN = 4
MAX_LEVELS, MAX_OPERATIONS, MAX_TEXT = 6, 128, 2000


def conv_name(kind: str, kernel: int, ratio: str = "1", groups: int = 1) -> str:
    """Return the name of a convolution: `conv`, or `end` for the last of a branch."""
    rest = f"{ratio}g{groups}" if groups > 1 else ratio
    return f"{kind}{kernel}x{kernel}" + ("" if rest == "1" else f"@{rest}")


CONVOLUTIONS: dict[str, tuple[str, int, str, int]] = {
    conv_name(*fields): fields for fields in product(("conv", "end"), (1, 3, 5, 7), RATIOS, GROUPS)
}
"""Kind, kernel, ratio of the width and groups of each convolution, by name."""
OTHERS = ("dw3x3", "dw5x5", "avg3x3", "max3x3", "act", "identity")
LEAVES = frozenset((*CONVOLUTIONS, *OTHERS))
COMPOSITES: dict[str, tuple[str, int]] = {
    **{f"{kind}{count}": (kind, count) for kind in ("seq", *JOINS) for count in range(2, MAX_CHILDREN + 1)},
    **{f"repeat{count}": (f"repeat{count}", 1) for count in range(2, MAX_CHILDREN + 1)},
}
"""Operator and number of operands, by the name of the decision. `gated` takes two."""
del COMPOSITES["gated3"], COMPOSITES["gated4"]

CHILDREN = (4, 3, 3, 2, 2, 2)
"""Most operands by level, so that the number of places in a tree stays small."""
COMPOSITE_SHARE = (0.95, 0.6, 0.4, 0.25, 0.25, 0.25)
"""Probability of an operator by level, from the root down."""
PRIOR = {"seq": 4.0, "add": 3.0, "concat": 2.0, "conv": 2.0, "end": 1.0}
"""Weight of operators and operations by kind, 1 of the others."""


@dataclass(frozen=True)
class Derivation(Structure):
    """Node of the tree: an operator with its operands, or an operation without."""

    op: str
    operands: tuple[Derivation, ...] = ()

    keys: ClassVar[Bounds] = {
        "levels": range(1, MAX_LEVELS + 1),
        "ops": (*COMPOSITES, *sorted(LEAVES)),
    }
    figures: ClassVar[tuple[str, ...]] = ("operations", "convolutions")

    def __post_init__(self) -> None:
        names = LEAVES if not self.operands else {kind for kind, _ in COMPOSITES.values()}
        if self.op not in names:
            raise NasError(f"unknown operation {self.op!r}", hint=did_you_mean(self.op, names))
        if self.operands and (self.op, len(self.operands)) not in COMPOSITES.values():
            raise NasError(f"{self.op} cannot take {len(self.operands)} operands")
        if self.levels > MAX_LEVELS or self.operations > MAX_OPERATIONS:
            limit = f"more than {MAX_LEVELS} levels or {MAX_OPERATIONS} operations"
            raise NasError(f"the derivation has {limit}")

    @classmethod
    def problem(cls, bounds: Mapping[str, Any]) -> str:
        levels, ops = bounds.get("levels"), bounds.get("ops")
        if isinstance(levels, list):
            return "levels is one bound, not a decision"
        leaf = isinstance(ops, list) and any(op in LEAVES for op in ops if isinstance(op, str))
        return "" if leaf else "ops needs an operation besides operators, in a list"

    @classmethod
    def build(cls, bounds: Bounds, choose: Choose) -> Derivation:
        return _derive(bounds, choose, 0, ())

    def answers(self) -> dict[str, Any]:
        return dict(self._answers(()))

    def _answers(self, place: tuple[int, ...]) -> list[tuple[str, str]]:
        name = (
            self.op if not self.operands or self.op.startswith("repeat") else f"{self.op}{len(self.operands)}"
        )
        inside = [pair for i, node in enumerate(self.operands, 1) for pair in node._answers((*place, i))]
        return [(_path(place), name), *inside]

    @classmethod
    def count(cls, bounds: Bounds) -> int:
        total = 0
        for level in range(bounds["levels"][0], -1, -1):
            options = _options(tuple(bounds["ops"]), level, bounds["levels"][0])
            total = sum(total ** COMPOSITES[op][1] if op in COMPOSITES else 1 for op in options)
        return total

    @classmethod
    def read(cls, text: object) -> Derivation:
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise NasError("must be the text of a derivation, such as 'add(identity, seq(conv3x3, end3x3))'")
        tokens = re.findall(r"[a-z0-9@/]+|[(),]", text)[::-1]
        tree = _parse(tokens, 0)
        if tokens or str(tree) != text:
            raise NasError(f"{text!r} is not the text of a derivation", hint=f"did you mean {str(tree)!r}?")
        return tree

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.operands))})" if self.operands else self.op

    @cached_property
    def levels(self) -> int:
        return 1 + max(node.levels for node in self.operands) if self.operands else 0

    @cached_property
    def operations(self) -> int:
        return self._counted(lambda leaf: leaf != "identity")

    def measure(self) -> Mapping[str, int]:
        return {
            "operations": self.operations,
            "convolutions": self._counted(lambda leaf: "x" in leaf and leaf not in ("avg3x3", "max3x3")),
        }

    def _counted(self, wanted: Any) -> int:
        if not self.operands:
            return int(wanted(self.op))
        times = int(self.op.removeprefix("repeat")) if self.op.startswith("repeat") else 1
        return times * sum(node._counted(wanted) for node in self.operands)


def _path(place: tuple[int, ...]) -> str:
    return "op" + "_".join(map(str, place))


@lru_cache(maxsize=256)
def _options(ops: tuple[str, ...], level: int, levels: int) -> Weighted:
    """Return the options of a node with their prior, operations last."""
    composites = (
        [op for op in ops if op in COMPOSITES and COMPOSITES[op][1] <= CHILDREN[level]]
        if level < levels
        else []
    )
    leaves = [op for op in ops if op in LEAVES]
    share = COMPOSITE_SHARE[level] if composites else 0.0
    weights: list[float] = []
    for part, whole in ((composites, share), (leaves, 1 - share)):
        own = [PRIOR.get(re.sub(r"\d.*", "", op), 1.0) for op in part]
        weights += [whole * weight / sum(own) for weight in own]
    return Weighted((*composites, *leaves), weights)


def _derive(bounds: Bounds, choose: Choose, level: int, place: tuple[int, ...]) -> Derivation:
    op = choose(_path(place), _options(tuple(bounds["ops"]), level, bounds["levels"][0]))
    if op not in COMPOSITES:
        return Derivation(op)
    kind, count = COMPOSITES[op]
    return Derivation(
        kind, tuple(_derive(bounds, choose, level + 1, (*place, i)) for i in range(1, count + 1))
    )


def _parse(tokens: list[str], level: int) -> Derivation:
    """Read a node from the end of a list of tokens. Faults are found by comparing texts."""
    if level > MAX_LEVELS:
        raise NasError(f"more than {MAX_LEVELS} levels")
    op = tokens.pop() if tokens else ""
    operands: list[Derivation] = []
    if tokens and tokens[-1] == "(":
        while tokens and tokens.pop() != ")":
            operands.append(_parse(tokens, level + 1))
    return Derivation(op, tuple(operands))
