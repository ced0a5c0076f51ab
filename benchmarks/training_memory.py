"""Predicted and measured memory of training, for networks of the spaces and the zoo.

    python benchmarks/training_memory.py

Each candidate is trained for two short epochs by `nas.training.candidate.train_candidate` in a fresh process
with the environment of a worker and one thread. The measurement is the peak of its resident memory less that
with torch loaded and the data made (Linux only). The data are noise, as only their shape matters. bfloat16 is
measured only where a worker would choose it: a processor without instructions for it unfolds every
convolution, which is not predicted. The constants of `nas.training.memory` were chosen on the first set of
networks; the other sets test them. The set "resumed" trains the second epoch in a fresh process from the
checkpoint after the first. Takes about 15 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from nas.data.dataset import Dataset
from nas.space.genotype import Genotype
from nas.space.load import load_space
from nas.training.candidate import train_candidate
from nas.training.memory import candidate_memory
from nas.training.precision import hardware_precision
from nas.training.recipe import WORKER_ENVIRONMENT, Recipe, evaluation_batch
from nas.training.task import EpochRange, Task
from nas.zoo import zoo_entry

MIB = 1 << 20
TOLERANCE = 0.25
STEPS = 3
CHOSEN_ON = (
    *((f"residual_vs_fractal:{seed}", (1, 8, 8), 64) for seed in (0, 1)),
    *((f"residual_vs_fractal:{seed}", (3, 32, 32), 128) for seed in (0, 1, 2)),
    *((f"all_modules:{seed}", (3, 32, 32), 64) for seed in (0, 1, 2)),
    *((f"five_types:{seed}", (3, 32, 32), 128) for seed in (0, 1)),
    *((f"resnext_cardinality:{seed}", (3, 32, 32), 32) for seed in (0, 1)),
    *((f"basic_vs_bottleneck:{seed}", (3, 32, 32), 64) for seed in (0, 1)),
    *((f"fcn_heads:{seed}", (3, 64, 64), 16) for seed in (0, 1)),
    *((name, (3, 32, 32), 64) for name in ("resnet20", "plain20", "fractalnet10_narrow")),
    *((name, (3, 32, 32), 16) for name in ("resnext29_8x64d", "preact_resnet110")),
    *((name, (3, 64, 64), 16) for name in ("alexnet", "vgg11", "googlenet_aux", "resnet18", "resnet50")),
)
"""A zoo's name or a space with a seed, the shape of an image, and the batch size."""
OTHERS = (
    *((f"residual_vs_fractal:{seed}", (3, 32, 32), 64) for seed in (3, 4)),
    *((f"all_modules:{seed}", (3, 32, 32), 128) for seed in (3, 4)),
    *((f"five_types:{seed}", (3, 32, 32), 64) for seed in (2, 3)),
    *((f"resnext_cardinality:{seed}", (3, 32, 32), 64) for seed in (2, 3)),
    *((f"basic_vs_bottleneck:{seed}", (3, 32, 32), 128) for seed in (2, 3)),
    *((f"fcn_heads:{seed}", (3, 64, 64), 16) for seed in (2, 3)),
    *((name, (3, 32, 32), 64) for name in ("resnet56", "preact_resnet164", "fractalnet20")),
    *((name, (3, 64, 64), 32) for name in ("vgg16_bn", "plain34", "resnet34", "resnext50_32x4d")),
)
RESUMED = (
    ("residual_vs_fractal:0", (3, 32, 32), 128),
    *((name, (3, 64, 64), 16) for name in ("alexnet", "vgg11", "resnet18", "resnet50")),
)
SETS = {"chosen on": CHOSEN_ON, "others": OTHERS, "resumed": RESUMED}
CLASSES = 10


