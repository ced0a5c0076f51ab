"""Training recipe, the same for all candidates of a search."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, did_you_mean

if TYPE_CHECKING:
    from nas.data import Dataset

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # Keep large buffers rather than return them to the kernel and fault them in at every step.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Environment of a worker process, which trains one candidate at a time on one core."""

PRECISIONS = ("auto", "float32", "bfloat16")
BOUNDS = {
    "epochs": (1, 100_000),
    "batch_size": (1, 65_536),
    "lr": (0.0, math.inf),
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "label_smoothing": (0.0, 1.0),
    "pad": (0, 1024),
    "cutout": (0, 1024),
}

EVALUATION_BATCH = 500
EVALUATION_PIXELS = {"cpu": 1 << 15, "cuda": 1 << 19}
"""Most images, and most pixels per device, that are validated at once. On CPU the feature maps of more would
not fit into the memory that training has left free."""

FULL_EPOCHS = 60
"""Epochs of a full training; a claim from fewer epochs must show that it holds for more."""


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum and a one-cycle learning rate.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        lr: Peak of the learning rate.
        momentum: Nesterov momentum; 0 for none.
        weight_decay: L2 penalty of weights; norms and biases do not decay.
        label_smoothing: Label smoothing, from 0 to 1.
        pad: Largest shift of a random crop, in pixels.
        flip: Whether images are mirrored at random.
        cutout: Side of the blanked square in pixels (DeVries and Taylor, 2017); 0 for none.
        precision: float32 or bfloat16 of the forward and backward pass; auto follows from the hardware:
            bfloat16 if it multiplies in it, else float32.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    pad: int = 4
    flip: bool = True
    cutout: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            whole = isinstance(low, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise NasError(f"must be a {'whole ' * whole}number, not {value!r}", where=f"recipe: {name}")
            if not low <= value <= high or value == math.inf:
                raise NasError(f"must be from {low} to {high}, not {value!r}", where=f"recipe: {name}")
        if self.precision not in PRECISIONS:
            hint = did_you_mean(self.precision, PRECISIONS)
            raise NasError(f"unknown precision {self.precision!r}", where="recipe: precision", hint=hint)

    def cycle(self, epoch: int) -> tuple[int, int]:
        """Return the first epoch and the end of the learning rate's cycle around an epoch, counted from 0."""
        return 0, self.epochs


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


def adjusted(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some fields changed. Raises NasError if one is unknown or out of bounds."""
    known = [field.name for field in fields(Recipe)]
    for name in changes:
        if name not in known:
            hint = did_you_mean(name, known)
            raise NasError(f"unknown field {name!r}", where="recipe", hint=hint)
    return replace(recipe, **changes)
