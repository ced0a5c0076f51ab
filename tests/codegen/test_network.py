import linecache
import traceback

import pytest
import torch

from nas.codegen import build as networks
from nas.codegen.build import build, load_source
from nas.errors import NasError
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.space.load import load_space


@pytest.fixture(scope="module")
def genotype():
    return load_space("residual_vs_fractal").sample(0)


@pytest.mark.parametrize(("shape", "classes"), [((1, 8, 8), 10), ((3, 32, 32), 100)])
def test_a_network_fits_images_and_classes(genotype, shape, classes):
    network = build(genotype, shape, classes)
    assert network(torch.zeros(2, *shape)).shape == (2, classes)
    assert sum(p.numel() for p in network.parameters()) == cost(expand(genotype, shape, classes)).params


def test_weights_follow_from_the_seed(genotype):
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(torch.cat([p.flatten() for p in build(genotype).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_traceback_shows_the_generated_source(genotype):
    network = build(genotype)
    with pytest.raises(RuntimeError) as caught:
        network(torch.zeros(1, 5, 32, 32))
    shown = "".join(traceback.format_exception(caught.value))
    assert f'File "<network {genotype.digest}>"' in shown
    assert "return self.forward_head(self.forward_features(x))" in shown


def test_sources_are_forgotten_in_the_end():
    for number in range(networks.KEPT_SOURCES + 5):
        load_source(f"value = {number}\n", f"<test {number}>")
    assert linecache.getline(f"<test {networks.KEPT_SOURCES}>", 1) == f"value = {networks.KEPT_SOURCES}\n"
    kept = [name for name in linecache.cache if name.startswith("<test ")]
    assert len(kept) == networks.KEPT_SOURCES


def test_the_namespace_of_a_source_is_returned():
    assert load_source("def double(x):\n    return 2 * x\n", "<double>")["double"](4) == 8


def test_the_network_of_a_source_is_its_last_class_or_that_of_the_name():
    block, last = "class Block:\n    forward = 1\n", "class ResNet8:\n    forward = 2\n"
    assert load_source(block + last, "<new>")["Network"].forward == 2
    assert load_source(block.replace("Block", "Network") + last, "<old>")["Network"].forward == 1
    assert "Network" not in load_source("class Settings:\n    pass\n", "<none>")


@pytest.mark.parametrize(("text", "where"), [("x = 1\ny = = 2\n", "bad.py:2"), ("x = '\0'\n", "bad.py")])
def test_a_source_that_is_no_python_is_named(text, where):
    with pytest.raises(NasError, match="not valid Python") as caught:
        load_source(text, "bad.py")
    assert caught.value.where.startswith(where)
