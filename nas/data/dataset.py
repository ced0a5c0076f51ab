"""A data set: training and validation images, in memory or on disk, and a test set that is kept apart.

Labels are classes, int64 (n,), in classification, and masks, uint8 (n, height, width), in segmentation.
Pixels of a mask that are IGNORE have no class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.data.reading import Reading
from nas.data.rows import Rows, blocks, take
from nas.errors import NasError, NotFoundError, did_you_mean
from nas.graph.graph import shape_text

Images = npt.NDArray[np.uint8] | Rows
Labels = npt.NDArray[np.integer[Any]] | Rows
Task = Literal["classification", "segmentation"]

IGNORE = 255
"""The value of pixels of a mask that have no class, as in PASCAL VOC."""

TRAINING = "the training part"
EXAMPLES = 5
"""Number of identical pairs that a report names."""


class Split(NamedTuple):
    """Labelled images.

    Attributes:
        images: uint8 (n, channels, height, width).
        labels: classes or masks.
        classes: names of the classes.
        reading: how the images were read.
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...]
    reading: Reading = Reading()

    def decoded(self) -> Split:
        """Return the split itself: its images are decoded."""
        return self

    def take(self, indices: npt.NDArray[np.intp]) -> Split:
        """Return the images at `indices`, without the reading. Large ones are not copied."""
        return Split(take(self.images, indices), take(self.labels, indices), self.classes)


@dataclass(frozen=True)
class Duplicates:
    """Exact duplicates across splits, which bias the error downwards.

    Attributes:
        count: number of images of a later split that an earlier one has, too; the order is train,
            validation, test.
        examples: some of them, as (split, index, split, index).
    """

    count: int
    examples: tuple[tuple[str, int, str, int], ...]

    def __str__(self) -> str:
        if not self.count:
            return "no image occurs in two splits"
        pairs = ", ".join(f"{a}[{i}] = {b}[{j}]" for a, i, b, j in self.examples)
        return f"{self.count} images occur in two splits: {pairs}{', …' if self.count > EXAMPLES else ''}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as uint8 (n, channels, height, width), with labels: classes or masks.

    Attributes:
        name: name of the data set.
        classes: names of the classes.
        load_test: loads the test set; None without one.
        origins: where each part comes from, by "train", "validation" and "test".
        reading: how training and validation images were read.
        mean, std: of each channel of the training images, scaled to 0..1.
        fingerprint: hash of the training and validation images and labels. It changes with the content
            and the split, not with the place of the files.
    """

    name: str
    classes: tuple[str, ...]
    train_images: Images
    train_labels: Labels
    val_images: Images
    val_labels: Labels
    load_test: Callable[[], Split] | None
    origins: Mapping[str, str] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)

    @property
    def has_test(self) -> bool:
        """Return whether there is a test set."""
        return self.load_test is not None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def task(self) -> Task:
        return task_of(self.train_labels)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def guess_error(self) -> float | None:
        """Return the validation error of the largest class as constant answer; None for masks."""
        if self.task != "classification":
            return None
        largest = np.bincount(self.train_labels, minlength=self.num_classes).argmax()
        return float((np.asarray(self.val_labels) != largest).mean())

    def first(self, train: int, val: int | None = None) -> Dataset:
        """Return the data set with the first `train` and `val` images; None keeps all."""
        return replace(
            self,
            train_images=take(self.train_images, slice(train)),
            train_labels=take(self.train_labels, slice(train)),
            val_images=take(self.val_images, slice(val)),
            val_labels=take(self.val_labels, slice(val)),
        )

    def at_other_places(self, arrays: Mapping[str, Images | Labels]) -> Dataset:
        """Return the data set with equal arrays, by attribute, so that its derived figures stay valid."""
        same = object.__new__(Dataset)
        same.__dict__.update(self.__dict__, **arrays)
        return same

    def test(self) -> tuple[Images, Labels]:
        """Return the test images and labels, loaded on the first call; they are for one final figure.

        Raises NotFoundError where there is no test set, NasError where it does not fit the training part.
        """
        return self._test.images, self._test.labels

    def check_test(self) -> None:
        """Load the test set, if there is one, so that its faults are known before anything is trained. Errors
        are those of `test`."""
        if self.has_test:
            self.test()

    @property
    def full_reading(self) -> Reading:
        """Reading of all splits, including the test set once it is loaded."""
        return self.reading + self._test.reading if "_test" in self.__dict__ else self.reading

    @cached_property
    def _test(self) -> Split:
        if self.load_test is None:
            hint = "name a test part, or split one off with ?test=0.1"
            raise NotFoundError("there is no test set", where=self.name, hint=hint)
        part = match_classes(self.load_test(), self.classes, f"{self.name}: test set")
        return match_shape(part, self.input_shape, f"{self.name}: test set")

    @property
    def duplicates(self) -> Duplicates:
        """Return the images that are in two splits, including the test set once it is loaded."""
        splits = {"train": self.train_images, "validation": self.val_images}
        if "_test" in self.__dict__:
            splits["test"] = self._test.images
        return find_duplicates({name: image_digests(images) for name, images in splits.items()})

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        # From counts of the 256 values: exact, and far faster than a float copy.
        counts = np.zeros((self.input_shape[0], 256), dtype=np.int64)
        for block in blocks(self.train_images):
            for channel, of_channel in enumerate(counts):
                of_channel += np.bincount(block[:, channel].reshape(-1), minlength=256)
        values = np.arange(256) / 255
        means, stds = [], []
        for of_channel in counts:
            share = of_channel / of_channel.sum()
            means.append(float(share @ values))
            stds.append(float(np.sqrt(share @ (values - means[-1]) ** 2)))
        return tuple(means), tuple(stds)

    @property
    def mean(self) -> tuple[float, ...]:
        return self._moments[0]

    @property
    def std(self) -> tuple[float, ...]:
        return self._moments[1]

    @cached_property
    def fingerprint(self) -> str:
        parts = (self.train_images, self.train_labels, self.val_images, self.val_labels)
        return _fingerprint(*parts, about=(self.train_images.shape, self.classes))

    @property
    def test_fingerprint(self) -> str | None:
        """Hash of the test images and labels, which are loaded; None without a test set."""
        return _fingerprint(*self.test()) if self.has_test else None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state that is sent to workers: the derived figures, but neither a loaded test set nor
        the reading, which may name every file."""
        derived = {"_moments": self._moments, "fingerprint": self.fingerprint, "reading": Reading()}
        return {key: value for key, value in self.__dict__.items() if key != "_test"} | derived


