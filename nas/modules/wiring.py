"""Wiring of a cell: a small DAG whose operations stand on its edges or on its nodes.

Node 0 is the input, the last node the output. A node joins what it takes from earlier nodes. Operations stand
on the edges (NAS-Bench-201, DARTS), or on the nodes behind their joins (NAS-Bench-101). A space bounds how
many earlier nodes a node takes (`inputs`); the output then joins the nodes that no other takes. Without that
bound every node takes all earlier ones, each by an operation or by none.

As text: `edges add/add: conv3x3(0); identity(0) + conv1x1(1)` has the inner join before the slash and that
of the output after it; `nodes add/concat: conv3x3(0); dw3x3(0 + 1); identity(1 + 2)` has operations on nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from math import prod
from typing import Any, ClassVar

from nas.errors import NasError, did_you_mean
from nas.graph.graph import Value
from nas.modules.operations import IDENTITY, NONE, OPERATIONS, has_weights
from nas.modules.structure import Bounds, Choose, Structure

JOINS = ("add", "mean", "concat")
MAX_NODES = 8
MAX_TEXT = 2000
TERM = re.compile(r"([a-z]+(?:\dx\d)?)\(((?:\d(?: \+ \d)*)?)\)")


@dataclass(frozen=True)
class CellNode:
    """Node of a cell: the operation after its join, and the operation on each edge into it by source."""

    op: str
    inputs: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Wiring(Structure):
    """DAG of a cell.

    ops_on: "edges" or "nodes". join: how inner nodes join their inputs; output: how the last node does.
    """

    ops_on: str
    join: str
    output: str
    nodes: tuple[CellNode, ...]

    keys: ClassVar[Bounds] = {
        "ops_on": ("edges", "nodes"),
        "nodes": range(1, MAX_NODES + 1),
        "inputs": range(1, MAX_NODES + 1),
        "ops": (*OPERATIONS, NONE),
        "join": JOINS,
        "output": JOINS,
    }
    optional: ClassVar[tuple[str, ...]] = ("inputs",)
    figures: ClassVar[tuple[str, ...]] = ("edges", "paths")

    def __post_init__(self) -> None:
        if not 1 <= len(self.nodes) <= MAX_NODES:
            raise NasError(f"needs 1 to {MAX_NODES} nodes, not {len(self.nodes)}")
        for name, options in ((self.ops_on, self.keys["ops_on"]), (self.join, JOINS), (self.output, JOINS)):
            if name not in options:
                raise NasError(f"unknown {name!r}", hint=did_you_mean(name, options))
        for j, node in enumerate(self.nodes, start=1):
            for op in (node.op, *(op for _, op in node.inputs)):
                if op not in OPERATIONS:
                    raise NasError(
                        f"node {j} has unknown operation {op!r}", hint=did_you_mean(op, OPERATIONS)
                    )
            sources = [i for i, _ in node.inputs]
            if sources != sorted(set(sources)) or not all(0 <= i < j for i in sources):
                raise NasError(f"node {j} must take different earlier nodes in their order, not {sources}")
        if self.ops_on == "nodes" and self.nodes[-1].op != IDENTITY:
            raise NasError(f"the last node only joins, so its operation is {IDENTITY}")

    @classmethod
    def build(cls, bounds: Bounds, choose: Choose) -> Wiring:
        ops_on, count = choose("ops_on", bounds["ops_on"]), choose("nodes", bounds["nodes"])
        output = choose("output", bounds["output"])
        join = choose("join", bounds["join"]) if count > 1 else output
        return cls(ops_on, join, output, tuple(_nodes(ops_on, count, bounds, choose)))

    def answers(self) -> dict[str, Any]:
        answers: dict[str, Any] = {"ops_on": self.ops_on, "nodes": len(self.nodes)}
        answers |= {"join": self.join, "output": self.output}
        for j, node in enumerate(self.nodes, start=1):
            taken = dict(node.inputs)
            answers[f"op{j}"], answers[f"in{j}"] = node.op, _subset_name(taken)
            answers |= {f"op{i}_{j}": taken.get(i, NONE) for i in range(j)}
        return answers

    @classmethod
    def count(cls, bounds: Bounds) -> int:
        total = 0
        for ops_on, nodes in product(bounds["ops_on"], bounds["nodes"]):
            joins = len(bounds["output"]) * (len(bounds["join"]) if nodes > 1 else 1)
            if "inputs" not in bounds:
                total += joins * len(bounds["ops"]) ** (nodes * (nodes + 1) // 2)
                continue
            ops = len(_without_none(bounds))
            inner = (_subsets(j, bounds["inputs"]) for j in range(1, nodes))
            total += joins * prod(
                sum(ops ** (len(taken) if ops_on == "edges" else 1) for taken in subsets) for subsets in inner
            )
        return total

    @classmethod
    def read(cls, text: object) -> Wiring:
        form = "edges add/add: conv3x3(0); identity(0) + conv1x1(1)"
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise NasError(f"must be the text of a wiring, such as {form!r}")
        head, _, body = text.partition(": ")
        on, _, joins = head.partition(" ")
        join, _, output = joins.partition("/")
        nodes = [_node(on, part) for part in body.split("; ")[: MAX_NODES + 1]]
        wiring = cls(on, join, output, tuple(nodes))
        if str(wiring) != text:
            raise NasError(f"{text!r} is not the text of a wiring", hint=f"did you mean {str(wiring)!r}?")
        return wiring

    @classmethod
    def problem(cls, bounds: Mapping[str, Any]) -> str:
        if "inputs" in bounds:
            return ""
        if bounds.get("ops_on") == "edges":
            return ""
        return "operations on nodes need 'inputs', how many earlier nodes each takes; or set ops_on: edges"

    def __str__(self) -> str:
        return f"{self.ops_on} {self.join}/{self.output}: {'; '.join(map(self._text, self.nodes))}"

    def _text(self, node: CellNode) -> str:
        if self.ops_on == "nodes":
            return f"{node.op}({' + '.join(str(i) for i, _ in node.inputs)})"
        return " + ".join(f"{op}({i})" for i, op in node.inputs) or NONE

    @cached_property
    def alive(self) -> tuple[tuple[int, str, int], ...]:
        """Source, operation and target of the edges on paths from input to output; the others do nothing."""
        reached, used = {0}, {len(self.nodes)}
        for j, node in enumerate(self.nodes, start=1):
            reached |= {j for i, _ in node.inputs if i in reached}
        for j in range(len(self.nodes), 0, -1):
            used |= {i for i, _ in self.nodes[j - 1].inputs if j in used}
        pairs = ((i, op, j) for j, node in enumerate(self.nodes, start=1) for i, op in node.inputs)
        return tuple((i, op, j) for i, op, j in pairs if i in reached and j in used)

    def measure(self) -> Mapping[str, int]:
        paths = {0: 1}
        for i, _, j in self.alive:
            paths[j] = paths.get(j, 0) + paths[i]
        return {"edges": len(self.alive), "paths": paths.get(len(self.nodes), 0)}

    def connect(
        self, x: Value, operate: Callable[[str, Value], Value], join: Callable[[str, list[Value]], Value]
    ) -> Value | None:
        """Compute the output from the input; None where no path leads there.

        operate: applies the operation of a name. join: joins several values by a name of `JOINS`. Values are
        labelled by operation and edge, or by node. An operation without weights is applied once to a value.
        """
        values, known = {0: x}, dict[tuple[str, str], Value]()

        def apply(op: str, value: Value, label: str) -> Value:
            if op == IDENTITY or (op, value.node) in known:
                return known.get((op, value.node), value)
            result = operate(op, value).named(label)
            if not has_weights(op):
                known[op, value.node] = result
            return result

        for j, node in enumerate(self.nodes, start=1):
            edges = [(i, op) for i, op, target in self.alive if target == j]
            parts = [apply(op, values[i], f"{op}_{i}_{j}") for i, op in edges]
            if parts:
                kind = self.output if j == len(self.nodes) else self.join
                joined = parts[0] if len(parts) == 1 else join(kind, parts).named(f"node{j}")
                values[j] = apply(node.op, joined, f"{node.op}_{j}")
        return values.get(len(self.nodes))


def _without_none(bounds: Bounds) -> tuple[str, ...]:
    return tuple(op for op in bounds["ops"] if op != NONE)


def _subset_name(sources: Iterable[int]) -> str:
    return "+".join(map(str, sources))


def _subsets(node: int, sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the sets of earlier nodes that a node may take; all of them where there are fewer than bounds
    ask for."""
    sizes = sorted({min(size, node) for size in sizes})
    return [subset for size in sizes for subset in combinations(range(node), size)]


