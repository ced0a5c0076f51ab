"""Bounds of genotypes, accepted at the limit and refused beyond it, and forms that are read back whole."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from nas.errors import NasError
from nas.modules import AuxiliaryHead, ConvStem, Plain, PoolHead
from nas.space import genotype as genotype_module
from nas.space.genotype import Auxiliary, Genotype, Node, expand
from nas.zoo import zoo_entry


def chain(count, width=4, **parts):
    names = ["stem", *(f"s1.b{i}" for i in range(count))]
    nodes = tuple(Node(name, Plain(width=width), (before,)) for before, name in pairwise(names))
    return Genotype(ConvStem(width=width), nodes, PoolHead(), **parts)


def wide(count):
    """A node that takes `count` others."""
    inner = [Node(f"a{i}", Plain(width=4), ("stem",)) for i in range(count)]
    return Genotype(
        ConvStem(width=4),
        (*inner, Node("z", Plain(width=4), tuple(f"a{i}" for i in range(count)))),
        PoolHead(),
    )


def with_heads(count):
    nodes = [f"s1.b{i}" for i in range(count)]
    return chain(count + 1, auxiliary=tuple(Auxiliary(node, PoolHead()) for node in nodes))


def nested(depth):
    """A genotype in a genotype, so many times, as JSON."""
    module = {"type": "plain", "width": 4}
    for _ in range(depth):
        module = {"type": "genotype", "nodes": [{"name": "a", "inputs": ["stem"], "module": module}]}
    data = chain(1).to_dict()
    data["nodes"][0]["module"] = module
    return Genotype.from_dict(data)


def padded(size):
    """JSON of so many characters."""
    return Genotype.from_json(chain(1).to_json().ljust(size))


@pytest.mark.parametrize(
    ("make", "limit", "message"),
    [
        (lambda n: Node("a" * n, Plain(width=4), ("stem",)), 64, "bad name"),
        (wide, 64, "takes 65 nodes, more than 64"),
        (chain, 1024, "needs 1 to 1024 nodes, not 1025"),
        (with_heads, 8, "more than 8 heads"),
        (lambda n: Auxiliary("a", PoolHead(), n), 10, "at most 10, not 11"),
        (nested, 4, "nested deeper than 4"),
        (padded, 1 << 20, "larger than 1,048,576 characters"),
        (lambda n: expand(chain(1), (3, n, 8)), 1 << 16, "from 1 to 65536, not 65537"),
        (lambda n: expand(chain(1), num_classes=n), 1 << 16, "from 1 to 65536, not 65537"),
    ],
)
def test_a_limit_is_accepted_and_one_more_is_not(make, limit, message):
    assert make(limit)
    with pytest.raises(NasError, match=message):
        make(limit + 1)


@pytest.mark.parametrize("weight", [0, 0.0, -0.1, True, "1", float("nan")])
def test_a_weight_that_is_none(weight):
    with pytest.raises(NasError, match="the weight must be above 0"):
        Auxiliary("a", PoolHead(), weight)


def test_the_primitives_of_all_nodes_are_counted(monkeypatch):
    network = chain(3)
    graph = expand(network)
    count = sum(graph.nodes[node.name].op.size for node in network.nodes)
    assert count > 9
    for limit, fits in ((count, True), (count - 1, False)):
        genotype_module._expanded.cache_clear()
        monkeypatch.setattr(genotype_module, "MAX_PRIMITIVES", limit)
        if fits:
            expand(network)
        else:
            with pytest.raises(NasError, match=rf"s1\.b2: the network has more than {limit} primitives"):
                expand(network)


@pytest.mark.parametrize("name", ["googlenet_aux", "fcn_resnet50_aux", "fcn8s", "fractalnet20"])
def test_networks_of_the_zoo_are_read_back(name):
    network = zoo_entry(name).build()
    data = json.loads(network.to_json())
    assert Genotype.from_json(network.to_json()) == network
    assert Genotype.from_dict(data).to_dict() == data


def test_every_part_is_in_the_json():
    inner = Genotype(None, (Node("a", Plain(width=4), ("stem",)), Node("b", Plain(width=4), ("a",))))
    nodes = (
        Node("s1.b1", Plain(width=4), ("stem",)),
        Node("s1.b2", inner, ("s1.b1",)),
        Node("s1.b3", Plain(width=4), ("s1.b1", "s1.b2"), "mean"),
    )
    heads = (Auxiliary("s1.b2", AuxiliaryHead(grid=2, channels=16, hidden=64), 0.5),)
    network = Genotype(ConvStem(width=4), nodes, PoolHead(), auxiliary=heads)
    data = json.loads(network.to_json())
    assert data["auxiliary"][0]["weight"] == 0.5
    assert data["nodes"][2]["join"] == "mean"
    assert data["nodes"][1]["module"]["type"] == "genotype"
    assert Genotype.from_json(network.to_json()) == network
    assert json.loads(network.to_json(indent=1)) == data
    graph = expand(network, (3, 8, 8), 10, auxiliary=True)
    assert graph.auxiliary == {"aux1": 0.5}


def test_stages_are_apart_on_the_one_line():
    names = ["stem", "stage1.block1", "stage1.block2", "stage2.block1"]
    nodes = tuple(Node(name, Plain(width=4), (before,)) for before, name in pairwise(names))
    network = Genotype(ConvStem(width=4), nodes, PoolHead())
    assert str(network) == "conv 4 | 2 x plain 4 | plain 4 | pool"
    assert [(node.stage, node.block) for node in nodes][1:] == [("stage1", "block2"), ("stage2", "block1")]


def test_nodes_have_their_natural_order():
    names = [f"b{i}" for i in range(12)]
    fan = [Node(name, Plain(width=4), ("stem",)) for name in names]
    for order in (fan, fan[::-1], fan[6:] + fan[:6]):
        network = Genotype(ConvStem(width=4), (*order, Node("end", Plain(width=4), tuple(names))), PoolHead())
        assert [node.name for node in network.nodes] == [*names, "end"]


@pytest.mark.parametrize("without", ["stem", "head", None])
def test_a_genotype_with_ends_is_no_module(without):
    inner = replace(chain(1), **{without: None}) if without else chain(1)
    outer = Genotype(ConvStem(width=4), (Node("a", inner, ("stem",)),), PoolHead())
    with pytest.raises(NasError, match="cannot be nested"):
        expand(outer)
    with pytest.raises(NasError, match="only a genotype with a head"):
        expand(Genotype(None, (Node("a", Plain(width=4), ("stem",)),)))
