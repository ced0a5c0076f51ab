"""Arrays by name, as in an .npz archive: which hold images and labels of which part, and in which layout."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.data.cache import on_disk
from nas.data.dataset import Images, Split
from nas.data.images import SCALED_16, SCALED_FLOAT
from nas.data.labels import to_classes
from nas.data.layout import WORDS
from nas.data.reading import Reading
from nas.data.rows import SMALL, MappedArray, Rows, blocks
from nas.data.source import Source
from nas.errors import NasError, did_you_mean

IMAGE_WORDS = ("images", "image", "imgs", "img", "x", "data", "pixels", "inputs", "input")
LABEL_WORDS = ("labels", "label", "y", "targets", "target", "class", "lbl")
CLASS_NAMES = ("classes", "classnames", "labelnames", "targetnames", "names", "categories")
SHORT = {"tr": "train", "va": "validation", "te": "test"}
PART_WORDS = {word: part for part, words in WORDS.items() for word in words} | SHORT
CHANNELS = (1, 3)
EIGHT_BITS, SIXTEEN_BITS = 255, 65535

Array = npt.NDArray[Any]
Read = Callable[[str], Array]
LAYOUTS = "give (n, height, width), (n, height, width, 1 or 3) or (n, 1 or 3, height, width)"
RANGES = "give uint8, integers in 0..255, uint16 in 0..65535 or floats in 0..1"


class Names(NamedTuple):
    """Names of the arrays that are used.

    Attributes:
        parts: names of the images and labels of each part.
        classes: name of the class names; "" without.
        unused: the other names.
    """

    parts: Mapping[str, tuple[str, str]]
    classes: str
    unused: tuple[str, ...]


def array_source(
    name: str, names: Collection[str], read: Callable[[], Read], where: str, place: str = ""
) -> Source:
    """Return a source of arrays.

    Args:
        name: name of the data set.
        names: names of all arrays.
        read: opens the arrays; gives a function from a name to the array.
        where: the data, for messages.
        place: what stands before the names of arrays that are not used, such as the path of their file.

    Raises NasError if it is not sure which arrays are the images and labels of which part.
    """
    arrays = find_arrays(names, where)
    parts = {part: partial(_load, part, arrays, read, where) for part in arrays.parts}
    return Source.of_parts(
        name,
        parts,
        {part: ", ".join(pair) for part, pair in arrays.parts.items()},
        {f"{place}{unused}": "an array that is not used" for unused in arrays.unused},
    )


def find_arrays(names: Collection[str], where: str) -> Names:
    """Find the arrays of images and labels, as in x_train and y_train, train_images and train_labels, or data
    and target. Raises NasError if images lack labels, or labels images."""
    roles: dict[tuple[str, str], list[tuple[int, str]]] = {}
    classes = ""
    for name in names:
        if "".join(re.findall(r"[a-z]+", name.lower())) in CLASS_NAMES:
            classes = classes or name
        elif role := _role(name):
            part, kind, rank = role
            roles.setdefault((part, kind), []).append((rank, name))
    best = {role: min(ranked)[1] for role, ranked in roles.items()}
    if ("train", "images") not in best:  # images and labels without the name of a part are to train on
        best |= {("train", kind): best[("", kind)] for kind in ("images", "labels") if ("", kind) in best}
    parts = {}
    for part in WORDS:
        pair = best.get((part, "images"), ""), best.get((part, "labels"), "")
        if part == "train" and "" in pair:
            need = "train_images" if not pair[0] else "train_labels"
            hint = did_you_mean(need, names) if names else "it is empty"
            raise NasError(f"has no array {need!r}", where=where, hint=hint)
        if any(pair):
            if not all(pair):
                message = f"has {part} images or {part} labels, but not both"
                raise NasError(message, where=where, hint=f"arrays: {', '.join(names)}")
            parts[part] = pair
    used = {name for pair in parts.values() for name in pair} | {classes}
    return Names(parts, classes, tuple(name for name in names if name not in used))


def make_part(images: Any, labels: Any, classes: Any, where: str, *, sixteen_bits: bool = False) -> Split:
    """Return checked arrays as a `Split`.

    Args:
        images: (n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3; uint8, integers in 0..255, uint16
            (with `sixteen_bits` in 0..65535) or floats in 0..1.
        labels: as for `nas.data.labels.to_classes`.
        classes: class names; None takes the labels that occur.
        where: the data, for messages.
    """
    shaped = _channels_first(np.asarray(images), where)
    answers = np.asarray(labels)
    if answers.shape[:1] != shaped.shape[:1]:
        raise NasError(f"{len(shaped)} images but labels of shape {answers.shape}", where=where)
    if not len(shaped):
        raise NasError("has no images", where=where)
    pixels, change = _to_8_bits(shaped, sixteen_bits, where)
    names = None if classes is None else _names(np.asarray(classes), where)
    indices, known = to_classes(answers, names, where)
    pixels = _mapped(images, pixels)
    size = "{}x{}".format(*pixels.shape[2:])
    changes = {change: len(pixels)} if change else {}
    return Split(pixels, indices, known, Reading(sizes={size: len(pixels)}, changes=changes))


def _role(name: str) -> tuple[str, str, int] | None:
    """Split ("" without one), kind, and rank among names of that kind, of an array by its name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = re.findall(r"[a-z]+", spaced)
    if len(words) == 1:
        for word in PART_WORDS:  # xtrain, trainx
            rest = words[0].removeprefix(word) if words[0].startswith(word) else words[0].removesuffix(word)
            if rest in (*IMAGE_WORDS, *LABEL_WORDS) and rest != words[0]:
                words = [word, rest]
                break
    parts = [PART_WORDS[word] for word in words if word in PART_WORDS]
    rest = " ".join(word for word in words if word not in PART_WORDS and word not in ("set", "arr", "array"))
    if len(parts) > 1:
        return None
    for kind, known in (("images", IMAGE_WORDS), ("labels", LABEL_WORDS)):
        if rest in known:
            return (parts or [""])[0], kind, known.index(rest)
    return None


def _load(part: str, names: Names, read: Callable[[], Read], where: str) -> Split:
    get = read()
    images = get(names.parts[part][0])
    # Whether 16 bits are used is decided for all parts together, so that none is scaled alone.
    wide = images.dtype == np.uint16 and any(needs_16_bits(get(pair[0])) for pair in names.parts.values())
    classes = get(names.classes) if names.classes else None
    return make_part(images, get(names.parts[part][1]), classes, f"{where}: {part}", sixteen_bits=bool(wide))


def needs_16_bits(pixels: Array) -> bool:
    """Return whether pixels are of 16 bits, and some value is above those of 8."""
    return pixels.dtype == np.uint16 and pixels.size > 0 and bool(pixels.max() > EIGHT_BITS)


def _channels_first(images: Array, where: str) -> Array:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in CHANNELS:
        if images.shape[1] in CHANNELS:
            first, last = (
                "{} channels of {}x{} pixels".format(images.shape[c], *sizes)
                for c, sizes in ((1, images.shape[2:]), (3, images.shape[1:3]))
            )
            message = f"images of shape {images.shape} are {first} or {last}"
            hint = "channels come second or last; bring them to the other place, as in images.swapaxes(1, 3)"
            raise NasError(message, where=where, hint=f"{hint}, or pad the images to more pixels")
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in CHANNELS or 0 in images.shape[2:]:
        raise NasError(f"images of shape {images.shape}", where=where, hint=LAYOUTS)
    return images


def _to_8_bits(images: Array, sixteen_bits: bool, where: str) -> tuple[Images, str]:
    """Return pixels of 0..255, and the change that this took. Large results of a conversion lie on disk."""
    kind, change, top = images.dtype.kind, "", EIGHT_BITS
    if kind not in "fiu":
        raise NasError(f"pixels of type {images.dtype}", where=where, hint=RANGES)
    if images.dtype != np.uint8:
        low, high = images.min(), images.max()
        top = 1 if kind == "f" else SIXTEEN_BITS if sixteen_bits else EIGHT_BITS
        if not (low >= 0 and high <= top):
            raise NasError(f"pixels of type {images.dtype} from {low} to {high}", where=where, hint=RANGES)
        if top != EIGHT_BITS:
            change = SCALED_FLOAT if top == 1 else SCALED_16
    elif images.flags.c_contiguous:
        return images, change
    scaled = (_scaled(block, top) for block in blocks(images))
    return (on_disk(scaled, images.shape) if images.size > SMALL else np.concatenate(list(scaled))), change


def _scaled(images: Array, top: int) -> Array:
    scaled = images if top == EIGHT_BITS else np.rint(images * (EIGHT_BITS / top))
    return np.ascontiguousarray(scaled, dtype=np.uint8)


def _mapped(images: Any, pixels: Images) -> Images:
    """Return pixels that are all of a large `np.memmap` as rows of its file, which workers map, too."""
    file = isinstance(images, np.memmap) and isinstance(images.base, mmap.mmap) and images.mode != "c"
    if not file or isinstance(pixels, Rows) or images.dtype != np.uint8 or pixels.nbytes <= SMALL:
        return pixels
    base = MappedArray.of_file(Path(str(images.filename)), images.offset, pixels.shape)
    return Rows(base, np.arange(len(pixels)), slice(None))


def _names(classes: Array, where: str) -> list[str]:
    """Return the names in an array. NasError if they are not one row, or their bytes are not text."""
    if classes.ndim != 1:
        raise NasError(f"class names of shape {classes.shape}", where=where, hint="write one name per class")
    try:
        return [name.decode() if isinstance(name, bytes) else str(name) for name in classes.tolist()]
    except UnicodeDecodeError as error:
        raise NasError(f"a class name is not text: {error}", where=where) from None
