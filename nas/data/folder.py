"""A folder of images with one folder per class."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from nas.data.cache import cached, files_key
from nas.data.dataset import Part
from nas.data.images import decode, stack
from nas.data.source import Options, Source
from nas.errors import NasError, NotFoundError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
HELD_OUT = ("test", "validation", "val")
"""Names of held-out parts. The first found is the test set, as ImageNet and others have no labelled one;
beside a test set the next is for validation."""


def open_folder(target: str, options: Options) -> Source:
    """PATH/CLASS/*.png, or PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, and PATH/validation too."""
    path = Path(target)
    where = f"folder:{path}"
    if not path.is_dir():
        raise NotFoundError("no such folder", where=where)
    if not (path / "train").is_dir():
        return Source(path.name, partial(_load, path, options.size, where))
    found = [path / name for name in ("train", *HELD_OUT) if (path / name).is_dir()]
    return Source(path.name, *[partial(_load, part, options.size, f"folder:{part}") for part in found[:3]])


def _load(path: Path, size: int | None, where: str) -> Part:
    classes = tuple(sorted(entry.name for entry in path.iterdir() if _is_class(entry)))
    files = [(file, label) for label, name in enumerate(classes) for file in image_files(path / name)]
    if not files:
        hint = f"expected a folder per class with images ({', '.join(SUFFIXES)})"
        raise NasError("has no images", where=where, hint=hint)
    key = f"folder {size} {files_key(file for file, _ in files)}"
    return cached(key, partial(_decode, files, classes, size))


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def image_files(folder: Path) -> list[Path]:
    """The images in a folder and below, in order."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _decode(files: list[tuple[Path, int]], classes: tuple[str, ...], size: int | None) -> Part:
    images = [decode(file, size, str(file)) for file, _ in files]
    labels = np.array([label for _, label in files], dtype=np.int64)
    return Part(stack(images, [str(file) for file, _ in files]), labels, classes)