@dataclass(frozen=True)
class Case:
    name: str
    shape: tuple[int, int, int]
    batch: int
    precision: str
    resumed: bool
    device: str = "cpu"

    @property
    def genotype(self) -> Genotype:
        space, _, seed = self.name.partition(":")
        if not seed:
            return zoo_entry(self.name).build()
        return load_space(space).with_input(self.shape, CLASSES).sample(int(seed))

    @property
    def recipe(self) -> Recipe:
        return Recipe(epochs=2, batch_size=self.batch, lr=0.01, precision=self.precision)

    @property
    def dataset(self) -> Dataset:
        rng, masks = np.random.default_rng(0), self.name.startswith("fcn")

        def part(count: int) -> tuple[np.ndarray, np.ndarray]:
            images = rng.integers(256, size=(count, *self.shape), dtype=np.uint8)
            answers = (count, *self.shape[1:]) if masks else (count,)
            return images, rng.integers(CLASSES, size=answers, dtype=np.uint8 if masks else np.int64)

        classes = tuple(map(str, range(CLASSES)))
        train = part(STEPS * self.batch)
        dataset = Dataset("noise", classes, *train, *train, lambda: None)
        return Dataset(
            "noise", classes, *train, *part(2 * evaluation_batch(dataset, self.device)), lambda: None
        )


def measure(case: Case) -> dict[str, int]:
    """Return predicted and measured bytes of this process, which must be a fresh one."""
    import torch

    torch.set_num_threads(1)
    genotype, dataset, recipe = case.genotype, case.dataset, case.recipe
    half = case.precision == "bfloat16"
    predicted = candidate_memory(genotype, dataset, recipe, "cpu", half=half, resumed=case.resumed)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        if case.resumed:
            first = get_context("spawn").Process(target=write_first_part, args=(case, state))
            first.start()
            first.join()
        before = resident("VmRSS")
        part = EpochRange(1, 2, state.read_bytes()) if case.resumed else EpochRange(0, 2)
        result = train_candidate(Task(0, genotype, seed=0, part=part), dataset, recipe)
    if result.state != "complete" or len(result.curve) != part.until - part.done:
        raise RuntimeError(result.message)
    return {"predicted": predicted, "measured": resident("VmHWM") - before}


def write_first_part(case: Case, path: Path) -> None:
    """Write the checkpoint after the first epoch."""
    result = train_candidate(Task(0, case.genotype, seed=0, part=EpochRange(0, 1)), case.dataset, case.recipe)
    path.write_bytes(result.checkpoint or b"")


def resident(name: str) -> int:
    """Return the resident bytes of this process now (VmRSS) or at their peak (VmHWM)."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def measured_apart(case: Case) -> dict[str, int]:
    """Call `measure` in a fresh process with the environment of a worker."""
    command = [sys.executable, __file__, "--case", json.dumps(astuple(case))]
    environment = os.environ | WORKER_ENVIRONMENT
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    figures: dict[str, int] = json.loads(done.stdout)
    return figures


def cases() -> Iterator[tuple[str, Case]]:
    """Yield the cases with the names of their sets."""
    precisions = sorted({"float32", hardware_precision("cpu")}, reverse=True)
    for kind, networks in SETS.items():
        for network, precision in product(networks, precisions):
            yield kind, Case(*network, precision, resumed=kind == "resumed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        name, shape, *rest = json.loads(options.case)
        print(json.dumps(measure(Case(name, tuple(shape), *rest))))
        return
    columns = f"{'predicted':>10}{'measured':>10}{'ratio':>7}"
    print(f"{'network':24}{'image':>10}{'batch':>6}  {'precision':10}{columns}")
    rows = []
    for kind, case in cases():
        memory = measured_apart(case)
        ratio = memory["predicted"] / memory["measured"]
        rows.append({"set": kind, "ratio": ratio} | asdict(case) | memory)
        image = "x".join(map(str, case.shape))
        sizes = "".join(f"{memory[key] / MIB:>10.0f}" for key in ("predicted", "measured"))
        line = f"{case.name:24}{image:>10}{case.batch:>6}  {case.precision:10}{sizes}{ratio:7.2f}"
        print(f"{line}  {kind}", flush=True)
    print("\nMiB")
    for kind in SETS:
        ratios = np.array([row["ratio"] for row in rows if row["set"] == kind])
        within = np.mean(np.abs(ratios - 1) <= TOLERANCE)
        spans = f"{ratios.min():.2f} to {ratios.max():.2f}"
        print(f"{kind}: {within:.0%} of {len(ratios)} within {TOLERANCE:.0%} of measured, {spans}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
