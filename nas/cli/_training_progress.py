"""Progress of a full training on stderr and in trackers: what is trained and how, then each epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli._output import note, percent
from nas.formatting import count, duration
from nas.integrations.training_log import TrainingLog

if TYPE_CHECKING:
    from nas.data import Dataset
    from nas.training.recipe import Recipe


class TrainingProgress:
    """Callbacks for `nas.exporters.train.train_target`; use as a context manager.

    Args:
        folder: Folder that the training writes. Trackers name the training after it, and keep their files
            beside it, because it is replaced whole.
        trackers: Names of trackers.
    """

    def __init__(self, folder: Path, trackers: Sequence[str] = ()) -> None:
        self.folder, self.log = folder, TrainingLog(trackers)
        self.epochs = 0
        self.times: list[float] = []
        """Times at which the training began and each epoch ended."""

    def __enter__(self) -> TrainingProgress:
        self.log.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.log.__exit__(*raised)

    def start(self, dataset: Dataset, recipe: Recipe) -> None:
        """Print what is trained and how."""
        from dataclasses import asdict

        from nas.training.recipe_text import recipe_lines

        self.epochs = recipe.epochs
        self.times = [time.monotonic()]
        images = count(len(dataset.train_labels), "image")
        note(f"training    {recipe.epochs} epochs of {images} of {dataset.name}, in {recipe.precision}")
        for line in recipe_lines(recipe, dataset):
            note(line)
        extras = [f"weights averaged (ema {recipe.ema:g})"] if recipe.ema else []
        extras += [f"patience of {count(recipe.patience, 'epoch')}"] if recipe.patience else []
        if extras:
            note(f"kept        {', '.join(extras)}")
        folder = self.folder.resolve()
        self.log.start(folder.name, folder.parent, {"data": dataset.name, **asdict(recipe)})

    def epoch(self, row: Mapping[str, float]) -> None:
        """Print an epoch and the time left, from the mean time of the epochs so far."""
        self.log.epoch(row)
        self.times.append(time.monotonic())
        passed = self.times[-1] - self.times[0]
        left = passed / (len(self.times) - 1) * (self.epochs - row["epoch"])
        note(
            f"epoch {row['epoch']:>3}/{self.epochs}  training loss {row['train_loss']:.4f}  "
            f"validation error {error_text(row, 'val'):>6}  {duration(left)} left"
        )

    def end(self, report: Mapping[str, Any]) -> None:
        """Report the figures of the test images to the trackers."""
        self.log.figures(report)


def error_text(figures: Mapping[str, Any], part: str) -> str:
    """Return the error of a split; for masks, also what the error is and the pixel accuracy."""
    accuracy = figures.get(f"{part}_pixel_accuracy")
    error = percent(figures[f"{part}_error"])
    return error if accuracy is None else f"{error} (1 - mIoU; pixel accuracy {percent(accuracy)})"