def _fingerprint(*arrays: Images | Labels, about: object = ()) -> str:
    digest = hashlib.blake2b(repr(about).encode(), digest_size=16)
    for array in arrays:
        for block in blocks(array):
            digest.update(block.data)
    return digest.hexdigest()


def task_of(labels: Labels) -> Task:
    return "segmentation" if labels.ndim == 3 else "classification"


def used_classes(labels: Labels) -> list[int]:
    """Return the classes that occur, in order."""
    if task_of(labels) == "classification":
        return list(np.unique(labels).tolist())
    seen = np.zeros(IGNORE + 1, dtype=bool)
    for mask in labels:  # one by one: the index array is eight times as large as a mask
        seen[mask] = True
    return np.flatnonzero(seen[:IGNORE]).tolist()


def image_digests(images: Images) -> list[bytes]:
    """Return a digest of each image, equal for byte-identical ones."""
    return [
        hashlib.blake2b(image.data, digest_size=16).digest() for block in blocks(images) for image in block
    ]


def find_duplicates(digests: Mapping[str, Sequence[bytes]]) -> Duplicates:
    """Find images that are in more than one split, from the digests of each split."""
    first: dict[bytes, tuple[str, int]] = {}
    count, examples = 0, []
    for name, split in digests.items():
        for i, digest in enumerate(split):
            other, index = first.setdefault(digest, (name, i))
            if other != name:
                count += 1
                examples.append((other, index, name, i))
    return Duplicates(count, tuple(examples[:EXAMPLES]))


def match_classes(part: Split, classes: tuple[str, ...], where: str, of: str = TRAINING) -> Split:
    """Return the same images with labels that index `classes`, which are those `of` something.

    Raises NasError for a class not among them.
    """
    if part.classes == classes[: len(part.classes)]:
        return part._replace(classes=classes)
    check_classes(part.labels, part.classes, classes, where, of)
    position = {name: index for index, name in enumerate(classes)}
    table = np.full(max(len(part.classes), IGNORE + 1), IGNORE, dtype=part.labels.dtype)
    table[: len(part.classes)] = [position.get(name, 0) for name in part.classes]
    return part._replace(labels=table[np.asarray(part.labels)], classes=classes)


def check_classes(
    labels: Labels, names: tuple[str, ...], classes: tuple[str, ...], where: str, of: str = TRAINING
) -> None:
    """Raise NasError if labels, which index `names`, have a class that is not among `classes`."""
    unknown = [names[label] for label in used_classes(labels) if names[label] not in classes]
    if unknown:
        remedy = f"remove its images, or add some to {TRAINING}" if of == TRAINING else "remove its images"
        hint = f"{did_you_mean(unknown[0], classes)}; {remedy}"
        message = f"class {unknown[0]!r} is not among those of {of}"
        raise NasError(message, where=where, hint=hint)


def match_shape(part: Split, shape: tuple[int, int, int], where: str, of: str = TRAINING) -> Split:
    """Return the same images; grey ones are repeated over three channels where colour is expected.

    Raises NasError if they differ from `shape` otherwise.
    """
    actual = part.images.shape[1:]
    if actual[0] == 1 and shape[0] == 3 and actual[1:] == shape[1:]:
        grey = part.images
        colour = grey.with_planes((0, 0, 0)) if isinstance(grey, Rows) else np.repeat(grey, 3, axis=1)
        return part._replace(images=colour)
    if actual != shape:
        sizes = " and ".join(map(shape_text, (actual, shape)))
        hint = "add ?size=N to bring all images to one size" if actual[0] == shape[0] else ""
        raise NasError(f"images differ from {of} in shape: {sizes}", where=where, hint=hint)
    return part
