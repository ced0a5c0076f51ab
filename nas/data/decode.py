"""The step from single images to the arrays of a part.

All forms of data that hold encoded images go through `decode_part`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from nas.data.dataset import Labels, Split
from nas.data.images import Picture, stack
from nas.data.reading import Reading
from nas.errors import NasError

Job = tuple[str, Callable[[], Picture]]
"""An image's place, for messages, and the function that decodes it."""

SHOWN = 5
"""Sizes or images that a message lists."""


def decode_part(
    jobs: Iterable[Job], labels: Callable[[], Labels] | None, classes: Sequence[str], where: str
) -> Split:
    """Decode all images into one part. Images that cannot be read are left out and named in its reading.

    Args:
        jobs: the images, in order.
        labels: gives the class of each image once all are decoded; None where images have masks.
        classes: names of the classes; () where they are the values of masks.
        where: the data, for messages.

    Raises NasError if no image can be read or their sizes differ.
    """
    pictures: list[Picture] = []
    places: list[str] = []
    kept: list[int] = []
    broken: dict[str, str] = {}
    for i, (place, decode) in enumerate(jobs):
        try:
            pictures.append(decode())
        except NasError as error:
            broken[error.where] = error.message
            continue
        places.append(place)
        kept.append(i)
    if not pictures:
        if broken:
            raise broken_error(broken, where)
        raise NasError("has no images", where=where)
    _check_sizes(pictures, places)
    changes = Counter(change for picture in pictures for change in picture.changes)
    sizes = Counter("{}x{}".format(*picture.size) for picture in pictures)
    reading = Reading(sizes=dict(sizes), changes=dict(changes), broken=broken)
    pixels = stack([picture.pixels for picture in pictures])
    if labels is not None:
        return Split(pixels, labels()[kept], tuple(classes), reading)
    masks = np.stack([picture.mask for picture in pictures if picture.mask is not None])
    return Split(pixels, masks, tuple(classes), reading)


def broken_error(broken: Mapping[str, str], where: str) -> NasError:
    """The error that names all images that cannot be read."""
    if len(broken) == 1:
        [(place, reason)] = broken.items()
        return NasError(reason, where=place, hint="repair it, or leave it out with ?skip_broken")
    listing = "\n  ".join(f"{place}: {reason}" for place, reason in broken.items())
    hint = f"{listing}\n  repair them, or leave them out with ?skip_broken"
    return NasError(f"{len(broken)} images cannot be read", where=where, hint=hint)


def _check_sizes(pictures: Sequence[Picture], places: Sequence[str]) -> None:
    """Raise NasError, naming the first image that differs from most, unless all have one size."""
    sizes = Counter(picture.pixels.shape[:2] for picture in pictures)
    if len(sizes) == 1:
        return
    (usual, _), *_ = sizes.most_common(1)
    i = next(i for i, picture in enumerate(pictures) if picture.pixels.shape[:2] != usual)
    listing = ", ".join("{}x{} ({})".format(*size, n) for size, n in sizes.most_common(SHOWN))
    more = f" and {len(sizes) - SHOWN} more" if len(sizes) > SHOWN else ""
    shown = "{}x{} pixels, others are {}x{}".format(*pictures[i].pixels.shape[:2], *usual)
    hint = f"sizes found: {listing}{more}; ?size=64 or ?size=48x64 (HxW) brings all to one size"
    raise NasError(f"image of {shown}", where=places[i], hint=hint)
