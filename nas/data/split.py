"""Stratified splits by seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from nas.data.dataset import Dataset, Labels, Split, match_classes, match_shape, task_of, used_classes
from nas.data.decode import Undecoded
from nas.data.reading import Reading
from nas.data.rows import Indices
from nas.data.source import Load, Source
from nas.errors import NasError


def stratified_order(labels: Labels, rng: np.random.Generator) -> Indices:
    """Return a random order of the images in which every stretch holds the classes in proportion.

    The k-th of the n images of a class, in random order, is placed at (k + 1/2) / n of the way.
    """
    shuffled = rng.permutation(len(labels))
    by_class = np.argsort(labels[shuffled], kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    sorted_labels = labels[shuffled][by_class]
    place = np.empty(len(labels))
    place[by_class] = (np.arange(len(labels)) - starts[sorted_labels] + 0.5) / counts[sorted_labels]
    return shuffled[np.argsort(place, kind="stable")]


def strata(part: Split | Undecoded) -> Labels:
    """Return the group of each image that splits hold in proportion: its class, or the class of its mask
    that the fewest images show."""
    if task_of(part.labels) == "classification":
        return part.labels
    classes = len(part.classes)
    shown = np.stack([np.bincount(mask.ravel(), minlength=classes)[:classes] > 0 for mask in part.labels])
    rarity = np.where(shown, shown.sum(0), len(shown) + 1)
    groups: Labels = np.where(shown.any(1), rarity.argmin(1), classes)
    return groups


def validation_size(count: int) -> int:
    """Return the number of `count` images that are for validation: a fifth, and of a small set up to 1,000
    images or two fifths, because n images resolve an error to 1/n."""
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
    """Split a source into training, validation and test.

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
    _check_shares(source, validation=validation, test=test)
    part = source.train()
    if limit is None:
        part = part.decoded()  # all are used
    part, dropped = _without_rare(part, min_images, source.name)
    order = stratified_order(strata(part), np.random.default_rng(seed))
    tests = 0 if source.test else _test_size(source, len(order), test)
    order, chosen, images = _readable(part, order, tests, limit)
    labels = part.labels if isinstance(part, Split) else part.labels[order]
    reading = images.reading + Reading(unread={**source.unread, **_unread(dropped, min_images)})
    origins = {"train": source.name, **source.origins}
    load_test: Callable[[], Split] | None = source.test and partial(_keep_classes, source.test, dropped)
    if load_test is None and tests:
        load_test = part.take(np.sort(order[:tests])).decoded
        origins["test"] = f"{tests / len(labels):.0%} of {origins['train']}"
    order = np.searchsorted(chosen, order[tests:][:limit])
    if source.validation:
        val, train = _own_validation(source, images, dropped), images.take(np.sort(order))
        reading += val.reading
    else:
        count = _validation_size(images, len(order), validation)
        val, train = images.take(np.sort(order[:count])), images.take(np.sort(order[count:]))
        origins["validation"] = f"{count / len(labels):.0%} of {origins['train']}"
    _check(source.name, labels, train, val)
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


def _readable(
    part: Split | Undecoded, order: Indices, tests: int, limit: int | None
) -> tuple[Indices, Indices, Split]:
    """Decode the images for training and validation.

    Args:
        part: all images.
        order: the order in which they are taken, first `tests` for the test set.
        tests: size of the test set.
        limit: bound on the images for training and validation.

    Returns the order without the images that turned out to be unreadable, whose places the next ones take;
    the indices of the decoded images; and these images.
    """
    if isinstance(part, Split):
        return order, np.arange(len(part.images)), part
    broken: dict[str, str] = {}
    while True:
        chosen = np.sort(order[tests:][:limit])
        images, good = part.take(chosen).readable()
        broken |= images.reading.broken
        if len(good) == len(chosen):
            reading = part.reading + images.reading + Reading(broken=broken)
            return order, chosen, images._replace(reading=reading)
        order = order[~np.isin(order, np.delete(chosen, good))]


