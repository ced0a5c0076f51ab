"""Graph of a derivation.

Branches of an addition, a mean or a gate have one width: that of the last, to which a 1x1 convolution
projects the others where they differ. A mean that ends a branch of a mean is merged into it, as in a fractal
block. A convolution has no more groups than divide its channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import gcd
from typing import NamedTuple

from nas.graph.graph import Value
from nas.graph.ops import AdaptiveAvgPool, Add, Concat, Conv, Mean, Scale, Sigmoid
from nas.modules.conv_blocks import PLACEMENTS, ConvSpec, activate, nested_conv_unit
from nas.modules.derivation import CONVOLUTIONS, JOINS, Derivation
from nas.modules.operations import operate


class Context(NamedTuple):
    """Width of the module, and the places of batch norm and activation."""

    width: int
    norm: str


def derive(tree: Derivation, x: Value, context: Context, place: str = "") -> Value:
    """Apply a derivation; `place` tells its branches from those of others in the code."""
    if tree.op in JOINS:
        return _join(tree, x, context, place)
    if tree.operands:
        steps = tree.operands * (int(tree.op.removeprefix("repeat")) if tree.op != "seq" else 1)
        for i, step in enumerate(steps, start=1):
            x = derive(step, x, context, f"{place}_{i}")
        return x
    if tree.op == "act":
        return activate(x, PLACEMENTS[context.norm].joined)
    if tree.op not in CONVOLUTIONS:
        return operate(tree.op, x, context.width, context.norm)
    kind, kernel, ratio, groups = CONVOLUTIONS[tree.op]
    width = max(1, int(context.width * Fraction(ratio)))
    spec = ConvSpec(width, kernel, groups=gcd(groups, x.channels, width))
    return nested_conv_unit(x, spec, context.norm, last=kind == "end")


def _join(tree: Derivation, x: Value, context: Context, place: str) -> Value:
    branches = list(_branches(tree, x, context, place))
    if tree.op == "concat":
        return Concat()(*branches)
    width = branches[-1].channels
    same = [b if b.channels == width else Conv(width, 1)(b).named("projection") for b in branches]
    if tree.op == "gated":
        return Scale()(same[1], Sigmoid()(AdaptiveAvgPool(1)(same[0])).named("weights"))
    return (Add() if tree.op == "add" else Mean())(*same)


def _branches(tree: Derivation, x: Value, context: Context, place: str) -> Iterator[Value]:
    for i, branch in enumerate(tree.operands, start=1):
        before, last = x, branch
        if tree.op == "mean" and branch.op == "seq":
            *steps, last = branch.operands
            for k, step in enumerate(steps, start=1):
                before = derive(step, before, context, f"{place}_{i}_{k}")
        if tree.op == last.op == "mean":
            yield from _branches(last, before, context, f"{place}_{i}")
            continue
        value = derive(last, before, context, f"{place}_{i}")
        yield value if value.node in (x.node, before.node) else value.named(f"branch{place}_{i}")
