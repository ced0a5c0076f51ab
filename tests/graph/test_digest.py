"""The digest of a network is equal exactly for isomorphic networks.

The judge is networkx, whose algorithm (VF2: a search for a mapping) shares nothing with ours (refined
colours and certificates).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import combinations

import networkx as nx
import pytest

from nas.errors import NasError
from nas.graph.digest import identity
from nas.graph.graph import Graph, Value
from nas.graph.ops import Add, Concat, Conv, Mean, Relu
from nas.modules import ConvStem, Fractal, PoolHead
from nas.space.genotype import Genotype, Node

IMAGE = (4, 8, 8)
JOINS = (Add(), Mean(), Concat())
Join = Add | Mean | Concat
Layer = list[list[int]]


def layered(
    layers: list[list[list[int]]], join: Add | Mean | Concat, rng: random.Random | None = None
) -> Graph:
    """A network of layers; each node of a layer joins the nodes of the layer before that it names.

    With `rng` the nodes are made in another order, and commutative joins take theirs in another.
    """

    def shuffled(items: list) -> list:
        return rng.sample(items, len(items)) if rng else items

    graph = Graph("Network", [IMAGE])
    x = Value(graph, *graph.input_names, IMAGE)
    width = 1 + max(source for node in layers[0] for source in node)
    before = {i: Conv(4)(x) for i in shuffled(list(range(width)))}
    for layer in layers:
        nodes = {}
        for i in shuffled(list(range(len(layer)))):
            sources = [before[source] for source in layer[i]]
            sources = shuffled(sources) if join.commutative else sources
            nodes[i] = Conv(4)(join(*sources) if len(sources) > 1 else Relu()(*sources))
        before = nodes
    taken = {source for node in graph.nodes.values() for source in node.inputs}
    ends = [Value(graph, name, IMAGE) for name in graph.nodes if name not in taken and name != "input"]
    return graph.close(Add()(*shuffled(ends)) if len(ends) > 1 else ends[0])


def as_networkx(graph: Graph) -> nx.DiGraph:
    """The primitives with their operations, and the slots in which each takes another."""
    dag = nx.DiGraph()
    dag.add_node(-1, op="input", is_output=False)
    for i, (_, op, inputs, _, _) in enumerate(graph.primitives):
        dag.add_node(i, op=identity(op), is_output=i == graph.output_index)
        for source in set(inputs):
            slots = tuple(0 if op.commutative else slot for slot, j in enumerate(inputs) if j == source)
            dag.add_edge(source, i, slots=slots)
    return dag


def isomorphic(a: Graph, b: Graph) -> bool:
    return nx.is_isomorphic(
        as_networkx(a),
        as_networkx(b),
        node_match=lambda one, other: one == other,
        edge_match=lambda one, other: one == other,
    )


def permutations(rng: random.Random, size: int, count: int) -> Layer:
    """Each node of a layer takes one node by each of `count` permutations: rotations, which make
    symmetric graphs, or any, which make regular ones."""
    if rng.random() < 0.6:
        shifts = [rng.randrange(size) for _ in range(count)]
        return [[(i + shift) % size for shift in shifts] for i in range(size)]
    mappings = [rng.sample(range(size), size) for _ in range(count)]
    return [[mapping[i] for mapping in mappings] for i in range(size)]


def pairs(count: int, seed: int) -> Iterator[tuple[Graph, Graph]]:
    """Networks that colours alone often cannot tell apart; about half are the same in another order."""
    rng = random.Random(seed)
    for _ in range(count):
        size, degree, join = rng.randint(2, 6), rng.randint(1, 3), rng.choice(JOINS)
        depth = rng.randint(1, 2)
        first = [permutations(rng, size, degree) for _ in range(depth)]
        second = first
        if rng.random() < 0.6:
            second = [permutations(rng, size, degree) for _ in range(depth)]
        yield layered(first, join), layered(second, join, rng)


def check_pairs(count: int, seed: int) -> None:
    outcomes = {True: 0, False: 0}
    for a, b in pairs(count, seed):
        same = isomorphic(a, b)
        assert (a.digest == b.digest) == same
        outcomes[same] += 1
    assert min(outcomes.values()) > count / 5


def test_digests_are_equal_exactly_for_isomorphic_networks() -> None:
    check_pairs(200, seed=0)


Step = tuple[str, list[int]]
"""An operation and the earlier steps that it takes; -1 is the image."""


def random_steps(rng: random.Random) -> list[Step]:
    sizes = {"relu": 1, "add": rng.randint(2, 3), "concat": 2}
    names = [rng.choice(["relu", "add", "add", "concat"]) for _ in range(rng.randint(3, 9))]
    return [(name, [rng.randrange(-1, i) for _ in range(sizes[name])]) for i, name in enumerate(names)]


def follow(steps: list[Step], rng: random.Random) -> Graph:
    """The network of these steps, made in a random topological order."""
    graph = Graph("Network", [IMAGE])
    values = {-1: Value(graph, *graph.input_names, IMAGE)}
    while len(values) <= len(steps):
        ready = [i for i, (_, taken) in enumerate(steps) if i not in values and values.keys() >= set(taken)]
        i = rng.choice(ready)
        name, taken = steps[i]
        sources = [values[source] for source in taken]
        if name == "concat":
            values[i] = Conv(4)(Concat()(*sources))
        else:
            values[i] = Add()(*rng.sample(sources, len(sources))) if name == "add" else Relu()(*sources)
    used = {source for _, taken in steps for source in taken}
    ends = [values[i] for i in range(len(steps)) if i not in used]
    return graph.close(Add()(*rng.sample(ends, len(ends))) if len(ends) > 1 else ends[0])


def test_digests_of_any_graphs_that_differ_in_one_step() -> None:
    rng, outcomes = random.Random(0), {True: 0, False: 0}
    for _ in range(300):
        steps = random_steps(rng)
        graph = follow(steps, rng)
        assert follow(steps, rng).digest == graph.digest
        i = rng.randrange(len(steps))
        name, taken = steps[i]
        other = follow([*steps[:i], (name, [rng.randrange(-1, i) for _ in taken]), *steps[i + 1 :]], rng)
        same = isomorphic(graph, other)
        assert (other.digest == graph.digest) == same
        outcomes[same] += 1
    assert min(outcomes.values()) > 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_digests_of_twenty_thousand_pairs(seed: int) -> None:
    check_pairs(2000, seed)


def neighbourhoods(graph: nx.Graph) -> Layer:
    """A layer in which each node takes the neighbours of a vertex."""
    graph = nx.convert_node_labels_to_integers(graph)
    return [list(graph[vertex]) for vertex in graph]


def incidences(graph: nx.Graph) -> Layer:
    """A layer in which each node takes the ends of an edge."""
    return [list(edge) for edge in nx.convert_node_labels_to_integers(graph).edges]


def rook(size: int) -> nx.Graph:
    return nx.line_graph(nx.complete_bipartite_graph(size, size))


def shrikhande() -> nx.Graph:
    steps = [(1, 0), (0, 1), (1, 1)]
    places = [(i, j) for i in range(4) for j in range(4)]
    return nx.Graph([((i, j), ((i + a) % 4, (j + b) % 4)) for i, j in places for a, b in steps])


def projective_plane(order: int) -> Layer:
    """Lines over a prime field, each with its points."""
    field = range(order)
    points = [(1, y, z) for y in field for z in field] + [(0, 1, z) for z in field] + [(0, 0, 1)]
    return [
        [
            i
            for i, point in enumerate(points)
            if sum(a * b for a, b in zip(point, line, strict=True)) % order == 0
        ]
        for line in points
    ]


SYMMETRIC = {
    "cycle": incidences(nx.cycle_graph(66)),
    "cycles": incidences(nx.disjoint_union_all([nx.cycle_graph(4)] * 16)),
    "torus": neighbourhoods(nx.grid_2d_graph(8, 8, periodic=True)),
    "hypercube": neighbourhoods(nx.hypercube_graph(6)),
    "crown": neighbourhoods(nx.complete_graph(60)),
    "complete": incidences(nx.complete_graph(12)),
    "petersen": incidences(nx.disjoint_union_all([nx.petersen_graph()] * 5)),
    "hoffman-singleton": neighbourhoods(nx.hoffman_singleton_graph()),
    "rook": neighbourhoods(rook(6)),
    "projective plane": projective_plane(7),
    "random regular": incidences(nx.random_regular_graph(3, 60, seed=1)),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_networks_of_about_200_nodes_are_identified_quickly(name: str) -> None:
    rng = random.Random(0)
    digests, seconds = set(), []
    for _ in range(4):
        graph = layered([SYMMETRIC[name]], Add(), rng)
        start = time.process_time()
        digests.add(graph.digest)
        seconds.append(time.process_time() - start)
    assert len(digests) == 1
    assert min(seconds) < 0.25  # 50 ms and less on a quiet machine


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (incidences(nx.cycle_graph(8)), incidences(nx.disjoint_union(*[nx.cycle_graph(4)] * 2))),
        (incidences(rook(4)), incidences(shrikhande())),
        (incidences(nx.dodecahedral_graph()), incidences(nx.desargues_graph())),
        ([[i, i] for i in range(2)], [[0, 1], [0, 1]]),
        (
            incidences(nx.random_regular_graph(3, 40, seed=1)),
            incidences(nx.random_regular_graph(3, 40, seed=2)),
        ),
    ],
    ids=["cycles", "strongly regular", "distance regular", "used twice", "random regular"],
)
def test_networks_that_refined_colours_cannot_tell_apart_differ(one: Layer, other: Layer) -> None:
    assert layered([one], Add()).digest != layered([other], Add()).digest
    assert layered([one], Add()).digest == layered([one], Add(), random.Random(1)).digest


def furer(base: nx.Graph, twisted: bool) -> Layer:
    """The graph of Cai, Fürer and Immerman over `base`: with one edge twisted it is another graph, which
    no refinement by tuples of few vertices can tell."""
    graph, edges = nx.Graph(), list(base.edges)
    for vertex in base:
        own = [edge for edge in edges if vertex in edge]
        for even in (set(some) for size in range(0, len(own) + 1, 2) for some in combinations(own, size)):
            graph.add_edges_from(((vertex, frozenset(even)), (vertex, edge, edge in even)) for edge in own)
    for edge in edges:
        for bit in (False, True):
            other = bit != (twisted and edge == edges[0])
            graph.add_edge((edge[0], edge, bit), (edge[1], edge, other))
    return incidences(graph)


@pytest.mark.parametrize("base", [nx.complete_graph(4), nx.petersen_graph()], ids=["K4", "petersen"])
def test_twisted_graphs_differ(base: nx.Graph) -> None:
    digests = [layered([furer(base, twisted)], Add()).digest for twisted in (False, True)]
    assert digests[0] != digests[1]
    again = [layered([furer(base, twisted)], Add(), random.Random(1)).digest for twisted in (False, True)]
    assert again == digests


def test_a_graph_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.graph.symmetry.MAX_WORK", 100)
    with pytest.raises(NasError, match="too symmetric"):
        layered([SYMMETRIC["torus"]], Add()).digest  # noqa: B018


def test_a_cycle_of_joins_differs_from_two() -> None:
    def genotype(takes: str) -> Genotype:
        """Four modules at the stem, and four that each join the two named."""
        first = [Node(f"a{i}", Fractal(8), ("stem",)) for i in range(4)]
        second = [Node(f"b{i}", Fractal(8), tuple(pair.split())) for i, pair in enumerate(takes.split(", "))]
        last = Node("c", Fractal(8), tuple(node.name for node in second))
        return Genotype(ConvStem(4), (*first, *second, last), PoolHead())

    cycle = genotype("a0 a1, a1 a2, a2 a3, a3 a0")
    assert cycle.digest != genotype("a0 a1, a0 a1, a2 a3, a2 a3").digest
    assert cycle.digest == genotype("a2 a0, a0 a3, a1 a3, a1 a2").digest
