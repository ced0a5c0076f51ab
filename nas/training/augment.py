"""Batches of augmented images, cut in one gather from a data set that lies on the device."""

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
    """A data set on a device, as uint8 with its labels as they are. The training images are
    (n, height, width, channels) with a margin, their masks have one too; the validation images
    are (n, channels, height, width)."""

    images: Tensor
    labels: Tensor
    val_images: Tensor
    val_labels: Tensor


_on_device: WeakKeyDictionary[Dataset, tuple[int, torch.device, DeviceDataset]] = WeakKeyDictionary()


def device_dataset(dataset: Dataset, pad: int, device: torch.device) -> DeviceDataset:
    """The data set on a device with margins of `pad` pixels: put there once for all the candidates
    that a process trains on it, and kept as long as `dataset` is."""
    kept = _on_device.get(dataset)
    if kept and kept[:2] == (pad, device):
        return kept[2]
    images, labels = dataset.train_images.transpose(0, 2, 3, 1), dataset.train_labels
    margin = (pad, pad)
    images = np.pad(images, ((0, 0), margin, margin, (0, 0)), mode="reflect")
    if dataset.task == "segmentation":
        labels = np.pad(labels, ((0, 0), margin, margin), constant_values=IGNORE)
    # Only the padded images are ours to share with torch; the others may be read-only.
    rest = (torch.tensor(array, device=device) for array in (labels, dataset.val_images, dataset.val_labels))
    made = DeviceDataset(torch.from_numpy(images).to(device), *rest)
    _on_device[dataset] = (pad, device, made)
    return made


class Normalizer:
    """From uint8 (n, height, width, channels) to float32 (n, channels, height, width) in
    channels-last memory, with mean 0 and standard deviation 1 over the training images."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        # As one row of pixels: along three values alone arithmetic is ten times as slow.
        width = dataset.input_shape[2]
        self.mean = 255 * torch.tensor(dataset.mean, device=device).repeat(width)
        # A channel without contrast would divide by zero; below one grey level there is none.
        self.scale = 1 / (255 * torch.tensor(dataset.std, device=device)).clamp(min=1).repeat(width)

    def __call__(self, images: Tensor) -> Tensor:
        rows = images.contiguous().flatten(2).float().sub_(self.mean).mul_(self.scale)
        return rows.view(images.shape).permute(0, 3, 1, 2)


class Batches:
    """The batches of an epoch: (inputs, labels) of a fixed size in random order, the last incomplete
    batch left out. All draws come from `generator`. Where an image is shifted over its edge
    it is reflected, and its mask ignored."""

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
        """The images of each batch of an epoch, (batches, size)."""
        shuffled = torch.randperm(len(self.data.labels), generator=self.generator, device=self.device)
        return shuffled[: len(self) * self.size].view(len(self), self.size)

    def augment_batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of the images that are chosen, each augmented anew: shifted by up to `pad` pixels
        and, where the recipe says so, mirrored. An image and its mask are cut at the same place."""
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
        """A whole number below `high` for each image of a batch, as a column."""
        return torch.randint(high, (self.size, 1), generator=self.generator, device=self.device)

    def _windows(self, images: Tensor, starts: Tensor, mirrored: Tensor | None) -> Tensor:
        """Rows of `width` pixels that begin at `starts` (size, height) in images with margins; in those
        where `mirrored` is 1 and not 0, from right to left."""
        channels, pixels = images.shape[-1], images.numel() // images.shape[-1]
        # A view of every row that begins anywhere: so a row is gathered at once, not pixel by pixel.
        rows = images.as_strided((pixels - self.width + 1, self.width * channels), (channels, 1))
        windows = rows.index_select(0, starts.flatten()).view(*starts.shape, self.width, channels)
        if mirrored is None:
            return windows
        either = torch.cat([windows, windows.flip(2)])
        return either.index_select(0, torch.arange(self.size, device=self.device) + self.size * mirrored)

    def _cut_out(self, inputs: Tensor) -> Tensor:
        """A square around a random pixel set to the mean (DeVries and Taylor, 2017)."""
        side = self.recipe.cutout
        rows = torch.arange(self.height, device=self.device) - self._draw(self.height) + side // 2
        columns = torch.arange(self.width, device=self.device) - self._draw(self.width) + side // 2
        inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
        return inputs.masked_fill_(inside[:, None], 0.0)
