"""Random changes of colour and geometry, each on a whole batch.

Images are float32 (n, height, width, channels) from 0 to 255. All images of a batch take the same operations,
with parameters that leave an image as it is where an operation was not drawn. Thus nothing depends on a value
that the host would have to read back, and a CUDA graph can record it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data.dataset import IGNORE

WHITE = 255.0
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey image (ITU-R BT.601)."""

MAX_MAGNITUDE = 10
OPERATIONS = (
    *("identity", "rotate", "shear_x", "shear_y", "shift_x", "shift_y"),
    *("brightness", "contrast", "saturation", "posterize", "solarize"),
)
PER_IMAGE = 2
"""Operations drawn per image."""
MAX_ROTATION = math.radians(30)
MAX_SHEAR = 0.3
MAX_SHIFT = 0.3
"""Largest shift, as a share of the side."""
MAX_COLOUR = 0.9
MAX_BITS = 4
"""Most bits per pixel that posterizing takes away."""


class Draw(NamedTuple):
    """Signed magnitudes, from -1 to 1, of each operation (columns in the order of OPERATIONS) for each
    image; 0 where it was not drawn."""

    levels: Tensor

    def level(self, operation: str) -> Tensor:
        """Return the magnitudes of one operation, (n,)."""
        return self.levels[:, OPERATIONS.index(operation)]


def draw_operations(size: int, magnitude: int, generator: torch.Generator) -> Draw:
    """Draw PER_IMAGE operations per image, with random signs.

    Args:
        size: Images of the batch.
        magnitude: From 0 to MAX_MAGNITUDE.
        generator: Source of the draws, on the device of the images.
    """
    device, shape = generator.device, (size, len(OPERATIONS))
    chosen = torch.randint(len(OPERATIONS), (size, PER_IMAGE), generator=generator, device=device)
    drawn = torch.zeros(shape, device=device).scatter_(1, chosen, magnitude / MAX_MAGNITUDE)
    signs = torch.randint(2, shape, generator=generator, device=device)
    return Draw(drawn * (2 * signs - 1))


def draw_factors(size: int, strength: float, generator: torch.Generator) -> Tensor:
    """Draw factors within 1 ± strength for brightness, contrast and saturation, (3, size, 1, 1, 1)."""
    shape = (3, size, 1, 1, 1)
    return 1 + strength * (2 * torch.rand(shape, generator=generator, device=generator.device) - 1)


def adjust(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Return images with three properties scaled in turn, by factors (n, 1, 1, 1).

    Brightness 0 gives black, contrast 0 the mean grey of each image, saturation 0 a grey image.
    """
    images = (images * brightness).clamp(0, WHITE)
    images = torch.lerp(grey(images).mean((1, 2), keepdim=True), images, contrast).clamp(0, WHITE)
    if images.shape[-1] == 1:
        return images
    return torch.lerp(grey(images), images, saturation).clamp(0, WHITE)


def grey(images: Tensor) -> Tensor:
    """Return the luma of images, with one channel."""
    if images.shape[-1] != len(LUMA):
        return images.mean(3, keepdim=True)
    red, green, blue = (images[..., i : i + 1] for i in range(len(LUMA)))
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def operate(images: Tensor, draw: Draw) -> Tensor:
    """Return images after the operations that were drawn for them: geometry first, then colour."""
    images = warp(images, affine(draw, *images.shape[1:3]), "bilinear")
    factors = [
        _column(1 + MAX_COLOUR * draw.level(name)) for name in ("brightness", "contrast", "saturation")
    ]
    images = adjust(images, *factors)
    step = _column(2 ** (MAX_BITS * draw.level("posterize").abs()).round())
    images = torch.where(step > 1, (images / step).floor() * step, images)
    threshold = _column(WHITE * (1 - draw.level("solarize").abs()))
    return torch.where(images > threshold, WHITE - images, images)


def operate_masks(masks: Tensor, draw: Draw) -> Tensor:
    """Return masks (n, height, width) moved as `operate` moves their images; new pixels are ignored."""
    shifted = masks[..., None].float() - IGNORE  # zeros are filled in
    moved = warp(shifted, affine(draw, *masks.shape[1:]), "nearest")[..., 0]
    return (moved + IGNORE).round().to(masks.dtype)


def affine(draw: Draw, height: int, width: int) -> Tensor:
    """Return the matrices (n, 2, 3) that map coordinates of the result to those of the image.

    Coordinates run from -1 to 1.
    """
    angle = MAX_ROTATION * draw.level("rotate")
    across, down = MAX_SHEAR * draw.level("shear_x"), MAX_SHEAR * draw.level("shear_y")
    cos, sin = angle.cos(), angle.sin()
    # The rotation times the shear, in pixels; then in units of half the width and height.
    rows = (
        (cos - sin * down, (cos * across - sin) * (height / width), 2 * MAX_SHIFT * draw.level("shift_x")),
        ((sin + cos * down) * (width / height), sin * across + cos, 2 * MAX_SHIFT * draw.level("shift_y")),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def warp(images: Tensor, matrices: Tensor, mode: str) -> Tensor:
    """Return images resampled at the coordinates of `matrices`; what lies outside is reflected, for mode
    nearest zero."""
    channels_first = images.permute(0, 3, 1, 2)
    shape: Sequence[int] = channels_first.shape
    grid = F.affine_grid(matrices, list(shape), align_corners=False)
    outside = "reflection" if mode == "bilinear" else "zeros"
    moved = F.grid_sample(channels_first, grid, mode=mode, padding_mode=outside, align_corners=False)
    return moved.permute(0, 2, 3, 1)


def _column(values: Tensor) -> Tensor:
    """Return one value per image in a shape that spreads over its pixels."""
    return values[:, None, None, None]
