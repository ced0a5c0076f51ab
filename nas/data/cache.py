"""Decoded images on disk, so that a source is decoded once.

The cache lies under $NAS_CACHE, by default ~/.cache/nas. It holds at most $NAS_CACHE_GB gigabytes of decoded
images, 50 by default: the least recently used go first. What is removed stays readable for who reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from nas.data.dataset import Split
from nas.data.decoded_file import RECORD, VERSION, DecodedFile, Pixels, checksums
from nas.data.progress import check_room
from nas.data.reading import Reading
from nas.data.rows import SMALL, Rows, blocks
from nas.errors import NasError

DEFAULT_GB = 50.0
LIMIT = "NAS_CACHE_GB"
IMAGES, LABELS = ".images", ".npz"
"""Suffixes of the files of a part."""


@dataclass(frozen=True)
class Entry:
    """A file of decoded images in the cache: its path, bytes on disk, and the time of its last use in seconds
    since the epoch."""

    path: Path
    bytes: int
    used: float


def cache_folder() -> Path:
    return Path(os.environ.get("NAS_CACHE") or Path.home() / ".cache" / "nas")


def entries() -> list[Entry]:
    """Return the files of decoded images in the cache, the last used first."""
    listing = []
    for path in (cache_folder() / "arrays").glob("*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            stat = path.stat()
            # Rows that are not decoded take no room.
            listing.append(Entry(path, min(stat.st_size, 512 * stat.st_blocks), stat.st_mtime))
    return sorted(listing, key=lambda entry: -entry.used)


def clear() -> int:
    """Remove all decoded images, and return the number of bytes freed. Downloaded archives stay."""
    freed = 0
    for entry in entries():
        entry.path.unlink(missing_ok=True)
        freed += entry.bytes
    return freed


def limit_bytes() -> int:
    """Return the bound on the decoded images, in bytes. Raises NasError if $NAS_CACHE_GB is not a number."""
    text = os.environ.get(LIMIT) or str(DEFAULT_GB)
    try:
        gigabytes = float(text)
        if not 0 <= gigabytes < 1e6:
            raise ValueError
    except ValueError:
        raise NasError(f"{text!r} is not a number of gigabytes", where=f"${LIMIT}") from None
    return int(gigabytes * 1e9)


def file_key(files: Iterable[tuple[Path, str]], root: Path) -> str:
    """Return the state of files and the class of each: path, file behind it, size, and times of the last
    modification and change; the first of the two can be set back, as copying programs do."""
    rows = []
    for file, label in files:
        stat = file.stat()
        rows.append((str(file), label, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return f"{root.resolve()} {rows}"


@contextlib.contextmanager
def open_part(key: str, count: int, *, masked: bool = False) -> Iterator[DecodedFile]:
    """Open the decoded images of a part, once no other process decodes them.

    Args:
        key: What the images follow from; "" for images that are not kept.
        count: Number of images of the part.
        masked: Whether the images have masks.

    Without a key, or in a cache that cannot be written, the file vanishes when no process reads it any more.
    Raises StorageError where the disk takes no more.
    """
    limit, path = limit_bytes(), _path(key, IMAGES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = bool(key) and os.access(path.parent, os.W_OK)
    except OSError:
        kept = False
    folder = path.parent if os.access(path.parent, os.W_OK) else Path(tempfile.gettempdir())
    with DecodedFile(path if kept else None, folder, count, masked) as file:
        yield file
        if kept:
            with contextlib.suppress(OSError):  # it may have been removed, and is readable here still
                os.utime(path)
            shrink(limit, keep=path)


def cached(key: str, read: Callable[[], Split]) -> Split:
    """Return the part that `read` gives, read from the cache if an earlier call left it there.

    Small parts are copied into memory; of larger ones the images stay on disk.
    """
    path = _path(key, LABELS)
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            labels, classes = stored["labels"], tuple(stored["classes"].tolist())
            reading = Reading.from_json(str(stored["reading"]))
        os.utime(path)
        with open_part(key, len(labels)) as images, ThreadPoolExecutor() as pool:
            images.check(np.arange(len(labels)), pool)
            if (images.records["channels"] > 0).all():
                return _part(images, labels, classes, reading)
    part = read()
    with open_part(key, len(part.images)) as images:
        store(images, blocks(part.images), part.images.shape)
        stored_part = _part(images, np.asarray(part.labels), part.classes, part.reading)
    with contextlib.suppress(OSError):  # then it is read again next time
        _write_labels(path, part)
    return stored_part


def on_disk(images: Iterable[Pixels], shape: tuple[int, ...]) -> Rows:
    """Return images of `shape`, given as consecutive blocks, from a file that vanishes when none reads it."""
    with open_part("", shape[0]) as file:
        store(file, images, shape)
        return Rows(file.mapped(), np.arange(shape[0]), slice(None))


def store(file: DecodedFile, images: Iterable[Pixels], shape: tuple[int, ...]) -> None:
    """Write all images of a part, of `shape` and given as consecutive blocks, to a file."""
    file.begin((shape[1], shape[2], shape[3]))
    start = 0
    for block in images:
        records = np.zeros(len(block), RECORD)
        records["channels"], records["height"], records["width"] = shape[1:]
        records["checksum"] = checksums(block, records, False)
        file.write(np.arange(start, start + len(block)), block, records)
        start += len(block)


def make_room(file: DecodedFile, count: int, shape: tuple[int, ...], where: str) -> None:
    """Make room for `count` images of (planes, height, width) in the cache, and say what they need.

    Raises StorageError if the disk does not have it.
    """
    limit, need = limit_bytes(), count * prod(shape)
    if file.path:
        shrink(max(0, limit - need), keep=file.path, always=True)
    check_room(where, file.folder, count, shape, kept=bool(file.path) and need <= limit)


def shrink(limit: int, keep: Path, *, always: bool = False) -> None:
    """Remove the least recently used files until the rest fits, and `keep` too if it is too large, unless it
    is to be kept `always`."""
    total = 0
    for entry in sorted(entries(), key=lambda entry: entry.path != keep):
        total += entry.bytes
        if total > limit and not (always and entry.path == keep):
            entry.path.unlink(missing_ok=True)


def _part(file: DecodedFile, labels: np.ndarray, classes: tuple[str, ...], reading: Reading) -> Split:
    images = Rows(file.mapped(), np.arange(file.count), slice(None))
    return Split(images[:] if images.nbytes <= SMALL else images, labels, classes, reading)


def _path(key: str, suffix: str) -> Path:
    digest = hashlib.blake2b(f"{VERSION} {key}".encode(errors="surrogateescape"), digest_size=16).hexdigest()
    return cache_folder() / "arrays" / f"{digest}{suffix}"


def _write_labels(path: Path, part: Split) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(
                file,
                labels=part.labels,
                classes=np.array(part.classes, dtype=np.str_),
                reading=np.array(part.reading.to_json()),
            )
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
