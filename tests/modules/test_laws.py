"""Laws over every module type and random genotypes of the space that holds them all."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from testing.interpreter import fill_by_shape, load, modules, run
from torch.utils.flop_counter import FlopCounterMode

from nas.codegen.source import source
from nas.graph.cost import cost
from nas.modules import MODULE_TYPES, ConvStem, PoolHead
from nas.space.genotype import Genotype, Node, expand
from nas.space.space import load_space

SPACE = load_space("all_modules")
QUICK = range(12)
ALL = range(12, 1000)


def sample(seed):
    return SPACE.sample(seed)


def one_of_each():
    """Every module type at stride 1, and every option of its fields at stride 2, of numbers the first few."""
    seen = set()
    for name, cls in MODULE_TYPES.items():
        yield pytest.param(cls(width=16), id=name)
        for field, options in cls.choices():
            wanted = 3 if isinstance(options[0], float) or isinstance(options, range) else 8
            for option in list(options)[:wanted]:
                module = cls(width=32, stride=2, **{field: option})
                if module not in seen:
                    yield pytest.param(module, id=f"{name}-{field}={option}")
                seen.add(module)


def alone(module):
    norm = getattr(module, "norm", "after_conv")
    stem, head = ConvStem(width=16, norm=norm), PoolHead(norm=norm)
    return Genotype(stem, (Node("stage1.block1", module, ("stem",)),), head)


def check_against_torch(genotype):
    """Shapes at every node, parameters and FLOPs, by torch on the meta device."""
    graph = expand(genotype)
    with torch.device("meta"):
        made, network, image = modules(graph).eval(), load(graph)(), torch.empty(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        values = run(graph, made, image)
    for primitive, value in zip(graph.primitives, values, strict=True):
        assert tuple(value.shape[1:]) == primitive.shape, primitive.path
    figures = cost(graph)
    assert figures.params == sum(p.numel() for p in network.parameters())
    assert figures.params == sum(p.numel() for p in made.parameters())
    assert 2 * 2 * figures.flops == counter.get_total_flops()  # two images, two FLOPs a multiply-add


def check_outputs(genotype):
    """The generated network computes what its primitives do, and all of it is trained."""
    graph = expand(genotype)
    made = fill_by_shape(modules(graph)).double().eval()
    network = fill_by_shape(load(graph)()).double()
    image = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = run(graph, made, image)[graph.output_index]
        torch.testing.assert_close(network.eval()(image), expected)
    assert network.forward_head(network.forward_features(image), pre_logits=True).shape == (
        2,
        network.num_features,
    )
    for parameter in network.parameters():
        parameter.grad = None
    network(image).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("module", list(one_of_each()))
def test_module_types_agree_with_torch(module):
    check_against_torch(alone(module))
    check_outputs(alone(module))


@pytest.mark.parametrize("seed", QUICK)
def test_random_genotypes_agree_with_torch(seed):
    check_against_torch(sample(seed))
    check_outputs(sample(seed))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(ALL.start, ALL.stop, 50))
def test_a_thousand_random_genotypes_agree_with_torch(start):
    for seed in range(start, min(start + 50, ALL.stop)):
        check_against_torch(sample(seed))


def test_skip_edges_agree_with_torch():
    space = load_space("skip_connections")
    for seed in range(6):
        check_against_torch(space.sample(seed))
        check_outputs(space.sample(seed))


@pytest.mark.slow
def test_gradients_reach_every_parameter_in_training():
    for seed in range(60):
        graph = expand(sample(seed))
        network = load(graph)(num_classes=7, in_chans=2).train()
        network(torch.randn(4, 2, 32, 32)).logsumexp(dim=1).sum().backward()
        drops_paths = any("drop_path=" in str(node.module) for node in sample(seed).nodes)
        missing = [name for name, p in network.named_parameters() if p.grad is None]
        assert not missing or drops_paths


def check_format(folder, seeds):
    for seed in seeds:
        (folder / f"network{seed}.py").write_text(source(expand(sample(seed))))
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", str(folder)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_source_is_formatted_as_written(tmp_path):
    check_format(tmp_path, QUICK)


@pytest.mark.slow
def test_source_of_a_thousand_genotypes_is_formatted_as_written(tmp_path):
    check_format(tmp_path, ALL)


def test_json_round_trip():
    for seed in range(300):
        genotype = sample(seed)
        again = Genotype.from_json(genotype.to_json())
        assert again == genotype
        assert again.digest == genotype.digest


def test_mutants_and_crossovers_stay_in_the_space():
    rng = np.random.default_rng(0)
    for seed in range(100):
        genotype, other = sample(seed), sample(seed + 1000)
        mutant, child = SPACE.mutate(genotype, rng), SPACE.crossover(genotype, other, rng)
        assert mutant in SPACE
        assert mutant != genotype
        assert child in SPACE


def test_digest_is_stable_over_processes():
    script = (
        "from nas.space.space import load_space\n"
        "s = load_space('all_modules')\n"
        "print(*(s.sample(i).digest for i in range(20)))"
    )
    runs = {
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert runs == {" ".join(sample(seed).digest for seed in range(20)) + "\n"}


def test_digest_tells_networks_apart_and_sees_through_fields():
    genotypes = [sample(seed) for seed in range(300)]
    digests = {genotype.digest for genotype in genotypes}
    assert len(digests) > 290
    for genotype in genotypes[:50]:
        assert (
            genotype.digest == expand(genotype, (1, 28, 28), 100).digest == expand(genotype).flatten().digest
        )


def test_one_column_fractal_is_a_plain_block():
    fractal, plain = MODULE_TYPES["fractal"], MODULE_TYPES["plain"]
    for norm in ("after_conv", "pre_activation", "after_relu", "none"):
        one_column = alone(fractal(width=32, stride=2, columns=1, drop_path="local", norm=norm))
        block = alone(plain(width=32, stride=2, convs=1, norm=norm))
        assert one_column.digest == block.digest