def _check_shares(source: Source, **shares: float | None) -> None:
    """Raise NasError if a share is to be split off for a part that the source has."""
    for part, share in shares.items():
        if share is not None and part in source.parts:
            hint = f"leave ?{part}= out, or name the training part alone"
            raise NasError(f"has a {part} part of its own", where=source.name, hint=hint)


def _test_size(source: Source, count: int, share: float | None) -> int:
    """Return the number of training images that are split off as test set."""
    if share is None:
        return 0 if source.validation else count // 5
    return max(1, round(share * count)) if share else 0


def _validation_size(part: Split, count: int, share: float | None) -> int:
    """Return how many of the `count` images left for training and validation are for validation."""
    if share is not None:
        return max(1, round(share * count))
    # A mask gives an answer for every pixel: a fifth of few images is enough.
    return count // 5 if task_of(part.labels) == "segmentation" else validation_size(count)


def _own_validation(source: Source, part: Split, dropped: Collection[str]) -> Split:
    """Return the validation part of a source, with the classes and the shape of the training part."""
    assert source.validation is not None
    place = f"{source.name}: validation part"
    val = match_classes(_keep_classes(source.validation, dropped), part.classes, place)
    channels, height, width = part.images.shape[1:]
    return match_shape(val, (channels, height, width), place)


def _without_rare(
    part: Split | Undecoded, least: int, where: str
) -> tuple[Split | Undecoded, dict[str, int]]:
    """Return the part without classes of fewer than `least` images, and the number of images of these by
    class."""
    if least <= 1:
        return part, {}
    if task_of(part.labels) == "segmentation":
        raise NasError("min_images counts images of a class, and these have masks", where=where)
    counts = np.bincount(part.labels, minlength=len(part.classes)).tolist()
    rare = {name: n for name, n in zip(part.classes, counts, strict=True) if n < least}
    if len(rare) > len(part.classes) - 2:
        most = sorted(counts)[-2:]
        hint = f"two classes or more must stay; the second largest has {most[0]}" if len(most) > 1 else ""
        raise NasError(
            f"min_images={least} leaves {len(part.classes) - len(rare)} classes", where=where, hint=hint
        )
    return _drop_classes(part, rare), rare


def _keep_classes(load: Load, dropped: Collection[str]) -> Split:
    return _drop_classes(load().decoded(), dropped).decoded()


def _drop_classes(part: Split | Undecoded, dropped: Collection[str]) -> Split | Undecoded:
    if not dropped:
        return part
    classes = tuple(name for name in part.classes if name not in dropped)
    index = np.array([classes.index(name) if name in classes else -1 for name in part.classes])
    labels = index[part.labels]
    chosen = np.flatnonzero(labels >= 0)
    kept, labels = part.take(chosen), labels[chosen].astype(np.int64)
    if isinstance(kept, Split):
        return kept._replace(labels=labels, classes=classes, reading=part.reading)
    return replace(kept, labels=labels, classes=classes, reading=part.reading)


def _unread(dropped: Mapping[str, int], least: int) -> dict[str, str]:
    return {
        f"class {name}": f"{count} images, fewer than min_images={least}" for name, count in dropped.items()
    }


def _check(name: str, labels: Labels, train: Split, val: Split) -> None:
    if len(train.classes) < 2:
        masks = task_of(labels) == "segmentation"
        hint = "255 in a mask is not a class but ignored" if masks else "a class is a folder, or a label"
        raise NasError(f"has {len(train.classes)} class; two are needed", where=name, hint=hint)
    missing = sorted(set(used_classes(labels)) - set(used_classes(train.labels)))
    if not missing and used_classes(val.labels):
        return
    names = ", ".join(train.classes[label] for label in missing[:5])
    what = f"no training image of class {names}" if missing else "no image with a label left for validation"
    hint = "raise ?limit=N, or add images: each class needs some in training, validation and test"
    if missing and task_of(labels) == "classification":
        fewest = min(int((np.asarray(labels) == label).sum()) for label in missing)
        hint += f"; or leave out classes of fewer than {fewest + 1} images with ?min_images={fewest + 1}"
    raise NasError(f"{what} with {len(train.labels)} training images", where=name, hint=hint)
