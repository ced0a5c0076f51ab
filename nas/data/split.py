"""Stratified splits by seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from nas.data.dataset import Dataset, Labels, Part, match_classes, match_shape, task_of, used_classes
from nas.data.reading import Reading
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


def split(
    source: Source,
    limit: int | None,
    seed: int,
    *,
    validation: float | None = None,
    test: float | None = None,
    min_images: int = 1,
) -> Dataset:
    """Split by seed.

    Args:
        source: the parts. One without a test and a validation part gives a fifth of its images as test
            set; one with a validation part alone has no test set.
        limit: bounds the images of training and validation together, or of training alone where the source
            has a validation part.
        seed: of the order in which images are taken.
        validation: share of the training images, less the test set, that is split off for validation.
        test: share of the training images that is split off as test set; 0 for none.
        min_images: classes with fewer training images are left out.

    Raises NasError where a part is given twice, or a class has no image to train on.
    """
    for part_name, share in (("validation", validation), ("test", test)):
        if share is not None and getattr(source, part_name) is not None:
            hint = f"leave ?{part_name}= out, or name the training part alone"
            raise NasError(f"has a {part_name} part of its own", where=source.name, hint=hint)
    part, dropped = _without_rare(source.train(), min_images, source.name)
    order = stratified_order(strata(part), np.random.default_rng(seed))
    whole, origins = len(order), dict(source.origins)
    origin = origins.setdefault("train", source.name)
    load_test = source.test and partial(_keep_classes, source.test, dropped)
    if load_test is None:
        default = 0.0 if source.validation else 0.2
        count = int(len(order) * (default if test is None else test) + 1e-9)
        if count:
            load_test = partial(Part, *part.take(np.sort(order[:count]))[:3])
            origins["test"] = f"{count / whole:.0%} of {origin}"
        order = order[count:]
    order = order[:limit]
    reading = part.reading + Reading(unread=dict(source.unread) | _unread(dropped, min_images))
    if source.validation:
        place = f"{source.name}: validation part"
        val = match_classes(_keep_classes(source.validation, dropped), part.classes, place)
        val = match_shape(val, part.images.shape[1:], place)
        train = part.take(np.sort(order))
        reading += val.reading
    else:
        # A mask gives an answer for every pixel: a fifth of few images is enough.
        masks = task_of(part.labels) == "segmentation"
        count = len(order) // 5 if masks else validation_size(len(order))
        if validation is not None:
            count = max(1, round(validation * len(order)))
        val, train = part.take(np.sort(order[:count])), part.take(np.sort(order[count:]))
        origins["validation"] = f"{count / whole:.0%} of {origin}"
    _check(source.name, part, train, val)
    return Dataset(
        name=source.name,
        classes=part.classes,
        train_images=train.images,
        train_labels=train.labels,
        val_images=val.images,
        val_labels=val.labels,
        load_test=load_test,
        origins=origins,
        reading=reading,
    )


def _without_rare(part: Part, least: int, where: str) -> tuple[Part, dict[str, int]]:
    """The part without classes of fewer than `least` images, and the images of these by class."""
    if least <= 1:
        return part, {}
    if task_of(part.labels) == "segmentation":
        raise NasError("min_images counts images of a class, and these have masks", where=where)
    counts = np.bincount(part.labels, minlength=len(part.classes)).tolist()
    rare = {name: n for name, n in zip(part.classes, counts, strict=True) if n < least}
    return _drop_classes(part, rare), rare


def _keep_classes(load: Callable[[], Part], dropped: Collection[str]) -> Part:
    return _drop_classes(load(), dropped)


def _drop_classes(part: Part, dropped: Collection[str]) -> Part:
    if not dropped:
        return part
    classes = tuple(name for name in part.classes if name not in dropped)
    index = np.array([classes.index(name) if name in classes else -1 for name in part.classes])
    labels = index[part.labels]
    chosen = np.flatnonzero(labels >= 0)
    return Part(part.images[chosen], labels[chosen].astype(np.int64), classes, part.reading)


def _unread(dropped: Mapping[str, int], least: int) -> dict[str, str]:
    return {
        f"class {name}": f"{count} images, fewer than min_images={least}" for name, count in dropped.items()
    }


def _check(name: str, part: Part, train: Part, val: Part) -> None:
    if len(train.classes) < 2:
        masks = task_of(part.labels) == "segmentation"
        hint = "255 in a mask is no class but ignored" if masks else "a class is a folder, or a label"
        raise NasError(f"has {len(train.classes)} class; two are needed", where=name, hint=hint)
    missing = sorted(set(used_classes(part.labels)) - set(used_classes(train.labels)))
    if not missing and used_classes(val.labels):
        return
    names = ", ".join(train.classes[label] for label in missing[:5])
    what = f"no training image of class {names}" if missing else "no image with a label left for validation"
    hint = "raise ?limit=N, or add images: each class needs some in training, validation and test"
    if missing and task_of(part.labels) == "classification":
        fewest = min(int((part.labels == label).sum()) for label in missing)
        hint += f"; or leave out classes of fewer than {fewest + 1} images with ?min_images={fewest + 1}"
    raise NasError(f"{what} with {len(train.labels)} training images", where=name, hint=hint)
