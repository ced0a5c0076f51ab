"""Stratified splits by seed."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from nas.data.dataset import Dataset, Labels, Part, match_classes, match_shape, task_of, used_classes
from nas.data.source import Source
from nas.errors import NasError

Indices = npt.NDArray[np.intp]


def stratified_order(labels: Labels, rng: np.random.Generator) -> Indices:
    """A random order of the images in which every stretch holds the classes in proportion.

    The k-th of a class's n images, in random order, stands at (k + 1/2) / n of the way.
    """
    shuffled = rng.permutation(len(labels))
    by_class = np.argsort(labels[shuffled], kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    sorted_labels = labels[shuffled][by_class]
    place = np.empty(len(labels))
    place[by_class] = (np.arange(len(labels)) - starts[sorted_labels] + 0.5) / counts[sorted_labels]
    return shuffled[np.argsort(place, kind="stable")]


def strata(part: Part) -> Labels:
    """The group of each image that every split is to hold in proportion: its class, or the
    class of its mask that the fewest images show."""
    if task_of(part.labels) == "classification":
        return part.labels
    classes = len(part.classes)
    shown = np.stack([np.bincount(mask.ravel(), minlength=classes)[:classes] > 0 for mask in part.labels])
    rarity = np.where(shown, shown.sum(0), len(shown) + 1)
    groups: Labels = np.where(shown.any(1), rarity.argmin(1), classes)
    return groups


def validation_size(count: int) -> int:
    """A fifth, but up to 1,000 images (at most two fifths) of a small set: with n images the
    resolution of the error that a search compares is 1/n."""
    return max(count // 5, min(1000, 2 * count // 5))


def split(source: Source, limit: int | None, seed: int) -> Dataset:
    """Split by seed. A source without a test set of its own gives a fifth of its images;
    `limit` then bounds what is left for training and validation together, or for training
    alone where the source has a validation part."""
    part = source.train()
    order = stratified_order(strata(part), np.random.default_rng(seed))
    load_test = source.test
    if load_test is None:
        count = len(order) // 5
        load_test = partial(Part, *part.take(np.sort(order[:count])))
        order = order[count:]
    order = order[:limit]
    if source.validation:
        place = f"{source.name}: validation part"
        val = match_classes(source.validation(), part.classes, place)
        val = match_shape(val, part.images.shape[1:], place)
        train = part.take(np.sort(order))
    else:
        # A mask gives an answer for every pixel: a fifth of few images is enough.
        masks = task_of(part.labels) == "segmentation"
        count = len(order) // 5 if masks else validation_size(len(order))
        val, train = part.take(np.sort(order[:count])), part.take(np.sort(order[count:]))
    _check(source.name, part, train, val)
    return Dataset(
        name=source.name,
        classes=part.classes,
        train_images=train.images,
        train_labels=train.labels,
        val_images=val.images,
        val_labels=val.labels,
        load_test=load_test,
    )


def _check(name: str, part: Part, train: Part, val: Part) -> None:
    if len(train.classes) < 2:
        hint = "255 in a mask is no class but ignored" if task_of(part.labels) == "segmentation" else ""
        raise NasError(f"has {len(train.classes)} class; two are needed", where=name, hint=hint)
    missing = set(used_classes(part.labels)) - set(used_classes(train.labels))
    if missing or not used_classes(val.labels):
        names = ", ".join(train.classes[label] for label in sorted(missing)[:5])
        what = (
            f"no training image of class {names}" if missing else "no image with a label left for validation"
        )
        hint = "raise ?limit=N, or add images: each class needs some in training, validation and test"
        raise NasError(f"{what} with {len(train.labels)} training images", where=name, hint=hint)
