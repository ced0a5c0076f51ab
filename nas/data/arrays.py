"""Sources that already are arrays: scikit-learn's digits, .npz files, Python functions."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.dataset import Images, Part
from nas.data.source import Options, Source
from nas.errors import NasError, NotFoundError, did_you_mean
from nas.plugins import load_function

NAMES = {
    "train_images": ("train_images", "x_train", "images", "x"),
    "train_labels": ("train_labels", "y_train", "labels", "y"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
    "classes": ("classes",),
}
"""Names under which arrays are found, ours first, then those of Keras and common use."""


def open_digits() -> Source:
    """1,797 handwritten digits of 8x8 pixels with 16 grey levels (UCI, Alpaydin and Kaynak)."""

    def load() -> Part:
        rows = np.loadtxt(_installed("sklearn") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
        images = np.rint(rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        return make_part(images, rows[:, -1].astype(np.int64), None, "digits")

    return Source("digits", load)


def _installed(package: str) -> Path:
    """The folder of a package that is not imported: scikit-learn takes a second, and its file none."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise NotFoundError(f"{package} is not installed", where="digits", hint="pip install scikit-learn")
    return Path(spec.origin).parent


def open_npz(target: str, options: Options) -> Source:
    """Arrays of a NumPy archive; nothing in it is unpickled."""
    path = Path(target)
    where = f"npz:{path}"
    if not path.is_file():
        raise NotFoundError("no such file", where=where)
    if not zipfile.is_zipfile(path):
        raise NasError("not a readable .npz archive", where=where)
    with np.load(path, allow_pickle=False) as archive:
        found = _find(list(archive.files), where)
    return _source(path.stem, partial(_read_npz, path, found), "test_images" in found, where)


def open_python(target: str, options: Options) -> Source:
    """What a function returns: a mapping of arrays, named as in an .npz archive."""
    where = f"python:{target}"
    arrays = load_function(target, where)()
    if not isinstance(arrays, Mapping):
        hint = "return {'train_images': …, 'train_labels': …}, and test_images, test_labels, classes"
        raise NasError(f"returned {type(arrays).__name__}, not a mapping of arrays", where=where, hint=hint)
    found = _find(list(arrays), where)
    picked = {ours: np.asarray(arrays[theirs]) for ours, theirs in found.items()}
    return _source(target, partial(_pick, picked), "test_images" in picked, where)


def make_part(images: Any, labels: Any, classes: Any, where: str) -> Part:
    """Checked arrays as a `Part`.

    Images: (n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3; uint8, integers in
    0..255 or floats in 0..1. Labels: (n,) or (n, 1), integers or strings.
    """
    pixels = _pixels(np.asarray(images), where)
    answers = np.asarray(labels)
    if answers.ndim == 2 and answers.shape[1] == 1:
        answers = answers[:, 0]
    if answers.shape != (len(pixels),):
        raise NasError(f"{len(pixels)} images but labels of shape {answers.shape}", where=where)
    if answers.dtype.kind not in "iuU":
        raise NasError(f"labels must be integers or strings, not {answers.dtype}", where=where)
    if not len(pixels):
        raise NasError("has no images", where=where)
    if classes is None:
        values, indices = np.unique(answers, return_inverse=True)
        return Part(pixels, indices.astype(np.int64), tuple(map(str, values.tolist())))
    names = tuple(map(str, np.asarray(classes).tolist()))
    if answers.dtype.kind == "U":
        values, indices = np.unique(answers, return_inverse=True)
        unknown = set(values.tolist()) - set(names)
        if unknown:
            raise NasError(f"label {min(unknown)!r} is not in classes", where=where)
        answers = np.array([names.index(value) for value in values.tolist()])[indices]
    if answers.min() < 0 or answers.max() >= len(names):
        raise NasError(f"labels {answers.min()} to {answers.max()}, but {len(names)} classes", where=where)
    return Part(pixels, answers.astype(np.int64), names)


def _pixels(images: npt.NDArray[Any], where: str) -> Images:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        hint = "give (n, height, width), (n, height, width, 1 or 3) or (n, 1 or 3, height, width)"
        raise NasError(f"images of shape {images.shape}", where=where, hint=hint)
    if images.dtype != np.uint8 and images.size:
        low, high = images.min(), images.max()
        top = 1 if images.dtype.kind == "f" else 255
        if images.dtype.kind not in "fiu" or not (low >= 0 and high <= top):
            hint = "give uint8, integers in 0..255 or floats in 0..1"
            raise NasError(f"pixels of type {images.dtype} from {low} to {high}", where=where, hint=hint)
        images = np.rint(images * 255) if top == 1 else images
    return np.ascontiguousarray(images, dtype=np.uint8)


def _find(names: list[str], where: str) -> dict[str, str]:
    found = {ours: next((n for n in theirs if n in names), "") for ours, theirs in NAMES.items()}
    for need in ("train_images", "train_labels"):
        if not found[need]:
            hint = did_you_mean(need, names) if names else "it is empty"
            raise NasError(f"has no array {need!r}", where=where, hint=hint)
    if bool(found["test_images"]) != bool(found["test_labels"]):
        raise NasError("has test images or test labels, but not both", where=where)
    return {ours: theirs for ours, theirs in found.items() if theirs}


def _source(name: str, read: Any, has_test: bool, where: str) -> Source:
    return Source(
        name, partial(_part, read, "train", where), partial(_part, read, "test", where) if has_test else None
    )


def _part(read: Any, split: str, where: str) -> Part:
    arrays = read((f"{split}_images", f"{split}_labels", "classes"))
    place = f"{where}: {split}"
    return make_part(arrays[f"{split}_images"], arrays[f"{split}_labels"], arrays.get("classes"), place)


def _pick(arrays: Mapping[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
    return {name: arrays[name] for name in wanted if name in arrays}


def _read_npz(path: Path, names: Mapping[str, str], wanted: tuple[str, ...]) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {ours: archive[names[ours]] for ours in wanted if ours in names}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise NasError(f"cannot be read: {error}", where=f"npz:{path}") from None
