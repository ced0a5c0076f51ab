"""Nodes of a genotype, and the order in which they are computed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, did_you_mean
from nas.graph.graph import STEM, block_of, stage_of
from nas.graph.ops import Add, Concat, Mean
from nas.modules import Head, Module

if TYPE_CHECKING:
    from nas.space.genotype import Genotype

INPUT_NODE = STEM
"""Input of the first nodes: the stem, or where there is none the image (the input of a cell)."""
JOINS = {"add": Add(), "mean": Mean(), "concat": Concat()}
NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
RESERVED_NAMES = re.compile(r"(stem|head|classifier|input|aux)\d*(\..*)?|(.*\.)?join")
"""Names of the parts that every network has, which no node can have."""
MAX_INPUTS = 64


@dataclass(frozen=True)
class Node:
    """Module with the names of the nodes that it takes, and the join of several."""

    name: str
    module: Module | Genotype
    inputs: tuple[str, ...]
    join: str = "add"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name) or len(self.name) > 64:
            raise NasError(f"bad name {self.name!r}", hint="lower-case words joined by dots: stage1.block2")
        if RESERVED_NAMES.fullmatch(self.name):
            raise NasError("the network has a part of this name", where=self.name)
        if len(self.inputs) > MAX_INPUTS:
            raise NasError(f"takes {len(self.inputs)} nodes, more than {MAX_INPUTS}", where=self.name)
        if not self.inputs or len(set(self.inputs)) != len(self.inputs):
            raise NasError("needs one input or several different ones", where=self.name)
        if self.join not in JOINS:
            raise NasError(
                f"unknown join {self.join!r}", where=self.name, hint=did_you_mean(self.join, JOINS)
            )
        if len(self.inputs) == 1:
            object.__setattr__(self, "join", "add")  # equal when nothing is joined

    @property
    def stage(self) -> str:
        """Stage that the node belongs to: `stage1` of `stage1.block2`."""
        return stage_of(self.name)

    @property
    def block(self) -> str:
        """Place within the stage: `block2` of `stage1.block2`, "" where the name has no dot."""
        return block_of(self.name)

    @cached_property
    def text(self) -> str:
        """Text of its module on one line."""
        return str(self.module) if isinstance(self.module, Module) else f"[{self.module}]"

    def to_dict(self) -> dict[str, Any]:
        join = {"join": self.join} if len(self.inputs) > 1 else {}
        return {"name": self.name, "inputs": list(self.inputs), **join, "module": self.module.to_dict()}


@dataclass(frozen=True)
class Auxiliary:
    """Head at an inner node, whose loss is added with this weight in training only."""

    node: str
    head: Head
    weight: float = 0.3

    def __post_init__(self) -> None:
        if type(self.weight) not in (int, float) or not 0 < self.weight <= 10:
            raise NasError(f"the weight must be above 0 and at most 10, not {self.weight!r}", where=self.node)

    def to_dict(self) -> dict[str, Any]:
        return {"node": self.node, "weight": self.weight, "head": self.head.to_dict()}


def ordered(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Sort nodes topologically, in an order that does not depend on the one given. NasError for a cycle or
    an unknown input."""
    by_name = {node.name: node for node in nodes}
    if len(by_name) < len(nodes):
        names = [node.name for node in nodes]
        twice = next(name for name in names if names.count(name) > 1)
        raise NasError("two nodes of this name", where=twice)
    if [node.inputs for node in nodes] == [(name,) for name in (INPUT_NODE, *by_name)][:-1]:
        return tuple(nodes)  # a chain has only one order
    return _sorted(nodes, by_name)


def _sorted(nodes: Sequence[Node], by_name: Mapping[str, Node]) -> tuple[Node, ...]:
    import networkx as nx

    dag = nx.DiGraph()
    for node in nodes:
        for name in node.inputs:
            if name != INPUT_NODE and name not in by_name:
                hint = did_you_mean(name, [INPUT_NODE, *by_name])
                raise NasError(f"takes {name!r}, which is not a node", where=node.name, hint=hint)
            dag.add_edge(name, node.name)
    try:
        order = list(nx.lexicographical_topological_sort(dag, key=_natural))
    except nx.NetworkXUnfeasible:
        cycle = " -> ".join(a for a, _ in nx.find_cycle(dag))
        raise NasError(f"a cycle: {cycle}", where="nodes") from None
    sinks = [name for name in order if not dag.out_degree(name)]
    if len(sinks) > 1:
        raise NasError("no other node takes it, and only one may feed the head", where=sinks[0])
    return tuple(by_name[name] for name in order if name != INPUT_NODE)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(number or -1), word) for word, number in re.findall(r"(\D+)(\d*)", name)]
