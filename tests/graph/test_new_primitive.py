"""A primitive that only this file knows: one class is all that a network with it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.codegen.build import build_graph
from nas.codegen.source import source
from nas.codegen.whitelist import allowed, checked
from nas.errors import NasError
from nas.exporters.publish import Package, publish
from nas.graph.cost import cost
from nas.graph.graph import Graph, Shape, Value, trace
from nas.graph.ops import Classifier, Conv, GlobalPool
from nas.graph.ops.base import PRIMITIVES, Call, Op
from nas.testing.interpreter import modules, run

IMAGE = (3, 8, 8)
SWISH_SOURCE = '''\
class Swish(nn.Module):
    """x * sigmoid(beta * x) with a learned beta (Ramachandran et al., 2017)."""

    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)
'''


@pytest.fixture(scope="module", autouse=True)
def _primitives_of_this_file() -> Iterator[None]:
    """Forget them afterwards, so that the whitelist of other tests is that of the package."""
    known = len(PRIMITIVES)
    yield
    del PRIMITIVES[known:]


@pytest.fixture(scope="module")
def graph() -> Graph:
    @dataclass(frozen=True)
    class Swish(Op):
        label: ClassVar[str] = "swish"
        sources: ClassVar[tuple[str, ...]] = (SWISH_SOURCE,)

        def params(self, *inputs: Shape) -> int:
            return 1

        def module(self, *inputs: Shape) -> Call:
            return Call("Swish")

    @dataclass(frozen=True)
    class HardSwish(Op):
        label: ClassVar[str] = "hardswish"
        torch_names: ClassVar[tuple[str, ...]] = ("F.hardswish",)

        def function(self, *inputs: Shape) -> Call:
            return Call("F.hardswish({0})")

    return network(lambda x: HardSwish()(Conv(8)(Swish()(x))))


def network(body: Callable[[Value], Value]) -> Graph:
    """Build a network of a stem, a body and a head, as genotypes expand to."""
    graph = Graph("Network", [IMAGE])
    x = Value(graph, *graph.input_names, *graph.input_shapes)
    for name, part in {
        "stem": lambda x: Conv(4)(x),
        "stage1": body,
        "head": lambda x: Classifier(10)(GlobalPool()(x)),
    }.items():
        x = graph.add(trace(name.capitalize(), [x.shape], part), [x], name)
    return graph.close(x)


def test_it_is_counted_as_torch_counts(graph: Graph) -> None:
    built = build_graph(graph).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(torch.zeros(1, *IMAGE))
    figures = cost(graph)
    assert figures.params == sum(p.numel() for p in built.parameters()) == 27 * 4 + 1 + 36 * 8 + 90
    assert 2 * figures.flops == counter.get_total_flops()


def test_the_network_computes_it(graph: Graph) -> None:
    built, made = build_graph(graph).eval(), modules(graph).eval()
    made.load_state_dict(dict(zip(made.state_dict(), built.state_dict().values(), strict=True)))
    images = torch.rand(2, *IMAGE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = run(graph, made, images)[graph.output_index]
        torch.testing.assert_close(built(images), expected)
        x = built.stem(images)
        torch.testing.assert_close(built.stage1.layers[0](x), torch.nn.functional.silu(x))


def test_its_names_are_on_the_whitelist_and_no_others(graph: Graph) -> None:
    text = source(graph)
    assert "class Swish(nn.Module):" in text
    assert "F.hardswish(" in text
    assert {"F.hardswish", "torch.sigmoid", "torch.ones"} <= allowed().torch
    for name in ("torch.tanh", "F.silu", "nn.Unfold", "x.tolist"):
        with pytest.raises(NasError, match="not allowed in generated source"):
            checked(f"{text}\n\ndef f(x):\n    return {name}(x)\n")


def test_a_name_that_a_primitive_does_not_declare_is_refused() -> None:
    @dataclass(frozen=True)
    class Tanh(Op):
        label: ClassVar[str] = "tanh"

        def function(self, *inputs: Shape) -> Call:
            return Call("torch.tanh({0})")

    with pytest.raises(NasError, match=r"attribute \.tanh\n.*torch_names"):
        source(network(Tanh()))


@pytest.mark.slow
def test_it_is_exported_and_verified(graph: Graph, tmp_path: Path) -> None:
    built = build_graph(graph)
    figures = {"params": cost(graph).params, "flops": cost(graph).flops}
    about = {"title": "New", "task": "classification", "input_shape": list(IMAGE), "num_classes": 10}
    about |= {"cost": figures, "weights": True}
    package = Package("new", "new", source(graph), built.state_dict(), built, cost(graph), about, True)
    (exported,) = publish([package], tmp_path)
    assert exported.params == cost(graph).params
    assert exported.difference <= 1e-5
    assert "Swish" in (exported.folder / "network.py").read_text()
