"""Laws over every module type and random genotypes of the space that holds them all."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from testing.generated import load

from nas.codegen.source import source
from nas.modules import MODULE_TYPES
from nas.space.genotype import Genotype, expand
from nas.space.load import load_space
from nas.testing import check_module
from nas.testing.module_check import alone, check_figures, check_outputs

SPACE = load_space("all_modules")
QUICK = range(12)
ALL = range(12, 1000)


def sample(seed):
    return SPACE.sample(seed)


@pytest.mark.parametrize("name", MODULE_TYPES)
def test_module_types_keep_the_laws(name):
    check_module(MODULE_TYPES[name])


@pytest.mark.parametrize("seed", QUICK)
def test_random_genotypes_agree_with_torch(seed):
    check_figures(sample(seed))
    check_outputs(sample(seed))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(ALL.start, ALL.stop, 50))
def test_a_thousand_random_genotypes_agree_with_torch(start):
    for seed in range(start, min(start + 50, ALL.stop)):
        check_figures(sample(seed))


def test_skip_edges_agree_with_torch():
    space = load_space("skip_connections")
    for seed in range(6):
        check_figures(space.sample(seed))
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
        "from nas.space.load import load_space\n"
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
