"""Graph of a network: a DAG of primitives and nested graphs.

Modules are written like a `forward` over symbolic values. Applying a primitive (or a
nested graph) to values adds a node and infers its shape at once, so a graph that exists
is valid. Nesting keeps the modules as units; `Graph.primitives` sees through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from nas.errors import NasError
from nas.graph.digest import digest

if TYPE_CHECKING:
    import networkx as nx

Shape = tuple[int, ...]
"""Without the batch: (channels, height, width) of a feature map, (features,) of a vector."""

INPUT = "input"
STEM, HEAD = "stem", "head"
"""Nodes of the graph of a network that hold its stem and its head."""


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as people write it: `3x32x32`."""
    return "x".join(map(str, shape))


def stage_of(name: str) -> str:
    """Return the stage in the name of a node: `stage1` of `stage1.block2`, all of a name without a dot."""
    return name.partition(".")[0]


def block_of(name: str) -> str:
    """Return the place within the stage: `block2` of `stage1.block2`, "" of a name without a dot."""
    return name.partition(".")[2]


class Operation(Protocol):
    """Protocol of a primitive or nested graph, as far as a graph relies on it."""

    commutative: ClassVar[bool]

    def shape(self, *inputs: Shape) -> Shape: ...


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node of a graph.

    op: a primitive or a nested `Graph`; None for the inputs of the graph.
    inputs: names of the nodes that it takes, in the order of its arguments.
    label: the name that a person would give its value in code, or "".
    """

    op: Any
    inputs: tuple[str, ...]
    shape: Shape
    label: str = ""


class Primitive(NamedTuple):
    """A node of the flattened graph. Its inputs are indices of earlier primitives; below zero they
    are the inputs of the graph (-1 is the first)."""

    path: str
    op: Any
    inputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    shape: Shape


class Value(NamedTuple):
    """Symbolic value that one node of a graph computes."""

    graph: Graph
    node: str
    shape: Shape

    @property
    def channels(self) -> int:
        return self.shape[0]

    def named(self, label: str) -> Value:
        """Set the name that the generated code gives to this value; an input keeps its own."""
        if self.node not in self.graph.input_names:
            nodes = self.graph.nodes
            nodes[self.node] = replace(nodes[self.node], label=label)
        return self


class Graph:
    """A DAG with a shape on every node, in topological order.

    kind: name of its class in generated code.
    auxiliary: weights of the auxiliary losses in training, by the node that gives their scores.
    arg_names: arguments of the `forward` that is generated for it.
    description: text for the reader of the generated code.
    retrace: the function that traces the same module at other input shapes, where there is one.
    module: the module that it expands, where there is one.
    variant: the function that made it from the expansion, and makes the like from other expansions.
    """

    commutative: ClassVar[bool] = False

    def __init__(self, kind: str, input_shapes: Sequence[Shape]) -> None:
        self.kind = kind
        self.input_shapes = tuple(input_shapes)
        count = len(self.input_shapes)
        self.input_names = (INPUT,) if count == 1 else tuple(f"{INPUT}{i + 1}" for i in range(count))
        self.nodes: dict[str, GraphNode] = {}
        self.output = INPUT
        self.auxiliary: dict[str, float] = {}
        self.arg_names = ("x",) if count == 1 else tuple(f"x{i + 1}" for i in range(count))
        self.description: object = ""
        self.retrace: Callable[..., Graph] | None = None
        self.module: Any = None
        self.variant: Callable[[Graph], Graph] | None = None
        self._counts: dict[str, int] = {}
        for name, shape in zip(self.input_names, self.input_shapes, strict=True):
            self.nodes[name] = GraphNode(None, (), shape)

    def __repr__(self) -> str:
        sizes = ", ".join(map(shape_text, (*self.input_shapes, self.output_shape)))
        return f"<Graph {self.kind}: {len(self.primitives)} primitives, {sizes}>"

    @property
    def input_shape(self) -> Shape:
        return self.input_shapes[0]

    @property
    def output_shape(self) -> Shape:
        return self.nodes[self.output].shape

    @cached_property
    def dag(self) -> nx.DiGraph:
        """The closed graph as a `networkx.DiGraph`, with the fields of `GraphNode` as attributes.
        It is made on demand, because most graphs of a search are never looked at in this form."""
        import networkx as nx

        dag = nx.DiGraph()
        for name, node in self.nodes.items():
            dag.add_node(name, **{item.name: getattr(node, item.name) for item in fields(node)})
            dag.add_edges_from((source, name) for source in node.inputs)
        return nx.freeze(dag)

    def shape(self, *inputs: Shape) -> Shape:
        """Return the output shape, as an operation of an outer graph does."""
        if inputs != self.input_shapes:
            raise NasError(f"{self.kind} was expanded for {self.input_shapes}, not {inputs}")
        return self.output_shape

    def add(self, op: Operation, values: Sequence[Value], name: str = "") -> Value:
        """Add a node that applies `op` to values of this graph.

        Raises NasError if shapes do not fit, ValueError for a value of another graph or a name
        that is in use.
        """
        for value in values:
            if value.graph is not self:
                raise ValueError("a value of another graph; pass it in as an input")
        name = name or self._fresh_name(op)
        if name in self.nodes:
            raise ValueError(f"two nodes named {name!r}")
        try:
            shape = op.shape(*[value.shape for value in values])
        except NasError as error:
            raise error.at(name) from None
        inputs = tuple([value.node for value in values])
        self.nodes[name] = GraphNode(op, inputs, shape)
        return Value(self, name, shape)

    def close(self, output: Value, auxiliary: Mapping[str, float] | None = None) -> Graph:
        """Declare the output, and the loss weights of auxiliary outputs by node. Return the graph.

        Raises ValueError if a node leads to none of them.
        """
        self.output = output.node
        self.auxiliary = dict(auxiliary or {})
        used = {self.output, *self.auxiliary, *self.input_names}
        for name in reversed(self.nodes):
            if name in used:
                used.update(self.nodes[name].inputs)
        if len(used) < len(self.nodes):
            unused = ", ".join(sorted(self.nodes.keys() - used))
            raise ValueError(f"{self.kind}: computed but never used: {unused}")
        return self

    def _fresh_name(self, op: Operation) -> str:
        base = str(op.kind.lower() if isinstance(op, Graph) else getattr(op, "label", "node"))
        count = self._counts[base] = self._counts.get(base, 0) + 1
        return f"{base}{count}"

    @cached_property
    def primitives(self) -> tuple[Primitive, ...]:
        """Flattened graph in topological order. Paths look like `stage1.block2/conv1`."""
        named: list[tuple[str, tuple[Shape, ...], Shape]] = []
        for name, node in self.nodes.items():
            op = node.op
            if isinstance(op, Graph):
                named += [(f"{name}/{path}", shapes, shape) for path, _, _, shapes, shape in op.primitives]
            elif op is not None:
                named.append((name, self.shapes_of(node.inputs), node.shape))
        rows = zip(named, self._links[0], strict=True)
        return tuple(
            [Primitive(path, op, inputs, shapes, shape) for (path, shapes, shape), (op, inputs) in rows]
        )

    def shapes_of(self, names: Sequence[str]) -> tuple[Shape, ...]:
        """Return the shapes of the nodes of these names."""
        return tuple([self.nodes[name].shape for name in names])

    @cached_property
    def size(self) -> int:
        """Number of primitives."""
        ops = [node.op for node in self.nodes.values()]
        return sum(op.size if isinstance(op, Graph) else op is not None for op in ops)

    @property
    def output_index(self) -> int:
        """Index of the output in `primitives`; below zero where an input is passed through."""
        return self._links[1]

    @cached_property
    def _links(self) -> tuple[tuple[tuple[Any, tuple[int, ...]], ...], int]:
        """Operation and inputs of each primitive, and the index of the output. A digest needs no more, so
        it does not wait for names and shapes."""
        flat: list[tuple[Any, tuple[int, ...]]] = []
        index = {name: -1 - i for i, name in enumerate(self.input_names)}
        for name, node in self.nodes.items():
            op = node.op
            if op is None:
                continue
            sources = tuple([index[source] for source in node.inputs])
            if not isinstance(op, Graph):
                index[name] = len(flat)
                flat.append((op, sources))
                continue
            offset = len(flat)
            links, inside = op._links
            for inner, inputs in links:
                if len(inputs) == 1:  # nearly all
                    i = inputs[0]
                    flat.append((inner, (i + offset if i >= 0 else sources[-1 - i],)))
                else:
                    flat.append((inner, tuple([i + offset if i >= 0 else sources[-1 - i] for i in inputs])))
            index[name] = inside + offset if inside >= 0 else sources[-1 - inside]
        return tuple(flat), index[self.output]

    def flatten(self) -> Graph:
        """Return the same network without nesting."""
        graph = Graph(self.kind, self.input_shapes)
        values = [Value(graph, name, graph.nodes[name].shape) for name in graph.input_names]
        inputs = list(values)
        flat: list[Value] = []
        for primitive in self.primitives:
            sources = [flat[i] if i >= 0 else inputs[-1 - i] for i in primitive.inputs]
            flat.append(graph.add(primitive.op, sources, primitive.path))
        k = self.output_index
        return graph.close(flat[k] if k >= 0 else inputs[-1 - k])

    @cached_property
    def digest(self) -> str:
        """32 hex digits, equal exactly for isomorphic networks, whatever their nesting and names.
        Shapes, class count and input channels do not enter."""
        return digest(*self._links)


def trace(kind: str, input_shapes: Sequence[Shape], function: Callable[..., Value]) -> Graph:
    """Return the graph of a function over symbolic values, given the shapes of its inputs."""
    graph = Graph(kind, input_shapes)
    graph.retrace = lambda *shapes: trace(kind, shapes, function)
    inputs = (Value(graph, n, s) for n, s in zip(graph.input_names, graph.input_shapes, strict=True))
    return graph.close(function(*inputs))
