"""Images and files of images that tests read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from nas.data import Split


def random_part(
    count: int = 60, classes: int = 3, shape: tuple[int, int, int] = (1, 4, 4), seed: int = 0
) -> Split:
    """Random images of `classes` classes in turn."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return Split(images, np.arange(count) % classes, tuple("abcdefghij"[:classes]))


def write_folder(
    root: Path,
    names: Sequence[str],
    count: int = 6,
    size: tuple[int, int] = (8, 8),
    mode: str = "RGB",
    seed: int = 0,
) -> None:
    """Write `count` random images to each of the folders `names`."""
    rng = np.random.default_rng(seed)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{i}.png")


def png(seed: int = 0, size: int = 8) -> bytes:
    """A random colour image as PNG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def image_table(labels: Sequence[object], start: int = 0) -> pa.Table:
    """A table of random images with labels, in the layout of Hugging Face."""
    rows = [{"bytes": png(start + i), "path": f"{i}.png"} for i in range(len(labels))]
    return pa.table({"img": rows, "label": labels})
