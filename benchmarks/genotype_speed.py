"""What a proposal costs before anything is trained, and counting FLOPs beside fvcore.

    python benchmarks/genotype_speed.py [--space all_modules] [--genotypes 300] [--check 10000]

Times are the process's own, on one thread, so that other programs on the machine lengthen
them little. fvcore is measured in the same run where it is installed (pip install fvcore).
--check compares FLOPs and parameters of so many random genotypes with those that torch
counts, and stops at the first that differs (10,000 take half an hour).
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.codegen.build import build
from nas.codegen.source import source
from nas.graph.cost import cost
from nas.space.decisions import pick
from nas.space.genotype import Genotype, expand
from nas.space.load import load_space
from nas.space.space import SearchSpace

FIRST_CHECKED = 1_000_000
"""Seed of the first genotype that is checked: none that a test looks at."""


def milliseconds(function: Callable[[int], object], count: int) -> float:
    """Median time of `function(0)`, `function(1)`, …"""
    times = []
    for at in range(count):
        start = time.thread_time()
        function(at)
        times.append(time.thread_time() - start)
    return 1e3 * statistics.median(times)


def propose(space: SearchSpace, seed: int) -> None:
    genotype = space.sample(seed)
    cost(expand(genotype, space.input_shape, space.num_classes))
    assert genotype.digest


def fvcore_flops(genotypes: Sequence[Genotype]) -> float | None:
    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError:
        return None
    networks = [build(genotype) for genotype in genotypes]
    image = torch.zeros(1, 3, 32, 32)

    def count_one(at: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            FlopCountAnalysis(networks[at], image).unsupported_ops_warnings(False).total()

    return milliseconds(count_one, len(networks))


def measure(space: SearchSpace, count: int) -> None:
    genotypes = [space.sample(seed) for seed in range(10_000, 10_000 + count)]
    sizes = [len(expand(genotype).primitives) for genotype in genotypes]
    print(f"{space.name}: {count} genotypes, median {statistics.median(sizes):.0f} primitives\n")
    rows = {
        "sample + expand + cost + digest": milliseconds(lambda at: propose(space, at), count),
        "source": milliseconds(lambda at: source(expand(genotypes[at])), count),
        "source + exec + nn.Module": milliseconds(lambda at: build(genotypes[at]), min(count, 100)),
    }
    rng = np.random.default_rng(0)  # not by `sample`, which counts FLOPs for the constraints
    graphs = [expand(space.build(lambda _, options: pick(options, rng))) for _ in range(count)]
    counted = milliseconds(lambda at: cost(graphs[at]), count)
    rows["FLOPs of a new genotype"] = counted
    flat = [graph.flatten() for graph in graphs]
    rows["FLOPs, no module met before"] = milliseconds(lambda at: cost(flat[at]), count)
    for name, value in rows.items():
        print(f"{name:36s} {value:9.3f} ms")
    peer = fvcore_flops(genotypes[:50])
    if peer is None:
        print("fvcore is not installed: no comparison")
    else:
        print(f"{'FLOPs by fvcore':36s} {peer:9.3f} ms   ({peer / counted:,.0f} times ours)")


def check(space: SearchSpace, count: int) -> None:
    """Twice our FLOPs, and our parameters, are what torch counts on the meta device."""
    for seed in range(FIRST_CHECKED, FIRST_CHECKED + count):
        genotype = space.sample(seed)
        figures = cost(expand(genotype))
        with torch.device("meta"), torch.no_grad():
            network, image = build(genotype).eval(), torch.empty(1, 3, 32, 32)
            with FlopCounterMode(display=False) as counter:  # which lengthens all that is done under it
                network(image)
        assert 2 * figures.flops == counter.get_total_flops(), f"FLOPs of seed {seed}"
        assert figures.params == sum(p.numel() for p in network.parameters()), f"parameters of seed {seed}"
    print(f"{count:,} genotypes: FLOPs and parameters equal to those of torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--space", default="all_modules")
    parser.add_argument("--genotypes", type=int, default=300)
    parser.add_argument("--check", type=int, default=0, metavar="N")
    options = parser.parse_args()
    torch.set_num_threads(1)
    space = load_space(options.space)
    measure(space, options.genotypes)
    if options.check:
        check(space, options.check)


if __name__ == "__main__":
    main()
