"""Decoding of the images of a part into a mapped file: of those that are asked for, and each only once.

All forms of data that hold encoded images give an `Undecoded` part.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.data.cache import make_room, open_part
from nas.data.dataset import Split
from nas.data.decoded_file import RECORD, DecodedFile, Pixels, Records, checksums
from nas.data.images import CHANGES, Picture, quiet_decoders
from nas.data.progress import Progress
from nas.data.reading import Reading
from nas.data.rows import Indices, Rows, take
from nas.errors import NasError

Job = tuple[str, Callable[[], Picture]]
"""Place of an image, for messages, and the function that decodes it."""

Size = tuple[int, int]

SHOWN = 5
"""Sizes or images that a message lists."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
CHUNK, MOST = 4 << 20, 64
"""Bytes of pixels, and most images, that a thread decodes at once."""
LOOK = 1000
"""Images that are decoded before images of several sizes are refused, so that the message can count them."""


@dataclass(frozen=True, eq=False)
class Undecoded:
    """A part whose labels are known, and whose images are decoded when they are asked for.

    Attributes:
        jobs: gives the images at some indices, in order.
        count: number of all images.
        labels: class of each image in `rows`; none where images have masks, which are decoded with them.
        classes: names of the classes; () where they are the values of masks.
        where: the data, for messages.
        key: what the images follow from, for the cache; "" if they are not kept.
        masked: whether images have masks.
        size: (height, width) of the decoded images, if it is known.
        rows: indices of the images of this part among all.
        reading: what was not read.
    """

    jobs: Callable[[Indices], Iterable[Job]]
    count: int
    labels: npt.NDArray[np.integer[Any]]
    classes: tuple[str, ...]
    where: str
    key: str = ""
    masked: bool = False
    size: tuple[int, int] | None = None
    rows: Indices | None = None
    reading: Reading = field(default_factory=Reading)

    def __len__(self) -> int:
        return self.count if self.rows is None else len(self.rows)

    def take(self, indices: Indices) -> Undecoded:
        """Return the images at `indices`, without the reading."""
        rows = np.arange(self.count) if self.rows is None else self.rows
        return replace(self, rows=rows[indices], labels=self.labels[indices], reading=Reading())

    def decoded(self) -> Split:
        """Decode the images. Those that cannot be read are left out and named in the reading.

        Raises NasError if no image can be read, their sizes differ or the disk is too small.
        """
        return self.readable()[0]

    def readable(self) -> tuple[Split, Indices]:
        """Decode the images, and return the indices of those that can be read, too."""
        rows = np.arange(self.count) if self.rows is None else self.rows
        with open_part(self.key, self.count, masked=self.masked) as file, _pool() as pool, quiet_decoders():
            file.check(rows, pool)
            missing = rows[file.records["channels"][rows] == 0]
            broken = _fill(file, missing, self, pool) if len(missing) else {}
            records = file.records[rows]
            good = np.flatnonzero(records["channels"])
            if not len(good):
                if broken:
                    raise broken_error(broken, self.where)
                raise NasError("has no images", where=self.where)
            colour = bool((records["channels"] == 3).any())
            images = Rows(file.mapped(), rows[good], slice(0, 3 if colour else 1))
            masks = Rows(images.base, images.rows, -1)
        reading = self.reading + _reading(records[good], broken)
        labels = take(masks, slice(None)) if self.masked else self.labels[good]
        return Split(take(images, slice(None)), labels, self.classes, reading), good


def broken_error(broken: Mapping[str, str], where: str) -> NasError:
    """Return the error that names all images that cannot be read."""
    if len(broken) == 1:
        [(place, reason)] = broken.items()
        return NasError(reason, where=place, hint="repair it, or leave it out with ?skip_broken")
    listing = "\n  ".join(f"{place}: {reason}" for place, reason in broken.items())
    hint = f"{listing}\n  repair them, or leave them out with ?skip_broken"
    return NasError(f"{len(broken)} images cannot be read", where=where, hint=hint)


class Chunk(NamedTuple):
    """Some images after decoding.

    Attributes:
        rows: indices of those of the first size.
        pixels: their planes, (n, planes, height, width).
        records: their states.
        sizes: number of images by size.
        places: first image of each size.
        broken: reasons by place, for those that cannot be read.
    """

    rows: Indices
    pixels: Pixels
    records: Records
    sizes: Counter[Size]
    places: dict[Size, str]
    broken: dict[str, str]