def _nodes(ops_on: str, count: int, bounds: Bounds, choose: Choose) -> Iterator[CellNode]:
    if "inputs" not in bounds:
        for j in range(1, count + 1):
            chosen = [(i, choose(f"op{i}_{j}", bounds["ops"])) for i in range(j)]
            yield CellNode(IDENTITY, tuple((i, op) for i, op in chosen if op != NONE))
        return
    ops, loose = _without_none(bounds), {0}
    by = f"[ops_on={ops_on}]" if len(bounds["ops_on"]) > 1 else ""  # which operations are asked for
    for j in range(1, count):
        named = {_subset_name(subset): subset for subset in _subsets(j, bounds["inputs"])}
        sources = named[choose(f"in{j}{by}", tuple(named))]
        loose = (loose | {j}) - set(sources)
        if ops_on == "edges":
            yield CellNode(IDENTITY, tuple((i, choose(f"op{i}_{j}", ops)) for i in sources))
        else:
            yield CellNode(choose(f"op{j}", ops), tuple((i, IDENTITY) for i in sources))
    yield CellNode(IDENTITY, tuple((i, IDENTITY) for i in sorted(loose)))


def _node(on: str, text: str) -> CellNode:
    """Read a node. What the expression does not match is found by comparing the text of all."""
    terms = TERM.findall(text)
    if on == "nodes":
        op, sources = terms[0] if terms else ("", "")
        return CellNode(op, tuple((int(i), IDENTITY) for i in re.findall(r"\d", sources)))
    return CellNode(IDENTITY, tuple((int(sources or 9), op) for op, sources in terms if " " not in sources))
