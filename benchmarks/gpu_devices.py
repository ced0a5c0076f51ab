"""One training on several GPUs, a part of `gpu.py`: images per second, and whether figures stay the same."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nas.codegen.build import build
from nas.data.dataset import Dataset
from nas.training import loop
from nas.training.recipe import Recipe, default_recipe
from nas.zoo import zoo_entry

EPOCHS = 4
BATCH = 512
"""Images of a batch, on whatever number of devices."""


def train_on(devices: Any, dataset: Dataset, recipe: Recipe, place: str, small: bool) -> dict[str, Any]:
    """Return images per second after the first epoch, and the training losses.

    Args:
        devices: Devices of `nas train`, None for one.
        dataset: Images to train on.
        recipe: How to train.
        place: cpu or cuda.
        small: Whether to take a small network.
    """
    entry = zoo_entry("resnet20" if small else "resnet18")
    torch.manual_seed(0)
    network = build(entry.build(), dataset.input_shape, dataset.num_classes)
    ends: list[float] = []
    rows: list[dict[str, float]] = []

    def on_epoch(row: dict[str, float]) -> None:
        ends.append(time.monotonic())
        rows.append(row)

    with tempfile.TemporaryDirectory() as folder:
        train = loop.train if devices is None else devices.train
        train(
            network, dataset, recipe, seed=0, device=place, on_epoch=on_epoch, checkpoint=Path(folder) / "c"
        )
    images = (len(ends) - 1) * len(dataset.train_labels)
    return {"rate": images / (ends[-1] - ends[0]), "losses": [row["train_loss"] for row in rows]}


def rows(dataset: Dataset, place: str, small: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for one device, and for all with local and with synchronised batch norms."""
    count = 2 if place == "cpu" else torch.cuda.device_count()
    if count < 2:
        yield {"devices": "several", "note": "skipped: there is one GPU"}
        return
    from nas.controller.evaluators.ray_train import RayDevices

    recipe = default_recipe(dataset, epochs=EPOCHS)
    fields = {"batch_size": 16 if small else BATCH, "lr": 0.01}
    recipe = Recipe(**{**recipe.__dict__, **fields})
    alone = train_on(None, dataset, recipe, place, small)
    yield {"devices": "1", "images_per_second": alone["rate"]}
    for sync in (False, True):
        with RayDevices(count, device=place, sync_batch_norm=sync) as devices:
            shared = train_on(devices, dataset, recipe, place, small)
        pairs = zip(shared["losses"], alone["losses"], strict=True)
        yield {
            "devices": f"{count}, batch norms {'synchronised' if sync else 'local'}",
            "images_per_second": shared["rate"],
            "times_one": shared["rate"] / alone["rate"],
            "largest_difference_of_loss": max(abs(one - other) for one, other in pairs),
        }
