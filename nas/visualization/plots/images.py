"""Images of a data set with their labels, before and after augmentation."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.training.recipe_text import augmentation
from nas.visualization.formats import check_format
from nas.visualization.plots.style import in_style, save

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe

MOST = 16
"""Images that a picture shows."""
PER_ROW = 8
CELL = 1.1
"""Width of an image, in inches."""
TITLE = 0.19
"""Height of the label above it, in inches."""
CHARACTERS = 15
"""Characters of the title per inch."""
MOST_ASPECT = 3.0
"""Ratio of height to width above which an image is drawn smaller."""

Pictures = npt.NDArray[np.float32]


@in_style
def plot_images(dataset: Dataset, recipe: Recipe, file: str | Path) -> Path:
    """Draw training images of all classes in turn, each above the image that augmentation makes of it.

    Args:
        dataset: the images.
        recipe: says how they are augmented.
        file: .png, .svg or .pdf.

    Returns the file. Raises NasError for another suffix.
    """
    path = check_format(file)
    from matplotlib.figure import Figure

    chosen = _choose(dataset)
    images = dataset.train_images[chosen].transpose(0, 2, 3, 1) / np.float32(255)
    augmented = _augment(dataset, recipe, chosen)
    columns = min(PER_ROW, len(chosen))
    rows = -(-len(chosen) // columns)
    _, height, width = dataset.input_shape
    cell = CELL * min(MOST_ASPECT, height / width) + TITLE
    figure = Figure(figsize=(CELL * columns, 2 * rows * cell + 0.4), layout="constrained")
    cells = figure.subplots(2 * rows, columns, squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for i, index in enumerate(chosen):
        row, column = 2 * (i // columns), i % columns
        _draw(cells[row, column], images[i], _label(dataset, int(index)))
        _draw(cells[row + 1, column], augmented[i], "augmented")
    words = f"{dataset.name}, augmentation: {augmentation(recipe)}"
    title = textwrap.fill(words, round(CELL * columns * CHARACTERS))
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return save(figure, path)


def _choose(dataset: Dataset) -> npt.NDArray[np.intp]:
    """Return indices of training images, for classification from all classes in turn."""
    labels = dataset.train_labels
    if labels.ndim > 1:
        return np.arange(min(MOST, len(labels)))
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    rank = np.empty(len(labels), dtype=np.intp)
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.lexsort((labels, rank))[:MOST]


def _augment(dataset: Dataset, recipe: Recipe, chosen: npt.NDArray[np.intp]) -> Pictures:
    """Return the chosen images as a training sees them, in colours from 0 to 1."""
    import torch

    from nas.training.augment import Batches

    part = replace(
        dataset, train_images=dataset.train_images[chosen], train_labels=dataset.train_labels[chosen]
    )
    device = torch.device("cpu")
    settings = replace(recipe, batch_size=len(chosen))
    batches = Batches(part, settings, device, torch.Generator().manual_seed(0))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        inputs, _ = batches.mix(*batches.augment_batch(torch.arange(len(chosen))))
    pixels = inputs.permute(0, 2, 3, 1).numpy() * np.maximum(part.std, 1 / 255) + part.mean
    return np.clip(pixels, 0, 1).astype(np.float32)


def _draw(axes: object, image: Pictures, title: str) -> None:
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if image.shape[2] == 1 else {}
    shown = image[:, :, 0] if image.shape[2] == 1 else image
    axes.imshow(shown, interpolation="nearest", **grey)  # type: ignore[attr-defined]
    axes.set_title(title, fontsize=7, pad=2)  # type: ignore[attr-defined]


def _label(dataset: Dataset, index: int) -> str:
    if dataset.task == "segmentation":
        return f"image {index}"
    name = dataset.classes[dataset.train_labels[index]]
    return name if len(name) <= 16 else f"{name[:15]}…"
