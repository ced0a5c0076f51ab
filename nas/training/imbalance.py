"""Classes of unequal size: their weights in the loss, and an order that shows each class equally often."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nas.data import Dataset
from nas.data.dataset import IGNORE
from nas.data.rows import blocks
from nas.training.recipe import BALANCED, Recipe


def class_weights(recipe: Recipe, dataset: Dataset, device: torch.device) -> Tensor | None:
    """Return the weight of each class in the loss as float32, or None if all are equal.

    Balanced weights are n / (classes * n_c), for n labels of which n_c are of the class; 0 for a class that
    has none. Labels are those of the training images, for masks their pixels.
    """
    if isinstance(recipe.class_weights, Mapping):
        weights = [float(recipe.class_weights.get(name, 1.0)) for name in dataset.classes]
        return torch.tensor(weights, device=device)
    if recipe.class_weights != BALANCED:
        return None
    counts = label_counts(dataset)
    balanced = np.where(counts > 0, counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    return torch.tensor(balanced, dtype=torch.float32, device=device)


def label_counts(dataset: Dataset) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the number of training images of each class; for masks, of pixels."""
    counts = np.zeros(max(dataset.num_classes, IGNORE + 1), dtype=np.int64)
    for block in blocks(dataset.train_labels):  # bincount makes a copy of eight times the size
        counts += np.bincount(block.reshape(-1), minlength=len(counts))
    return counts[: dataset.num_classes]


class BalancedOrder:
    """Order of an epoch in which the numbers of images of any two classes differ by at most one.

    A class with more images than its share shows a new random part of them in each epoch; one with fewer
    shows all its images in turn, several times.
    """

    def __init__(self, labels: Tensor, generator: torch.Generator) -> None:
        self.labels, self.generator = labels, generator
        counts = labels.bincount()
        self.classes = counts.nonzero()[:, 0]
        self.counts = counts[self.classes]
        self.starts = self.counts.cumsum(0) - self.counts

    def __call__(self, total: int) -> Tensor:
        """Return the indices of `total` images."""
        device = self.labels.device
        shuffled = torch.randperm(len(self.labels), generator=self.generator, device=device)
        by_class = shuffled[self.labels[shuffled].argsort(stable=True)]
        places = torch.randperm(total, generator=self.generator, device=device)
        at, turn = places % len(self.classes), places // len(self.classes)
        return by_class[self.starts[at] + turn % self.counts[at]]
