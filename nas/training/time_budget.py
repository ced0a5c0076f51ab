"""Number of epochs that fit into a time, from a few measured batches."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.formatting import duration

if TYPE_CHECKING:
    from torch import nn

    from nas.data import Dataset
    from nas.training.recipe import Recipe

BATCHES = 8
"""Batches of training that are timed."""
RESERVE = 0.05
"""Share of the time that is left for what is not timed, such as checkpoints and the test images."""


def epochs_within(
    seconds: float, network: nn.Module, dataset: Dataset, recipe: Recipe, device: str
) -> tuple[int, float]:
    """Return how many epochs fit, at most those of the recipe, and the seconds that one takes.

    Args:
        seconds: Time for the whole training.
        network: The network; it is trained for a few batches, so give a copy.
        dataset: Images to train and validate on.
        recipe: How to train.
        device: cpu, cuda or cuda:1.

    Raises:
        NasError: Not even one epoch fits.
    """
    per_epoch = epoch_seconds(network, dataset, recipe, device)
    epochs = math.floor((1 - RESERVE) * seconds / per_epoch)
    if epochs < 1:
        message = f"one epoch takes about {duration(per_epoch)}, and {duration(seconds)} are given"
        raise NasError(message, where="time", hint="give more time, or fewer images with ?limit=N")
    return min(epochs, recipe.epochs), per_epoch


def epoch_seconds(network: nn.Module, dataset: Dataset, recipe: Recipe, device: str) -> float:
    """Return the seconds that an epoch takes, from the second epoch on a part of the images."""
    from nas.training.loop import train
    from nas.training.profile import Laps

    images = len(dataset.train_labels)
    part = min(images, BATCHES * recipe.batch_size)
    small = dataset.first(part, max(1, len(dataset.val_labels) * part // images))
    laps, before = Laps(), 0.0

    def note(row: dict[str, float]) -> None:
        nonlocal before
        if row["epoch"] == 1:  # it loads kernels, and records a CUDA graph
            before = _worked(laps.phases)

    short = replace(recipe, epochs=2, patience=0)
    train(network, small, short, seed=0, device=device, on_epoch=note, lap=laps)
    return (_worked(laps.phases) - before) * images / part


def _worked(phases: dict[str, float]) -> float:
    return phases.get("training", 0.0) + phases.get("validation", 0.0)
