"""Candidates per hour of the workers of `nas search` and of a plain training loop, in one process.

    python benchmarks/training_engine.py [--data cifar10?limit=5000] [--device cuda]

The plain loop trains one candidate after the other with torch's defaults: float32 in NCHW, all threads, SGD
and a DataLoader that crops, mirrors and normalises each image as torchvision's transforms do. On a GPU it
uses bfloat16 autocast, loader processes and pinned memory. The workers ("ours") are those of `RayEvaluator`:
one per core with one thread, or per `--gpus-per-worker` of a GPU. Both train the same generated networks from
the same initial weights with the same schedule, on the same images, and validate after every epoch.

Each seed is a round of all candidates, first by the plain loop, then by the workers; the ratio is of their
times. A round of short trainings comes first, so that loading data and starting Python, Ray and torch are not
counted. The time of the workers is the mean over workers of the time to their last candidate, because idling
at the end is no part of a long search. Accuracies are means over candidates and seeds. Run nothing else
meanwhile: a loop with all threads suffers most from other load.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from nas.codegen.build import build
from nas.data import Dataset, load_data
from nas.space.genotype import Genotype
from nas.space.load import load_space
from nas.training.memory import candidate_memory
from nas.training.profile import Times
from nas.training.recipe import PRECISIONS, Recipe, default_recipe
from nas.training.step import one_cycle
from nas.training.task import Task

if TYPE_CHECKING:
    from nas.controller.evaluators.ray import RayEvaluator

WARM_UP_STEPS = 4


@dataclass(frozen=True)
class Job:
    genotype: Genotype
    seed: int


class Images(TorchDataset[tuple[Tensor, int]]):
    """Data set that augments image by image, as torchvision's `RandomCrop(padding)`,
    `RandomHorizontalFlip`, `ToTensor` and `Normalize` do."""

    def __init__(self, dataset: Dataset, recipe: Recipe | None) -> None:
        validating = recipe is None
        images = dataset.val_images if validating else dataset.train_images
        self.images = torch.tensor(np.asarray(images))
        self.labels = (dataset.val_labels if validating else dataset.train_labels).tolist()
        self.mean = torch.tensor(dataset.mean)[:, None, None]
        self.std = torch.tensor(dataset.std)[:, None, None]
        self.recipe = recipe

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index].float().div(255).sub(self.mean).div(self.std)
        return self.augment(image) if self.recipe else image, self.labels[index]

    def augment(self, image: Tensor) -> Tensor:
        assert self.recipe is not None
        _, height, width = image.shape
        pad = self.recipe.pad
        padded = nn.functional.pad(image, (pad, pad, pad, pad), mode="reflect")
        top, left = torch.randint(2 * pad + 1, (2,)).tolist()
        image = padded[:, top : top + height, left : left + width]
        return image.flip(2) if self.recipe.flip and torch.rand(()) < 0.5 else image


def plain_loop(job: Job, dataset: Dataset, recipe: Recipe, device: str) -> float:
    """Train a candidate in a plain loop and return its validation error."""
    torch.manual_seed(job.seed)
    network = build(job.genotype, dataset.input_shape, dataset.num_classes).to(device)
    loading = {}
    if device == "cuda":
        loading = {"num_workers": min(8, os.cpu_count() or 1), "persistent_workers": True, "pin_memory": True}
    train = DataLoader(Images(dataset, recipe), recipe.batch_size, shuffle=True, drop_last=True, **loading)
    val = DataLoader(Images(dataset, None), 500, **loading)
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    steps = recipe.epochs * len(train)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(min(1, step / steps)))
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    half = device == "cuda" and recipe.precision != "float32"
    error = 1.0
    for _ in range(recipe.epochs):
        network.train()
        for images, labels in train:
            with torch.autocast(device, torch.bfloat16, enabled=half):
                scores = network(images.to(device))
                loss = loss_of(scores, labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            wrong = sum(
                (network(images.to(device)).argmax(1) != labels.to(device)).sum().item()
                for images, labels in val
            )
        error = wrong / len(dataset.val_labels)
    return error


def ours(evaluator: RayEvaluator, jobs: list[Job]) -> tuple[list[float], float]:
    """Return the errors of the jobs and the mean seconds until a worker has ended its last one.

    Raises RuntimeError if a job fails.
    """
    start, ends = time.monotonic(), {}

    def on_times(times: Times) -> None:
        ends[times.worker] = times.end

    for number, job in enumerate(jobs):
        evaluator.submit(Task(number, job.genotype, job.seed))
    errors: dict[int, float] = {}
    while len(errors) < len(jobs):
        for result in evaluator.wait(on_times=on_times):
            if result.error is None:
                raise RuntimeError(result.message)
            errors[result.number] = result.error
    return [errors[number] for number in range(len(jobs))], float(np.mean(list(ends.values()))) - start


def short(dataset: Dataset, recipe: Recipe) -> tuple[Dataset, Recipe]:
    return dataset.first(WARM_UP_STEPS * recipe.batch_size), replace(recipe, epochs=1)


def processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="cifar10?limit=5000")
    parser.add_argument("--space", default="five_types")
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="precision of ours")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, help="workers of ours; by default as many as fit")
    parser.add_argument("--gpus-per-worker", type=float, default=0.25)
    return parser.parse_args()


def main() -> None:
    from nas.controller.evaluators.ray import RayEvaluator  # gpu_parts.py trains the plain loop without Ray

    options = parse()
    dataset, device = load_data(options.data), options.device
    space = load_space(options.space).with_input(dataset.input_shape, dataset.num_classes)
    genotypes = [space.sample(seed) for seed in range(options.candidates)]
    recipe = replace(default_recipe(dataset, options.epochs), precision=options.precision)
    evaluator = RayEvaluator(
        dataset,
        recipe,
        workers=options.workers,
        gpus_per_worker=options.gpus_per_worker if device == "cuda" else 0.0,
        memory=lambda task, half: candidate_memory(task.genotype, dataset, recipe, device, half=half),
    )
    few, quick = short(dataset, recipe)
    plain_loop(Job(genotypes[0], 0), few, quick, device)
    ours(evaluator, [Job(genotypes[0], 0)] * evaluator.slots)

    rounds, seconds, errors = range(options.seeds), [], []
    print(f"{'seed':>6}{'plain, per hour':>16}{'ours, per hour':>15}{'ratio':>7}{'accuracies, %':>18}")
    for seed in rounds:
        jobs = [Job(genotype, seed) for genotype in genotypes]
        start = time.monotonic()
        plain = [plain_loop(job, dataset, recipe, device) for job in jobs]
        taken = time.monotonic() - start
        workers_errors, taken_by_ours = ours(evaluator, jobs)
        seconds.append((taken, taken_by_ours))
        errors.append((plain, workers_errors))
        print(row(seed, len(jobs), seconds[-1], 100 * (1 - np.mean(errors[-1], axis=1))), flush=True)
    evaluator.close()
    precision = evaluator.precision
    total, accuracies = np.sum(seconds, axis=0), 100 * (1 - np.array(errors))  # of (seed, loop, candidate)
    print(row("all", len(rounds) * len(genotypes), total, accuracies.mean((0, 2))))
    differences = (accuracies[:, 1] - accuracies[:, 0]).flatten()
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    print(f"ours minus plain: {differences.mean():+.2f} points, standard error {error:.2f}")
    print(f"{processor(device)}; {evaluator.slots} workers, {precision}")
    figures = {
        "processor": processor(device),
        "workers": evaluator.slots,
        "precision": precision,
        "ratio": total[0] / total[1],
        "accuracies": list(accuracies.mean((0, 2))),
        "difference": differences.mean(),
        "standard_error": error,
    }
    print(json.dumps(figures))


def row(label: int | str, count: int, seconds: Sequence[float], accuracies: Sequence[float]) -> str:
    plain, workers = seconds
    hourly = f"{3600 * count / plain:16.0f}{3600 * count / workers:15.0f}{plain / workers:7.2f}"
    return f"{label:>6}{hourly}{accuracies[0]:10.2f}{accuracies[1]:8.2f}"


if __name__ == "__main__":
    main()
