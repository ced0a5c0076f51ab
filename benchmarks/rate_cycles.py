"""What the restarts of the rate at the rungs cost: final errors beside those of a single cycle.

    python benchmarks/rate_cycles.py 'parquet:PATH?size=16' [--networks 48]

Networks drawn from tables/cifar.yaml are trained with one cycle of the rate, on the images and with
all else as train_table.py trained them with a cycle up to each rung, whose errors are looked up. PATH as
there. Five minutes of two cores.
"""

import argparse
import json
import os
from multiprocessing import get_context

import numpy as np
from tabulated import CIFAR, read_rows
from train_table import Job, train_row

from nas.space.load import load_space
from nas.training.recipe import WORKER_ENVIRONMENT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="as of nas search --data")
    parser.add_argument("--networks", type=int, default=48)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    os.environ.update(WORKER_ENVIRONMENT)  # of the processes to come: an allocator reads it when it starts
    known, networks = read_rows(CIFAR.with_suffix(".csv")), list(load_space(CIFAR).enumerate())
    drawn = np.random.default_rng(0).choice(len(networks), options.networks, replace=False)
    jobs = [Job("cifar", options.data, networks[at], restarts=False) for at in drawn]
    with get_context("spawn").Pool(options.processes) as pool:
        rows = pool.map(train_row, jobs, chunksize=1)
    gains = np.array([100 * (known[row.digest].errors[-1] - row.errors[-1]) for row in rows])
    mean, error = gains.mean(), gains.std(ddof=1) / len(gains) ** 0.5
    print(f"one cycle instead of one to each rung: error lower by {mean:.2f} points")
    print(f"(standard error {error:.2f}, {len(gains)} networks)")
    print(json.dumps({"lower_by_points": mean, "standard_error": error, "networks": len(gains)}))


if __name__ == "__main__":
    main()