def _fill(file: DecodedFile, missing: Indices, part: Undecoded, pool: Executor) -> dict[str, str]:
    """Decode images into a file, and return the reasons of those that cannot be read."""
    sizes: Counter[Size] = Counter()
    places: dict[Size, str] = {}
    broken: dict[str, str] = {}
    if file.shape is not None:
        sizes[file.shape[1:]] += int((file.records["channels"] > 0).sum())
        places[file.shape[1:]] = part.where
    progress, room = Progress(part.where, len(missing)), ()
    jobs = zip(missing.tolist(), part.jobs(missing), strict=True)
    for chunk in _chunks(jobs, pool, masked=part.masked, size=part.size):
        broken |= chunk.broken
        sizes += chunk.sizes
        places = chunk.places | places
        if len(chunk.rows):
            if not room:
                room = file.shape or chunk.pixels.shape[1:]
                make_room(file, len(missing), room, part.where)
            if file.shape is None:
                file.begin((chunk.pixels.shape[1], chunk.pixels.shape[2], chunk.pixels.shape[3]))
            if file.fits(chunk.pixels):
                file.write(chunk.rows, chunk.pixels, chunk.records)
        if len(sizes) > 1 and sizes.total() >= LOOK:
            break
        progress.add(chunk.sizes.total() + len(chunk.broken))
    progress.close()
    _check_sizes(sizes, places)
    return broken


def _chunks(
    jobs: Iterator[tuple[int, Job]], pool: Executor, *, masked: bool, size: Size | None
) -> Iterator[Chunk]:
    """Decode images in parallel, and yield them in order, holding few at a time."""
    running: deque[Future[Chunk]] = deque()
    # As long as the size of an image is unknown, a chunk is one image.
    length = max(1, CHUNK // (3 * size[0] * size[1])) if size else 1
    try:
        while True:
            while len(running) < 2 * CORES and (some := list(islice(jobs, min(length, MOST)))):
                running.append(pool.submit(_decode_chunk, some, masked))
            if not running:
                return
            chunk = running.popleft().result()
            if len(chunk.rows):
                length = max(1, CHUNK // chunk.pixels[0].nbytes)
            yield chunk
    finally:
        for future in running:
            future.cancel()


def _decode_chunk(jobs: Sequence[tuple[int, Job]], masked: bool) -> Chunk:
    rows: list[int] = []
    pictures: list[Picture] = []
    sizes: Counter[Size] = Counter()
    places: dict[Size, str] = {}
    broken: dict[str, str] = {}
    for row, (place, decode) in jobs:
        try:
            picture = decode()
        except NasError as error:
            broken[error.where] = error.message
            continue
        size = (picture.pixels.shape[0], picture.pixels.shape[1])
        sizes[size] += 1
        places.setdefault(size, place)
        if size == next(iter(places)):
            rows.append(row)
            pictures.append(picture)
    pixels, records = _stacked(pictures, masked)
    return Chunk(np.array(rows, dtype=np.intp), pixels, records, sizes, places, broken)


def _stacked(pictures: Sequence[Picture], masked: bool) -> tuple[Pixels, Records]:
    """Return images of one size as (n, planes, height, width), grey only if all are, and their records."""
    records = np.zeros(len(pictures), RECORD)
    if not pictures:
        return np.empty((0, 0, 0, 0), np.uint8), records
    channels = max(1 if picture.pixels.ndim == 2 else 3 for picture in pictures)
    pixels = np.empty((len(pictures), channels + masked, *pictures[0].pixels.shape[:2]), np.uint8)
    for slot, record, picture in zip(pixels, records, pictures, strict=True):
        grey = picture.pixels.ndim == 2
        slot[:channels] = picture.pixels if grey else picture.pixels.transpose(2, 0, 1)
        if picture.mask is not None:
            slot[-1] = picture.mask
        record["channels"], (record["height"], record["width"]) = 1 if grey else 3, picture.size
        record["changes"] = sum(1 << CHANGES.index(change) for change in picture.changes)
    records["checksum"] = checksums(pixels, records, masked)
    return pixels, records


def _reading(records: Records, broken: Mapping[str, str]) -> Reading:
    pairs = np.stack([records["height"], records["width"]], axis=1)
    unique, first, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    sizes = {"{}x{}".format(*unique[i]): int(counts[i]) for i in np.argsort(first)}
    totals = {change: int(((records["changes"] >> bit) & 1).sum()) for bit, change in enumerate(CHANGES)}
    return Reading(sizes, {change: n for change, n in totals.items() if n}, broken=broken)


def _pool() -> ThreadPoolExecutor:
    # Threads, because Pillow decodes without holding the interpreter's lock.
    return ThreadPoolExecutor(CORES, thread_name_prefix="decode")


def _check_sizes(sizes: Counter[Size], places: Mapping[Size, str]) -> None:
    """Raise NasError, naming the first image that differs from most, unless all have one size."""
    if len(sizes) <= 1:
        return
    (usual, _), *_ = sizes.most_common(1)
    other, place = next((size, place) for size, place in places.items() if size != usual)
    listing = ", ".join("{}x{} ({})".format(*size, n) for size, n in sizes.most_common(SHOWN))
    more = f" and {len(sizes) - SHOWN} more" if len(sizes) > SHOWN else ""
    shown = "{}x{} pixels, others are {}x{}".format(*other, *usual)
    hint = f"sizes found: {listing}{more}; ?size=64 or ?size=48x64 (HxW) brings all to one size"
    raise NasError(f"image of {shown}", where=place, hint=hint)
