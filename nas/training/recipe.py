"""Recipes that suit a data set, and what it allows; the fields themselves are in `nas.recipe`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from nas.errors import NasError, did_you_mean
from nas.recipe import BALANCED, PRECISIONS, Recipe, adjusted

if TYPE_CHECKING:
    from nas.data import Dataset

__all__ = ["BALANCED", "PRECISIONS", "Recipe", "adjusted"]

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # Keep large buffers rather than return them to the kernel and fault them in at every step.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Environment of a worker process, which trains one candidate at a time on one core."""

FULL_EPOCHS = ((20_000, 100), (200_000, 200), (math.inf, 90))
"""Epochs of a full training below a number of training images."""
EMA_STEPS, EMA_SHARE = 500, 0.02
"""Steps that a full training averages its weights over, and the largest share of all steps: an average over
many of few steps lags behind."""
MIXUP_EPOCHS = 100
"""Epochs from which a full training mixes images."""

EVALUATION_BATCH = 500
EVALUATION_PIXELS = {"cpu": 1 << 15, "cuda": 1 << 19}
"""Most images, and most pixels per device, that are validated at once. On CPU the feature maps of more would
not fit into the memory that training has left free."""


@dataclass(frozen=True)
class StagedRecipe(Recipe):
    """Recipe with warm restarts (Loshchilov and Hutter, 2017): one cycle of the learning rate per rung.

    Networks at a rung are thus compared at the end of a cycle.

    Attributes:
        rungs: Epochs at which the cycles end; the last is `epochs`.
    """

    rungs: tuple[int, ...] = ()

    def cycle(self, epoch: int) -> tuple[int, int]:
        i = bisect_right(self.rungs, epoch)
        return (0, *self.rungs)[i], self.rungs[i]


def default_recipe(dataset: Dataset, epochs: int | None = None) -> Recipe:
    """Return a recipe for small images and short trainings.

    Grey images are not mirrored, because most show characters. Cutout is for trainings of at least 30 epochs,
    because shorter ones do not overfit; segmentation has none, because it would hide labelled pixels. Small
    data sets get smaller batches, for more steps; masks smaller ones still, as each image has many labels.

    Args:
        dataset: Images to train on.
        epochs: Epochs to train; by default those of `Recipe`.
    """
    channels, height, width = dataset.input_shape
    size = min(height, width)
    epochs = Recipe.epochs if epochs is None else epochs
    masks = dataset.task == "segmentation"
    return Recipe(
        epochs=epochs,
        batch_size=16 if masks else 64 if len(dataset.train_labels) < 20_000 else 128,
        pad=size // 8,
        flip=channels == 3,
        cutout=size // 4 if channels == 3 and epochs >= 30 and not masks else 0,
    )


def full_recipe(dataset: Dataset, epochs: int | None = None, batch_size: int | None = None) -> Recipe:
    """Return a recipe for the full training of one network: a longer schedule, and averaged weights.

    Colour images are mixed in pairs too where the schedule is long enough for networks to overfit.

    Args:
        dataset: Images to train on.
        epochs: Epochs to train; by default those of `full_epochs`.
        batch_size: Images per step; by default those of `default_recipe`.
    """
    epochs = full_epochs(dataset) if epochs is None else epochs
    recipe = default_recipe(dataset, epochs)
    mixed = bool(recipe.cutout) and epochs >= MIXUP_EPOCHS
    recipe = replace(recipe, batch_size=batch_size or recipe.batch_size)
    images = len(dataset.train_labels)
    window = min(EMA_STEPS, EMA_SHARE * epochs * images / min(recipe.batch_size, images))
    averaged = round(1 - 1 / window, 4) if window >= 2 else 0.0
    return replace(recipe, ema=averaged, mixup=0.2 if mixed else 0.0)


def full_epochs(dataset: Dataset) -> int:
    """Return the epochs of a full training: fewer where an epoch has many steps."""
    images = len(dataset.train_labels)
    return next(epochs for bound, epochs in FULL_EPOCHS if images < bound)


def check_recipe(recipe: Recipe, dataset: Dataset) -> None:
    """Raise NasError if a recipe asks for what the labels of a data set do not allow."""
    if isinstance(recipe.class_weights, Mapping):
        for name in recipe.class_weights:
            if name not in dataset.classes:
                hint = did_you_mean(name, dataset.classes)
                raise NasError(f"unknown class {name!r}", where="recipe: class_weights", hint=hint)
    if dataset.task == "segmentation":
        if recipe.mixup:
            message = "images with masks are not mixed: a pixel has one class"
            raise NasError(message, where="recipe: mixup", hint="leave it at 0")
        if recipe.sampling == BALANCED:
            message = "an image with a mask has no single class to be drawn by"
            raise NasError(message, where="recipe: sampling", hint=f"class_weights={BALANCED} weighs pixels")


def check_batch(recipe: Recipe, dataset: Dataset, devices: int) -> None:
    """Raise NasError if a batch has fewer images than there are devices to share it."""
    batch = min(recipe.batch_size, len(dataset.train_labels))
    if batch < devices:
        message = f"a batch has {batch} images, fewer than the {devices} devices"
        raise NasError(message, where="devices", hint="choose fewer devices, or --recipe batch_size=N")


def evaluation_batch(dataset: Dataset, device: str) -> int:
    """Return the number of images to validate at once on a device, at least 16."""
    _, height, width = dataset.input_shape
    pixels = EVALUATION_PIXELS["cpu" if device == "cpu" else "cuda"]
    return min(EVALUATION_BATCH, max(16, pixels // (height * width)))


def staged(recipe: Recipe, rungs: Sequence[int]) -> Recipe:
    """Return the recipe of trainings that may stop at rungs, given in epochs.

    The recipe is returned unchanged if its epochs are not the last rung.
    """
    if not rungs or rungs[-1] != recipe.epochs:
        return recipe
    return StagedRecipe(**asdict(recipe), rungs=tuple(rungs))
