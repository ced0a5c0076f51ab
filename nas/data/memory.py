"""Images that are given in Python: arrays, PyTorch data sets and those of Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from nas.data.arrays import array_source, make_part, needs_16_bits
from nas.data.dataset import Split
from nas.data.decode import Job, Undecoded
from nas.data.images import to_picture
from nas.data.labels import to_classes
from nas.data.layout import part_of
from nas.data.rows import Indices
from nas.data.source import Source
from nas.errors import NasError

NAME = "memory"
"""Prefix, before the colon, in the record of data given in Python."""
ACCEPTED = (
    "give (images, labels); a dict of parts {'train': …, 'val': …, 'test': …}; a dict of arrays "
    "{'x_train': …, 'y_train': …}; a torch Dataset of (image, label); or a Hugging Face Dataset"
)


def open_object(data: object, name: str, where: str) -> Source:
    """Return a source of images that are in memory.

    Args:
        data: (images, labels); a mapping of parts, or of arrays by name; a sequence of (image, label) such
            as a torch `Dataset`; or a Hugging Face `Dataset` with an image and a label column.
        name: name of the data set.
        where: the data, for messages.

    Raises NasError for anything else, saying what is accepted.
    """
    if not isinstance(data, Mapping):
        return Source(name, partial(_part, data, where), origins={"train": type(data).__name__})
    keys = [str(key) for key in data]
    parts = {part_of(key): key for key in keys}
    if None not in parts and len(parts) == len(keys):
        if "train" not in parts:
            raise NasError("has no part 'train'", where=where, hint=ACCEPTED)
        wide = any(map(_is_wide, data.values()))
        loaders = {
            part: partial(_part, data[key], f"{where}: {key}", wide) for part, key in parts.items() if part
        }
        return Source.of_parts(name, loaders, {part: key for part, key in parts.items() if part})
    return array_source(name, keys, lambda: lambda key: np.asarray(data[key]), where)


def _part(data: Any, where: str, wide: bool = False) -> Split | Undecoded:
    """Read a part; wide: whether another part holds 16 bits, so that none is scaled alone."""
    if _is_pair_of_columns(data):
        images, labels = data
        return _from_rows(images, labels, None, where, wide)
    if hasattr(data, "column_names") and hasattr(data, "features"):
        return _from_columns(data, where)
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, str | bytes):
        raise NasError(f"{type(data).__name__} is not a data set", where=where, hint=ACCEPTED)
    rows = [data[i] for i in range(len(data))]
    if not all(isinstance(row, tuple | list) and len(row) == 2 for row in rows):
        raise NasError(
            f"the items of {type(data).__name__} are no (image, label)", where=where, hint=ACCEPTED
        )
    return _from_rows([row[0] for row in rows], [row[1] for row in rows], _class_names(data), where, wide)


def _is_pair_of_columns(data: Any) -> bool:
    return isinstance(data, tuple | list) and len(data) == 2 and all(map(_is_column, data))


def _is_wide(data: Any) -> bool:
    """Return whether a part of arrays, or a list of rows with one each, has pixels that need 16 bits."""
    images = data[0] if _is_pair_of_columns(data) else data if isinstance(data, list) else ()
    if isinstance(images, list):
        images = [item[0] if isinstance(item, tuple | list) and item else item for item in images]
    arrays = images if isinstance(images, list) else [images]
    return any(isinstance(pixels, np.ndarray) and needs_16_bits(pixels) for pixels in arrays)


def _is_column(item: Any) -> bool:
    """Return whether an item holds values of all images; a tuple is an image with its label."""
    return hasattr(item, "__len__") and not isinstance(item, tuple | str | bytes)


def _class_names(data: Any) -> Sequence[str] | None:
    """Return the class names that torchvision's data sets carry, also below a `Subset`."""
    names = getattr(data, "classes", None) or getattr(getattr(data, "dataset", None), "classes", None)
    return list(map(str, names)) if isinstance(names, list | tuple) else None


def _from_columns(data: Any, where: str) -> Split | Undecoded:
    """Read the rows of a Hugging Face data set, which gives Pillow images."""
    features = data.features
    images = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    labels = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    labels = labels or [name for name in ("label", "labels") if name in features]
    if len(images) != 1 or len(labels) != 1:
        columns = f"columns: {', '.join(data.column_names)}; select_columns keeps some"
        message = f"has {len(images)} image columns and {len(labels)} label columns, not one of each"
        raise NasError(message, where=where, hint=columns)
    names = getattr(features[labels[0]], "names", None)
    return _from_rows(list(data[images[0]]), list(data[labels[0]]), names, where)


def _jobs(images: Sequence[Any], where: str, indices: Indices) -> Iterator[Job]:
    for i in indices:
        yield f"{where}: {i}", partial(to_picture, images[i])


def _from_rows(
    images: Any, labels: Any, names: Sequence[str] | None, where: str, wide: bool = False
) -> Split | Undecoded:
    """Read pairs of an image (array, tensor or Pillow image) and a label."""
    try:
        answers = np.asarray(labels)
        if len(images) and all(hasattr(image, "has_transparency_data") for image in images):
            indices, classes = to_classes(answers, names, where)
            jobs = partial(_jobs, images, where)
            return Undecoded(jobs, len(images), np.asarray(indices), classes, where)
        pixels = images if isinstance(images, np.ndarray) else np.stack([np.asarray(i) for i in images])
    except ValueError as error:
        hint = "images need one size; each label is one value"
        raise NasError(f"cannot be made arrays: {error}", where=where, hint=hint) from None
    wide = (pixels.dtype == np.uint16 and wide) or needs_16_bits(pixels)
    return make_part(pixels, answers, names, where, sixteen_bits=wide)
