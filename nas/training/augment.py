"""Batches of augmented images."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data import Dataset
from nas.data.dataset import IGNORE
from nas.training.device_data import BatchReader, device_dataset, reflected
from nas.training.devices import ALONE, DeviceGroup
from nas.training.imbalance import BalancedOrder
from nas.training.metrics import Mix
from nas.training.recipe import BALANCED, Recipe
from nas.training.transforms import Draw, adjust, draw_factors, draw_operations, operate, operate_masks


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
        group: Processes that share each batch. Draws are for the whole batch, in each of them.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        device: torch.device,
        generator: torch.Generator,
        group: DeviceGroup = ALONE,
    ) -> None:
        self.data = device_dataset(dataset, device)
        self.size = min(recipe.batch_size, len(dataset.train_labels))
        self.dataset, self.recipe, self.generator, self.device = dataset, recipe, generator, device
        self.group = group
        self.own = self._own_rows()
        self.rows_read = self.size if self.own is None else len(self.own)
        self.reader = BatchReader(self.data, self.rows_read)
        self.normalize = Normalizer(dataset, device)
        balanced = recipe.sampling == BALANCED
        labels = torch.tensor(np.asarray(dataset.train_labels), device=device).long() if balanced else None
        self.balanced = None if labels is None else BalancedOrder(labels, generator)
        _, self.height, self.width = dataset.input_shape
        # Rows and columns of an image with margins, which no image is stored with.
        self.rows, self.columns = (reflected(side, recipe.pad, device) for side in dataset.input_shape[1:])

    def __len__(self) -> int:
        return len(self.dataset.train_labels) // self.size

    def _own_rows(self) -> Tensor | None:
        """Return the rows of a batch that this process reads, None for all; with mixup also those that
        they are mixed with."""
        if self.group.size == 1:
            return None
        rows = torch.tensor(self.group.rows(self.size), device=self.device)
        return torch.cat([rows, self.size - 1 - rows]) if self.recipe.mixup else rows

    def _take(self, values: Tensor) -> Tensor:
        """Return the rows of this process."""
        return values if self.own is None else values.index_select(0, self.own)

    def order(self) -> Tensor:
        """Return the indices of the images of each batch of an epoch, (batches, size); in a group those of
        this process."""
        if self.balanced is not None:
            order = self.balanced(len(self) * self.size)
        else:
            count = len(self.dataset.train_labels)
            order = torch.randperm(count, generator=self.generator, device=self.device)
        batches = order[: len(self) * self.size].view(len(self), self.size)
        return batches if self.own is None else batches.index_select(1, self.own)

    def augment_batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of a batch, augmented with new random draws.

        Images are shifted by up to `pad` pixels and, if the recipe says so, mirrored, changed in colour and
        geometry, and partly blanked. A mask moves with its image.

        Args:
            chosen: Indices of the images.
        """
        shifts = 2 * self.recipe.pad + 1
        top, left = self._draw(shifts), self._draw(shifts)
        mirrored = self._draw(2)[:, 0] if self.recipe.flip else None
        pixels, labels = self.reader.fetch(chosen)
        images = pixels.permute(0, 2, 3, 1).contiguous()
        images = images.index_select(1, self.rows).index_select(2, self.columns)
        count, height, width, _ = images.shape
        first = height * torch.arange(count, device=self.device)  # the first row of each image
        rows = first[:, None] + top + torch.arange(self.height, device=self.device)
        starts = rows * width + left  # the first pixel of each row of each window
        images, draw = self._transform(self._windows(images, starts, mirrored))
        inputs = self.normalize(images)
        if self.recipe.cutout:
            inputs = self._cut_out(inputs)
        if self.dataset.task == "segmentation":
            masks = F.pad(labels, (self.recipe.pad,) * 4, value=IGNORE)[..., None]
            masks = self._windows(masks, starts, mirrored)[..., 0]
            return inputs, (masks if draw is None else operate_masks(masks, draw)).long()
        return inputs, labels.long()

    def mix(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Mix | None]:
        """Return inputs mixed in pairs, as the recipe asks (mixup, Zhang et al., 2018), and how; else as they
        are and None.

        Each image keeps the larger share, so that its own label is that of the mixture too. The shares come
        from torch's default generator of the device. In a group, the second half of the inputs are those that
        the first is mixed with, and is left out of the result.
        """
        if not self.recipe.mixup:
            return inputs, None
        drawn = self.shares.sample((self.size,))
        share = torch.maximum(drawn, 1 - drawn)
        if self.own is None:
            others, answers = inputs.flip(0), labels.flip(0)
        else:
            inputs, others = inputs.chunk(2)
            answers, share = labels.chunk(2)[1], self._take(share)[: len(inputs)]
        mixed = torch.lerp(others, inputs, share[:, None, None, None])
        return mixed, Mix(answers, share)

    @cached_property
    def shares(self) -> torch.distributions.Beta:
        """Return the distribution of the shares of mixup."""
        alpha = torch.tensor(float(self.recipe.mixup), device=self.device)
        return torch.distributions.Beta(alpha, alpha, validate_args=False)  # checks would wait for the device

    def _transform(self, images: Tensor) -> tuple[Tensor, Draw | None]:
        """Return uint8 images changed in colour and geometry as the recipe asks, and what was drawn."""
        recipe, draw = self.recipe, None
        if recipe.color_jitter:
            factors = draw_factors(self.size, recipe.color_jitter, self.generator)
            images = adjust(images.float(), *map(self._take, factors))
        if recipe.rand_augment:
            draw = draw_operations(self.size, recipe.rand_augment, self.generator)
            draw = Draw(self._take(draw.levels))
            images = operate(images.float(), draw)
        return images, draw

    def _draw(self, high: int) -> Tensor:
        """Draw an integer below `high` for each image of a batch, as a column."""
        return self._take(torch.randint(high, (self.size, 1), generator=self.generator, device=self.device))

    def _windows(self, images: Tensor, starts: Tensor, mirrored: Tensor | None) -> Tensor:
        """Return windows whose rows of pixels begin at `starts` (images, height) in images with margins;
        mirrored where `mirrored` is 1."""
        channels, pixels = images.shape[-1], images.numel() // images.shape[-1]
        # Overlapping view with one row per start, so that whole rows are gathered rather than pixels.
        rows = images.as_strided((pixels - self.width + 1, self.width * channels), (channels, 1))
        windows = rows.index_select(0, starts.flatten()).view(*starts.shape, self.width, channels)
        if mirrored is None:
            return windows
        both = torch.cat([windows, windows.flip(2)])
        return both.index_select(0, torch.arange(len(starts), device=self.device) + len(starts) * mirrored)

    def _cut_out(self, inputs: Tensor) -> Tensor:
        """Set a square around a random pixel to the mean (Cutout, DeVries and Taylor, 2017)."""
        side = self.recipe.cutout
        rows = torch.arange(self.height, device=self.device) - self._draw(self.height) + side // 2
        columns = torch.arange(self.width, device=self.device) - self._draw(self.width) + side // 2
        inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
        return inputs.masked_fill_(inside[:, None], 0.0)
