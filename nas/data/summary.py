"""Summary of a data set as it was understood: splits, classes, image sizes, omissions and warnings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nas.data.dataset import Dataset, Images, Labels, find_duplicates, image_digests, used_classes
from nas.data.layout import FOREIGN
from nas.data.load import parse_spec
from nas.data.rows import blocks
from nas.errors import readable
from nas.formatting import count, metric

LISTED = 3
"""Paths or names that a line gives as examples."""
FEW_LEVELS = 32
"""Grey levels below which images are said to have hardly any contrast."""
ENOUGH, EXAMPLE = 1_000, 0.1
"""Validation images below which it is said how well they tell an error, and of which error."""
FITS = {
    "crop": "the middle is cropped",
    "squash": "squashed",
    "pad": "padded with black",
}


def split_arrays(dataset: Dataset) -> dict[str, tuple[Images, Labels]]:
    """Return the images and labels of all parts, including the test set."""
    parts = {
        "train": (dataset.train_images, dataset.train_labels),
        "validation": (dataset.val_images, dataset.val_labels),
    }
    return parts | ({"test": dataset.test()} if dataset.has_test else {})


def data_dict(dataset: Dataset) -> dict[str, Any]:
    """Return the summary as JSON.

    Returns `parts` (count and source by part; a test set that there is not has source None), `classes`
    (images of each part by class), `unread` (reason by path), `input_shape` (channels, height, width) and
    `bytes` of the images and labels in memory.
    """
    arrays = split_arrays(dataset)
    parts: dict[str, dict[str, Any]] = {
        name: {"count": 0, "source": None} for name in ("train", "validation", "test")
    }
    for name, (_, labels) in arrays.items():
        parts[name] = {"count": len(labels), "source": dataset.origins.get(name)}
    return {
        "parts": parts,
        "classes": class_counts(dataset),
        "unread": unread(dataset),
        "input_shape": list(dataset.input_shape),
        "bytes": sum(images.nbytes + labels.nbytes for images, labels in arrays.values()),
    }


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count the images of each part by class; for masks, the images that show the class."""
    counts = {}
    for part, (_, labels) in split_arrays(dataset).items():
        shown = labels if labels.ndim == 1 else [c for mask in labels for c in used_classes(mask[None])]
        counts[part] = np.bincount(shown, minlength=dataset.num_classes).tolist()
    return {name: {part: n[i] for part, n in counts.items()} for i, name in enumerate(dataset.classes)}


def unread(dataset: Dataset) -> dict[str, str]:
    """Files that were not read, broken images included, each with its reason."""
    reading = dataset.full_reading
    return {**reading.unread, **reading.broken}


def data_lines(dataset: Dataset, spec: str) -> list[str]:
    """Return the summary as lines of text, without the counts of each class.

    Args:
        dataset: the data.
        spec: their specification, as given to `load_data`.
    """
    facts, digests = data_dict(dataset), _digests(dataset)
    parts = (
        f"{name} {part['count']:,} ({part['source'] or spec})" if part["count"] else f"{name} none"
        for name, part in facts["parts"].items()
    )
    rows = [
        ("data", f"{spec}: {dataset.task}, {dataset.num_classes} classes"),
        ("parts", "  ".join(parts)),
        ("images", _images_text(dataset, spec)),
        *(("changed", f"{change} ({n:,})") for change, n in dataset.full_reading.changes.items()),
        ("balance", _balance_text(dataset)),
        ("certainty", _certainty_text(dataset)),
        ("duplicates", str(find_duplicates(digests))),
        *(("unread", line) for line in _unread_lines(facts["unread"])),
        ("memory", f"{metric(facts['bytes'])}B"),
        *(("warning", line) for line in _warnings(dataset, digests)),
    ]
    return [readable(f"{label:<11} {text}") for label, text in rows if text]


def warnings(dataset: Dataset) -> list[str]:
    """Return the warnings that a person should check before a search."""
    return _warnings(dataset, _digests(dataset))


def _digests(dataset: Dataset) -> dict[str, list[bytes]]:
    return {part: image_digests(images) for part, (images, _) in split_arrays(dataset).items()}


def _warnings(dataset: Dataset, digests: Mapping[str, list[bytes]]) -> list[str]:
    foreign = sum(reason == FOREIGN for reason in dataset.full_reading.unread.values())
    return [
        *(
            [f"{count(foreign, 'image')} of a format that is not read: convert to PNG or JPEG"]
            if foreign
            else []
        ),
        *_pixel_warnings(dataset.train_images),
        *_label_warnings(dataset, digests),
        *_missing_warnings(class_counts(dataset)),
    ]


