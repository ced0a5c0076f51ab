import json

import pytest

from nas.errors import NasError
from nas.graph.cost import cost
from nas.modules import ConvStem, Plain, PoolHead, Residual
from nas.space.genotype import Genotype, Node, expand


def chain(*modules):
    names = ["stem", *(f"stage1.block{i + 1}" for i in range(len(modules)))]
    nodes = tuple(
        Node(name, m, (before,)) for before, name, m in zip(names, names[1:], modules, strict=False)
    )
    return Genotype(ConvStem(width=16), nodes, PoolHead())


def diamond(order=(0, 1, 2, 3), join="add"):
    nodes = [
        Node("a", Plain(width=16), ("stem",)),
        Node("b", Plain(width=16, kernel=5), ("a",)),
        Node("c", Plain(width=16, convs=1), ("a",)),
        Node("d", Plain(width=16), ("b", "c"), join),
    ]
    return Genotype(ConvStem(width=16), tuple(nodes[i] for i in order), PoolHead())


def test_node_order_does_not_matter():
    orders = [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)]
    assert len({diamond(order) for order in orders}) == 1
    assert len({diamond(order).digest for order in orders}) == 1


def test_digest_ignores_names_and_the_order_of_summands():
    swapped = Genotype(
        ConvStem(width=16),
        (
            Node("p", Plain(width=16), ("stem",)),
            Node("q", Plain(width=16, convs=1), ("p",)),
            Node("r", Plain(width=16, kernel=5), ("p",)),
            Node("s", Plain(width=16), ("q", "r")),
        ),
        PoolHead(),
    )
    assert swapped != diamond()
    assert swapped.digest == diamond().digest
    assert diamond(join="concat").digest != diamond(join="mean").digest != diamond().digest


def test_digest_separates_a_value_used_twice_from_one_computed_twice():
    shared = Genotype(
        None,
        (
            Node("a", Plain(width=8), ("stem",)),
            Node("b", Plain(width=8), ("a",)),
            Node("c", Plain(width=8), ("a",)),
            Node("d", Plain(width=8), ("b", "c")),
        ),
    )
    twice = Genotype(
        None,
        (
            Node("a", Plain(width=8), ("stem",)),
            Node("e", Plain(width=8), ("stem",)),
            Node("b", Plain(width=8), ("a",)),
            Node("c", Plain(width=8), ("e",)),
            Node("d", Plain(width=8), ("b", "c")),
        ),
    )

    def network(cell):
        return Genotype(ConvStem(width=8), (Node("cell", cell, ("stem",)),), PoolHead())

    assert network(shared).digest != network(twice).digest


def test_a_genotype_nests_as_a_module():
    cell = Genotype(
        None, (Node("one", Plain(width=16), ("stem",)), Node("two", Residual(width=16), ("one",)))
    )
    nested = Genotype(ConvStem(width=16), (Node("cell", cell, ("stem",)),), PoolHead())
    flat = chain(Plain(width=16), Residual(width=16))
    assert nested.digest == flat.digest
    assert cost(expand(nested)) == cost(expand(flat))
    assert nested.module_types == flat.module_types == ("plain", "residual")
    assert Genotype.from_json(nested.to_json()) == nested


def test_one_line_form():
    genotype = chain(Plain(width=16), Plain(width=16), Residual(width=32, stride=2))
    assert str(genotype) == "conv 16 | 2 x plain 16, residual 32/2 | pool"
    assert str(diamond(join="mean")).endswith("plain 16 <- b mean c | pool")


def changed(**changes):
    data = chain(Plain(width=16), Plain(width=16)).to_dict()
    for path, value in changes.items():
        target = data
        *parts, last = path.split("__")
        for part in parts:
            target = target[int(part) if part.isdigit() else part]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "mine.json: not valid JSON"),
        ("[]", "mine.json: must be an object"),
        ('{"version": 1, "version": 1}', "two keys 'version'"),
        ("[" * 100_000, "not valid JSON"),
        (" " * (2 << 20), "larger than"),
        (changed(version=2), "mine.json: version: unknown version 2"),
        (changed(version=True), "unknown version True"),
        (changed(stem=None), "needs 'stem'"),
        (changed(extra=1), "unknown field 'extra'"),
        (changed(stem__type="conf"), "mine.json: stem: unknown stem 'conf'"),
        (changed(nodes__0__module__type="plane"), "nodes[0]: module: unknown module 'plane'"),
        (changed(nodes__1__module__kernel=4), "nodes[1]: module: kernel: 4 is not an option"),
        (changed(nodes__1__module__width=0), "nodes[1]: module: width: must be an integer from 1"),
        (changed(nodes__1__module__width=10**9), "width: must be an integer from 1 to 65536"),
        (changed(nodes__1__module__width=16.0), "width: must be an integer"),
        (changed(nodes__1__module__depth=2), "unknown field 'depth' of plain"),
        (changed(nodes__1__module__width=None), "plain needs 'width'"),
        (changed(nodes__0__inputs=["nothing"]), "takes 'nothing', which is not a node"),
        (changed(nodes__0__inputs=["stage1.block2"]), "a cycle: "),
        (changed(nodes__1__inputs=["stem"]), "no other node takes it"),
        (changed(nodes__1__inputs=[]), "needs one input"),
        (changed(nodes__1__inputs="stem"), "nodes[1]: inputs: must be a list"),
        (changed(nodes={}), "mine.json: nodes: must be a list"),
        (changed(nodes__1__name="stage1.block1"), "two nodes of this name"),
        (changed(nodes__1__name="../x"), "bad name '../x'"),
        (changed(nodes__1__join="concatenate"), "unknown join 'concatenate'"),
        (changed(nodes__1__join=["add"]), "nodes[1]: join: must be a name"),
        (changed(nodes=[]), "needs 1 to 1024 nodes"),
        (changed(taps=["stage1.block1"]), "taps: the head takes 0 different inner nodes, not 1"),
        (changed(taps=["nowhere"]), "'nowhere' is not an inner node"),
        (changed(auxiliary=[{}]), "auxiliary[0]: needs 'node'"),
        (
            changed(auxiliary=[{"node": "x", "weight": 0.3, "head": {"type": "pool"}}]),
            "'x' is not an inner node",
        ),
        (
            changed(auxiliary=[{"node": "x", "weight": -1, "head": {"type": "pool"}}]),
            "weight must be above 0",
        ),
    ],
)
def test_errors_name_the_place(text, expected):
    with pytest.raises(NasError) as caught:
        Genotype.from_json(text, "mine.json")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("mine.json")


def test_shapes_that_do_not_fit_name_the_node():
    bad = Genotype(
        ConvStem(width=8),
        (
            Node("a", Plain(width=8), ("stem",)),
            Node("b", Plain(width=16), ("a",)),
            Node("c", Plain(width=16), ("a", "b")),
        ),
        PoolHead(),
    )
    with pytest.raises(NasError, match=r"c\.join: .*differ in shape: 8x32x32, 16x32x32"):
        expand(bad)


@pytest.mark.parametrize("shape", [(0, 32, 32), (3, 10**9, 4), (3, 32.0, 32)])
def test_impossible_images_are_refused(shape):
    network = chain(Plain(width=16))
    expand(network, (3, 32, 32))  # which equals one of them
    with pytest.raises(NasError, match="sizes must be integers"):
        expand(network, shape)
