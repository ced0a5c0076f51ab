"""How candidates are trained: the same for every one of a search."""

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
    # Large buffers are kept, not returned to the kernel and faulted in again at every step.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Environment of a process that trains one candidate at a time on one core."""

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
"""Images that are validated at once, and pixels in them. On CPU more would be no faster, and their
feature maps would not fit into the memory that training has left free."""

FULL_EPOCHS = 60
"""A full schedule; a claim from fewer epochs has to show that it holds for more."""


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum and a one-cycle rate.

    lr: peak of the rate; pad: pixels by which a random crop shifts at most; cutout: side
    of the square that is blanked (DeVries and Taylor, 2017), 0 for none; precision of the
    forward and backward pass: auto takes bfloat16 where the hardware multiplies in it, else float32.
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
        """First epoch and end of the cycle of the rate that an epoch, counted from 0, lies in."""
        return 0, self.epochs


@dataclass(frozen=True)
class StagedRecipe(Recipe):
    """With a cycle of the rate up to each of `rungs`, the last of which is `epochs`: warm restarts
    (Loshchilov and Hutter, 2017). So networks are compared at a rung with their rate at its end."""

    rungs: tuple[int, ...] = ()

    def cycle(self, epoch: int) -> tuple[int, int]:
        at = bisect_right(self.rungs, epoch)
        return (0, *self.rungs)[at], self.rungs[at]


def default_recipe(dataset: Dataset, epochs: int | None = None) -> Recipe:
    """A recipe for small images and short trainings.

    Grey images are not mirrored: most are of characters, whose mirror image is another
    sign. Cutout begins with long trainings; a short one does not overfit, and in segmentation
    it would hide what the mask asks for. A small set is given smaller batches, for want of
    steps; masks smaller ones still, as an image is many answers.
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
    """Images that are validated at once, at least 16."""
    _, height, width = dataset.input_shape
    pixels = EVALUATION_PIXELS["cpu" if device == "cpu" else "cuda"]
    return min(EVALUATION_BATCH, max(16, pixels // (height * width)))


def staged(recipe: Recipe, rungs: Sequence[int]) -> Recipe:
    """A recipe for trainings that may stop at rungs; as it is where its epochs are not the last rung."""
    if not rungs or rungs[-1] != recipe.epochs:
        return recipe
    return StagedRecipe(**asdict(recipe), rungs=tuple(rungs))


def adjusted(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with some of its fields set; NasError names one that is unknown or out of bounds."""
    known = [field.name for field in fields(Recipe)]
    for name in changes:
        if name not in known:
            hint = did_you_mean(name, known)
            raise NasError(f"unknown field {name!r}", where="recipe", hint=hint)
    return replace(recipe, **changes)
