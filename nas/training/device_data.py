"""Images of a data set where a training reads them: on the host, or resident on a GPU where they fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from nas.data import Dataset
from nas.data.dataset import Images, Labels
from nas.training.memory import RESIDENT

AHEAD = 2
"""Batches that are gathered on the host before a GPU has trained on the first of them."""


class DeviceDataset:
    """Images and labels, shared by all trainings of a process on one device.

    On a CPU nothing is copied. On a GPU the images are resident if they take at most RESIDENT bytes and a
    quarter of its memory.

    Attributes:
        images, val_images: uint8 of (n, channels, height, width): tensors if resident, else arrays.
        labels, val_labels: Class indices on the device, or masks like the images.
    """

    labels: Labels | Tensor
    val_labels: Labels | Tensor

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.device = device
        size = dataset.train_images.nbytes + dataset.val_images.nbytes
        self.resident = device.type == "cuda" and size <= min(RESIDENT, _gpu_bytes(device) // 4)
        self.images: Images | Tensor = self._put(dataset.train_images)
        self.val_images: Images | Tensor = self._put(dataset.val_images)
        masks = dataset.task == "segmentation"
        self.labels, self.val_labels = (
            self._put(labels) if masks else torch.tensor(labels, device=device)
            for labels in (dataset.train_labels, dataset.val_labels)
        )

    def _put(self, array: Any) -> Any:
        return torch.tensor(np.asarray(array), device=self.device) if self.resident else array


class BatchReader:
    """Reads the training images of batches, on the device."""

    def __init__(self, data: DeviceDataset, size: int) -> None:
        self.sources = (data.images, data.labels)
        self.staged: list[Staging | None] = [None, None]
        if data.device.type == "cuda":
            self.staged = [
                None if isinstance(source, Tensor) else Staging(source, size, data.device)
                for source in self.sources
            ]

    def staging(self, order: Tensor) -> Iterator[Tensor]:
        """Yield the batches of an order, (batches, size), each with its images on the way to the GPU.

        The copies are queued behind the work of the GPU, of images that do not lie there. The host learns the
        order once, as asking for each batch would wait for the one before.
        """
        waiting = [staging for staging in self.staged if staging]
        rows = order.cpu() if waiting else order
        for chosen, on_host in zip(order, rows, strict=True):
            for staging in waiting:
                staging.load(on_host)
            yield chosen

    def fetch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images of a batch, uint8 (n, channels, height, width), and their labels.

        Args:
            chosen: Indices of the images, on the device; the batch that `staging` gave last.
        """
        images, labels = (
            staging.batch if staging else gather(source, chosen)
            for staging, source in zip(self.staged, self.sources, strict=True)
        )
        return images, labels


class Staging:
    """One batch on a GPU, gathered on the host while the GPU trains on the batches before.

    Its tensor stays in place, so that a CUDA graph may read it. Copies and trainings follow each other on one
    stream; the host runs ahead of it.
    """

    def __init__(self, source: Images | Labels, size: int, device: torch.device) -> None:
        self.source, self.count = source, 0
        shape = (size, *source.shape[1:])
        self.batch = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.pinned = [torch.zeros(shape, dtype=torch.uint8, pin_memory=True) for _ in range(AHEAD)]
        self.copied: list[torch.cuda.Event | None] = [None] * AHEAD

    def load(self, rows: Tensor) -> None:
        """Gather rows of the source, and queue their copy behind the work of the GPU."""
        slot = self.count % AHEAD
        self.count += 1
        if (earlier := self.copied[slot]) is not None:
            earlier.synchronize()
        self.pinned[slot].copy_(gather(self.source, rows))
        self.batch.copy_(self.pinned[slot], non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self.copied[slot] = event


_on_device: WeakKeyDictionary[Dataset, tuple[torch.device, DeviceDataset]] = WeakKeyDictionary()


def device_dataset(dataset: Dataset, device: torch.device) -> DeviceDataset:
    """Return a data set on a device, shared by all trainings of this process on it, for as long as the data
    set lives."""
    cached = _on_device.get(dataset)
    if cached is None or cached[0] != device:
        cached = _on_device[dataset] = (device, DeviceDataset(dataset, device))
    return cached[1]


def gather(array: Images | Labels | Tensor, chosen: Tensor | slice) -> Tensor:
    """Return rows of an array as a tensor in memory; those of a tensor on its device."""
    if isinstance(array, Tensor):
        return array[chosen] if isinstance(chosen, slice) else array.index_select(0, chosen)
    rows = array[chosen if isinstance(chosen, slice) else chosen.numpy()]
    return torch.from_numpy(rows if rows.flags.writeable else rows.copy())


def reflected(length: int, pad: int, device: torch.device) -> Tensor:
    """Return the places of an axis with a margin of `pad` on both sides, in which it is reflected."""
    return torch.tensor(np.pad(np.arange(length), pad, mode="reflect"), device=device)


def _gpu_bytes(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).total_memory)