def _missing_warnings(counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Yield warnings of classes without an image in a part."""
    for part in next(iter(counts.values())):
        missing = [name for name, of_parts in counts.items() if of_parts[part] == 0]
        if missing:
            names = ", ".join(missing[:LISTED]) + (", …" if len(missing) > LISTED else "")
            subject = f"class {names} has" if len(missing) == 1 else f"{len(missing)} classes have"
            listing = f" ({names})" if len(missing) > 1 else ""
            yield f"{subject} no image in the {part} part{listing}; ?min_images=N leaves small classes out"


def _pixel_warnings(images: Images) -> Iterator[str]:
    first = images[0]
    if len(images) > 1 and all((block == first).all() for block in blocks(images)):
        yield "all training images are equal"
    elif all((block == block[:, :1, :1, :1]).all() for block in blocks(images)):
        yield "all training images are constant: each has pixels of a single value"
    else:
        extremes = np.array([(block.min(), block.max()) for block in blocks(images)], dtype=int)
        if (levels := extremes[:, 1].max() - extremes[:, 0].min() + 1) < FEW_LEVELS:
            yield f"pixels use {levels} of 256 grey levels: is the scale of the files right?"


def _label_warnings(dataset: Dataset, digests: Mapping[str, list[bytes]]) -> Iterator[str]:
    folded = Counter(name.strip().casefold() for name in dataset.classes)
    same = [name for name in dataset.classes if folded[name.strip().casefold()] > 1]
    if same:
        yield f"classes differ in upper and lower case or blanks only: {', '.join(map(repr, same[:LISTED]))}"
    if dataset.task == "classification":
        labels: dict[bytes, set[int]] = defaultdict(set)
        for part, (_, answers) in split_arrays(dataset).items():
            for digest, answer in zip(digests[part], np.asarray(answers).tolist(), strict=True):
                labels[digest].add(answer)
        if contrary := sum(len(known) > 1 for known in labels.values()):
            yield f"{count(contrary, 'image')} with more than one class"


def _images_text(dataset: Dataset, spec: str) -> str:
    channels, height, width = dataset.input_shape
    used = f"{height}x{width}"
    sizes = Counter(dataset.full_reading.sizes)
    kind = "grey" if channels == 1 else "colour"
    if set(sizes) <= {used}:
        return f"{used} pixels (height x width), {kind}"
    listing = ", ".join(f"{size} ({n:,})" for size, n in sizes.most_common(LISTED))
    more = f" and {len(sizes) - LISTED} more sizes" if len(sizes) > LISTED else ""
    fit = parse_spec(spec)[2].fit
    return f"{listing}{more}, brought to {used} pixels ({FITS[fit]}; ?fit=crop, squash or pad), {kind}"


def _balance_text(dataset: Dataset) -> str:
    """Return the share of the largest class, and the error of guessing it."""
    if dataset.guess_error is None:
        return ""
    counts = np.bincount(dataset.train_labels, minlength=dataset.num_classes)
    largest = int(counts.argmax())
    name = dataset.classes[largest]
    largest_share = f"largest class {name} ({counts[largest] / counts.sum():.1%})"
    return f"{largest_share}: a constant guess has {dataset.guess_error:.2%} error"


def _certainty_text(dataset: Dataset) -> str:
    """Return how well few validation images tell an error: the half of a binomial interval of 95 %."""
    images = len(dataset.val_labels)
    if dataset.task != "classification" or images >= ENOUGH:
        return ""
    half = 1.96 * np.sqrt(EXAMPLE * (1 - EXAMPLE) / images)
    known = f"{count(images, 'validation image')} tell{'s' * (images == 1)} an error of {EXAMPLE:.0%}"
    return f"{known} to ±{100 * half:.2g} points (95%)"


def _unread_lines(reasons: Mapping[str, str]) -> list[str]:
    """Return one line per reason, with a few paths."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for path, reason in reasons.items():
        by_reason[reason].append(path)
    return [
        f"{len(paths):,}: {reason} ({', '.join(paths[:LISTED])}{', …' if len(paths) > LISTED else ''})"
        for reason, paths in by_reason.items()
    ]
