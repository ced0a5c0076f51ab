"""What a proposal costs before anything is trained, and counting FLOPs beside fvcore.

    python benchmarks/genotype_speed.py [--genotypes 300]

fvcore is measured in the same run where it is installed (pip install fvcore).
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch

from nas.codegen.source import source
from nas.complexity import cost
from nas.genotype import expand
from nas.network import build
from nas.space import load_space


def milliseconds(function: Callable[[int], object], count: int) -> float:
    """Median time of `function(seed)` over seeds."""
    times = []
    for seed in range(count):
        start = time.perf_counter()
        function(seed)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def propose(seed: int) -> None:
    genotype = SPACE.sample(seed)
    cost(expand(genotype, SPACE.input_shape, SPACE.num_classes))
    assert genotype.digest


def fvcore_flops(genotypes: list, count: int) -> float | None:
    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError:
        return None
    networks = [build(genotype) for genotype in genotypes[:count]]
    image = torch.zeros(1, 3, 32, 32)

    def count_one(at: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            FlopCountAnalysis(networks[at], image).unsupported_ops_warnings(False).total()

    return milliseconds(count_one, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genotypes", type=int, default=300)
    count = parser.parse_args().genotypes
    torch.set_num_threads(1)
    genotypes = [SPACE.sample(seed) for seed in range(10_000, 10_000 + count)]
    sizes = [len(expand(genotype).primitives) for genotype in genotypes]
    print(f"{SPACE.name}: {count} genotypes, median {statistics.median(sizes):.0f} primitives\n")
    rows = {
        "sample + expand + cost + digest": milliseconds(propose, count),
        "cost of an expanded graph, cold": milliseconds(
            lambda at: cost.__wrapped__(expand(genotypes[at]).flatten()), count
        ),
        "source": milliseconds(lambda at: source(expand(genotypes[at])), count),
        "source + exec + nn.Module": milliseconds(lambda at: build(genotypes[at]), min(count, 100)),
    }
    counted = milliseconds(lambda at: cost.__wrapped__(expand(genotypes[at])), count)
    rows["FLOPs of an expanded graph"] = counted
    peer = fvcore_flops(genotypes, min(count, 50))
    for name, value in rows.items():
        print(f"{name:36s} {value:9.3f} ms")
    if peer is None:
        print("fvcore is not installed: no comparison")
    else:
        print(f"{'FLOPs by fvcore':36s} {peer:9.3f} ms   ({peer / counted:,.0f} times ours)")


SPACE = load_space("all_modules")

if __name__ == "__main__":
    main()
