"""What the recipe of a full training gains over shorter and plainer ones, on small data sets.

    python benchmarks/full_recipe.py digits
    python benchmarks/full_recipe.py 'parquet:PATH?limit=1500&size=16'

A network of four convolutions is trained with four seeds under each recipe, in float32 on one core; the mean
validation error and loss are printed. About half an hour per data set.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch
from torch import nn

from nas.data import load_data
from nas.training.loop import train
from nas.training.recipe import default_recipe, full_recipe

SEEDS = 4


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def make_network(channels: int, classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    body = (block(channels, 16), block(16, 16), block(16, 32, 2), block(32, 32))
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes))


def main(spec: str) -> None:
    torch.set_num_threads(1)
    dataset = load_data(spec)
    full = replace(full_recipe(dataset), precision="float32")
    recipes = {
        "search, 60 epochs": replace(default_recipe(dataset, 60), precision="float32"),
        "full without averages and mixup": replace(full, ema=0.0, mixup=0.0),
        "full": full,
    }
    for name, recipe in recipes.items():
        networks = [make_network(dataset.input_shape[0], dataset.num_classes, seed) for seed in range(SEEDS)]
        results = [train(network, dataset, recipe, seed=seed) for seed, network in enumerate(networks)]
        error = sum(result.error for result in results) / SEEDS
        loss = sum(result.loss for result in results) / SEEDS
        print(f"{name:<32} {recipe.epochs} epochs  error {error:.2%}  loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
