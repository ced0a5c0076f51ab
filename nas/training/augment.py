"""Batches of augmented images, gathered from a data set that lies on the device."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from nas.data import Dataset
from nas.data.dataset import IGNORE
from nas.training.recipe import Recipe


class DeviceDataset(NamedTuple):
    """A data set on a device; images are uint8.

    Attributes:
        images: Training images of (n, height, width, channels), with a margin.
        labels: Their class indices of (n,), or masks of (n, height, width) with the same margin.
        val_images: Validation images of (n, channels, height, width).
        val_labels: Their class indices or masks.
    """

    images: Tensor
    labels: Tensor
    val_images: Tensor
    val_labels: Tensor


_on_device: WeakKeyDictionary[Dataset, tuple[int, torch.device, DeviceDataset]] = WeakKeyDictionary()


def device_dataset(dataset: Dataset, pad: int, device: torch.device) -> DeviceDataset:
    """Return a data set on a device, shared by all trainings of this process on it.

    Args:
        dataset: The data set. Its copy on the device lives as long as it does.
        pad: Margin of the training images, in pixels.
        device: The device.
    """
    cached = _on_device.get(dataset)
    if cached and cached[:2] == (pad, device):
        return cached[2]
    images, labels = dataset.train_images.transpose(0, 2, 3, 1), dataset.train_labels
    margin = (pad, pad)
    images = np.pad(images, ((0, 0), margin, margin, (0, 0)), mode="reflect")
    if dataset.task == "segmentation":
        labels = np.pad(labels, ((0, 0), margin, margin), constant_values=IGNORE)
    # np.pad made a copy that torch may share; the other arrays may be read-only.
    rest = (torch.tensor(array, device=device) for array in (labels, dataset.val_images, dataset.val_labels))
    copy = DeviceDataset(torch.from_numpy(images).to(device), *rest)
    _on_device[dataset] = (pad, device, copy)
    return copy


class Normalizer:
    """Converts uint8 (n, height, width, channels) to float32 (n, channels, height, width) in channels-last
    memory, with mean 0 and standard deviation 1 over the training images."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        # One value per pixel and channel of a row: torch vectorises along the last axis only.
        width = dataset.input_shape[2]
        self.mean = 255 * torch.tensor(dataset.mean, device=device).repeat(width)
        # A channel without contrast would divide by zero, so the deviation is at least one grey level.
        self.scale = 1 / (255 * torch.tensor(dataset.std, device=device)).clamp(min=1).repeat(width)

    def __call__(self, images: Tensor) -> Tensor:
        rows = images.contiguous().flatten(2).float().sub_(self.mean).mul_(self.scale)
        return rows.view(images.shape).permute(0, 3, 1, 2)


class Batches:
    """Augmented batches of a fixed size in random order; the last incomplete batch is left out.

    An image shifted over its edge is reflected there, and its mask ignored.

    Args:
        dataset: The data set; its training images are used.
        recipe: Batch size and augmentation.
        device: The device on which batches are made.
        generator: Source of all random draws, on that device.
    """

    def __init__(
        self, dataset: Dataset, recipe: Recipe, device: torch.device, generator: torch.Generator
    ) -> None:
        self.data = device_dataset(dataset, recipe.pad, device)
        self.size = min(recipe.batch_size, len(dataset.train_labels))
        self.normalize = Normalizer(dataset, device)
        self.dataset, self.recipe, self.generator, self.device = dataset, recipe, generator, device
        _, self.height, self.width = dataset.input_shape

    def __len__(self) -> int:
        return len(self.data.labels) // self.size

    def order(self) -> Tensor:
        """Return the indices of the images of each batch of an epoch, (batches, size)."""
        shuffled = torch.randperm(len(self.data.labels), generator=self.generator, device=self.device)
        return shuffled[: len(self) * self.size].view(len(self), self.size)

    def augment_batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of a batch, augmented with new random draws.

        Images are shifted by up to `pad` pixels and, if the recipe says so, mirrored and partly blanked. A
        mask is shifted and mirrored with its image.

        Args:
            chosen: Indices of the images.
        """
        shifts = 2 * self.recipe.pad + 1
        top, left = self._draw(shifts), self._draw(shifts)
        mirrored = self._draw(2)[:, 0] if self.recipe.flip else None
        _, height, width, _ = self.data.images.shape
        rows = chosen[:, None] * height + top + torch.arange(self.height, device=self.device)
        starts = rows * width + left  # the first pixel of each row of each window
        inputs = self.normalize(self._windows(self.data.images, starts, mirrored))
        if self.recipe.cutout:
            inputs = self._cut_out(inputs)
        if self.dataset.task == "segmentation":
            masks = self._windows(self.data.labels[..., None], starts, mirrored)
            return inputs, masks[..., 0].long()
        return inputs, self.data.labels[chosen].long()

    def _draw(self, high: int) -> Tensor:
        """Draw an integer below `high` for each image of a batch, as a column."""
        return torch.randint(high, (self.size, 1), generator=self.generator, device=self.device)

    def _windows(self, images: Tensor, starts: Tensor, mirrored: Tensor | None) -> Tensor:
        """Return windows whose rows of pixels begin at `starts` (size, height) in images with margins;
        mirrored where `mirrored` is 1."""
        channels, pixels = images.shape[-1], images.numel() // images.shape[-1]
        # Overlapping view with one row per start, so that whole rows are gathered rather than pixels.
        rows = images.as_strided((pixels - self.width + 1, self.width * channels), (channels, 1))
        windows = rows.index_select(0, starts.flatten()).view(*starts.shape, self.width, channels)
        if mirrored is None:
            return windows
        both = torch.cat([windows, windows.flip(2)])
        return both.index_select(0, torch.arange(self.size, device=self.device) + self.size * mirrored)

    def _cut_out(self, inputs: Tensor) -> Tensor:
        """Set a square around a random pixel to the mean (Cutout, DeVries and Taylor, 2017)."""
        side = self.recipe.cutout
        rows = torch.arange(self.height, device=self.device) - self._draw(self.height) + side // 2
        columns = torch.arange(self.width, device=self.device) - self._draw(self.width) + side // 2
        inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
        return inputs.masked_fill_(inside[:, None], 0.0)
