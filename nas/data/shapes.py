"""A synthetic set for segmentation: circles, squares and triangles on a textured ground.

Colours are independent of the class, so a network must look at outlines. A line of one pixel around
each shape is ignored, as in PASCAL VOC.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from nas.data.dataset import IGNORE, Split
from nas.data.source import Form, Options, Source

CLASSES = ("background", "circle", "square", "triangle")
SIZE = 32
TRAIN, TEST = 1200, 300
SHAPES = (1, 4)
"""Fewest and most shapes in an image."""
AREAS = (60.0, 250.0)
"""Smallest and largest area of a shape, in pixels, for every class."""
MARGIN = 5
"""Least distance of the centre of a shape from the edge of the image, in pixels."""
CONTRAST = 60
"""Least difference between a shape and the ground in some channel, in grey levels."""
BORDER = 0.5
"""Width of the ignored line on either side of an outline, in pixels."""
NOISE = 12
"""Standard deviation of the noise that is added, in grey levels."""

Array = npt.NDArray[np.float64]


def open_shapes(_: str, options: Options) -> Source:
    """Draw 1,200 + 300 colour images of 32x32 pixels with masks of 4 classes, always the same."""
    return Source("shapes", partial(draw, TRAIN, 0), partial(draw, TEST, 1))


def draw(count: int, seed: int) -> Split:
    """Draw `count` images with their masks; they follow from `seed`."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, 3, SIZE, SIZE), dtype=np.uint8)
    masks = np.zeros((count, SIZE, SIZE), dtype=np.uint8)
    for image, mask in zip(images, masks, strict=True):
        _draw(image, mask, rng)
    return Split(images, masks, CLASSES)


def _draw(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw one image and its mask in place; later shapes cover earlier ones."""
    ground = _colour(rng)
    canvas = _texture(ground, rng)
    for _ in range(rng.integers(SHAPES[0], SHAPES[1] + 1)):
        label = int(rng.integers(1, len(CLASSES)))
        depth = _depth(label, rng)
        mask[depth > -BORDER] = IGNORE
        mask[depth > BORDER] = label
        cover = np.clip(depth + 0.5, 0, 1)  # the share of a pixel at the edge that is covered
        colour = _colour(rng)
        while np.abs(colour - ground).max() < CONTRAST:
            colour = _colour(rng)
        canvas += cover * (_texture(colour, rng) - canvas)
    image[:] = np.clip(canvas + rng.normal(0, NOISE, canvas.shape), 0, 255)


def _depth(label: int, rng: np.random.Generator) -> Array:
    """Return the depth of each pixel inside a random shape, in pixels; negative outside."""
    centre, area = rng.uniform(MARGIN, SIZE - MARGIN, 2), rng.uniform(*AREAS)
    turn = rng.uniform(0, 2 * np.pi)
    y, x = (np.arange(SIZE) + 0.5 - at for at in centre)
    y = y[:, None]
    if CLASSES[label] == "circle":
        return np.asarray(np.sqrt(area / np.pi) - np.hypot(y, x))
    sides = 4 if CLASSES[label] == "square" else 3
    inner = np.sqrt(area / (sides * np.tan(np.pi / sides)))  # radius of the inscribed circle
    angles = turn + 2 * np.pi * np.arange(sides) / sides
    return np.asarray(np.min([inner - x * np.cos(a) - y * np.sin(a) for a in angles], axis=0))


def _colour(rng: np.random.Generator) -> Array:
    return rng.uniform(40, 215, (3, 1, 1))


def _texture(colour: Array, rng: np.random.Generator) -> Array:
    """Return a colour that varies in patches, (3, SIZE, SIZE)."""
    step = int(rng.choice((2, 4, 8)))
    patches = rng.uniform(-30, 30, (3, SIZE // step, SIZE // step))
    return np.asarray(colour + patches.repeat(step, axis=1).repeat(step, axis=2))


FORMS = (Form("shapes", open_shapes, "for segmentation: 1,500 drawn images of 32x32 pixels; no download"),)
