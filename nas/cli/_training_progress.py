"""Progress of a full training on stderr: what is trained and how, then a line per epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.cli._output import note, percent
from nas.formatting import count, duration

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe


class TrainingProgress:
    """Callbacks for `nas.exporters.train.train_target`."""

    def __init__(self) -> None:
        self.epochs = 0
        self.times: list[float] = []
        """Times at which the training began and each epoch ended."""

    def start(self, dataset: Dataset, recipe: Recipe) -> None:
        from nas.training.recipe_text import augmentation_line

        self.epochs = recipe.epochs
        self.times = [time.monotonic()]
        images = count(len(dataset.train_labels), "image")
        note(f"training    {recipe.epochs} epochs of {images} of {dataset.name}, in {recipe.precision}")
        note(augmentation_line(recipe))
        extras = [f"weights averaged (ema {recipe.ema:g})"] if recipe.ema else []
        extras += [f"patience of {count(recipe.patience, 'epoch')}"] if recipe.patience else []
        if extras:
            note(f"kept        {', '.join(extras)}")

    def epoch(self, row: Mapping[str, float]) -> None:
        self.times.append(time.monotonic())
        passed = self.times[-1] - self.times[0]
        left = passed / (len(self.times) - 1) * (self.epochs - row["epoch"])
        note(
            f"epoch {row['epoch']:>3}/{self.epochs}  training loss {row['train_loss']:.4f}  "
            f"validation error {error_text(row, 'val'):>6}  {duration(left)} left"
        )


def error_text(figures: Mapping[str, Any], part: str) -> str:
    """Return the error of a split; for masks, also what the error is and the pixel accuracy."""
    accuracy = figures.get(f"{part}_pixel_accuracy")
    error = percent(figures[f"{part}_error"])
    return error if accuracy is None else f"{error} (1 - mIoU; pixel accuracy {percent(accuracy)})"
