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
HELD_OUT = ("test", "validation", "val", "valid")
"""Names of held-out parts, in any case. The first found is the test set, as ImageNet and others have no
labelled one; beside a test set the next is for validation."""


def open_folder(target: str, options: Options) -> Source:
    """PATH/CLASS/*.png, or PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, and PATH/validation too,
    their names in any case."""
    path = Path(target)
    where = f"folder:{path}"
    if not path.is_dir():
        raise NotFoundError("no such folder", where=where)
    parts = part_folders(path)
    if not parts:
        return Source(path.name, partial(_load, path, options.size, where))
    return Source(path.name, *[partial(_load, part, options.size, f"folder:{part}") for part in parts[:3]])


def part_folders(path: Path) -> list[Path]:
    """The folders of the training part and of those held out, in the order of `HELD_OUT`; [] where there is
    no training part. NasError if two folders name the same part."""
    parts: dict[str, Path] = {}
    for entry in sorted(path.iterdir()):
        name = entry.name.lower()
        if name not in ("train", *HELD_OUT) or not entry.is_dir():
            continue
        if name in parts:
            hint = f"keep one of {parts[name].name}/ and {entry.name}/"
            raise NasError(f"has two folders named {name}", where=str(path), hint=hint)
        parts[name] = entry
    train = parts.get("train")
    # Train/ with images right in it, beside Bus/ and Car/, is a class.
    alone = len(parts) == 1 and train is not None and train.name != "train"
    if train is None or (alone and not any(_is_class(entry) for entry in train.iterdir())):
        return []
    return [parts[name] for name in ("train", *HELD_OUT) if name in parts]


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
