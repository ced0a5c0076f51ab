"""A synthetic set for segmentation: circles, squares and triangles on a textured ground.

Colours tell nothing of the class, so a network must look at outlines. Between a shape and
what lies around it runs a line of one pixel that is ignored, as in PASCAL VOC.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from nas.data.dataset import IGNORE, Part
from nas.data.source import Form, Options, Source

CLASSES = ("background", "circle", "square", "triangle")
SIZE = 32
TRAIN, TEST = 1200, 300
SHAPES = (1, 4)
"""Fewest shapes in an image, and most."""
AREAS = (60.0, 250.0)
"""Of a shape, in pixels, the same for every class."""
MARGIN = 5
"""Pixels by which the centre of a shape is away from the edge of the image."""
CONTRAST = 60
"""Grey levels by which the colour of a shape differs from the ground in some channel, at least."""
BORDER = 0.5
"""Pixels to either side of an outline that are ignored."""
NOISE = 12

Array = npt.NDArray[np.float64]


def open_shapes(_: str, options: Options) -> Source:
    """1,200 + 300 colour images of 32x32 pixels with masks of 4 classes, always the same."""
    return Source("shapes", partial(draw, TRAIN, 0), partial(draw, TEST, 1))


def draw(count: int, seed: int) -> Part:
    """`count` images with their masks, by seed."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, 3, SIZE, SIZE), dtype=np.uint8)
    masks = np.zeros((count, SIZE, SIZE), dtype=np.uint8)
    for image, mask in zip(images, masks, strict=True):
        _draw(image, mask, rng)
    return Part(images, masks, CLASSES)


def _draw(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    """One picture: later shapes lie on top of earlier ones."""
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
    """How far each pixel lies inside a random shape, in pixels; below 0 outside."""
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
    """A colour that varies in patches, (3, SIZE, SIZE)."""
    step = int(rng.choice((2, 4, 8)))
    patches = rng.uniform(-30, 30, (3, SIZE // step, SIZE // step))
    return np.asarray(colour + patches.repeat(step, axis=1).repeat(step, axis=2))


FORMS = (Form("shapes", open_shapes, "for segmentation: 1,500 drawn images of 32x32 pixels; no download"),)
