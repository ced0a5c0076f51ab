"""Decoded images on disk, so that a source is decoded once.

The cache lies under $NAS_CACHE, by default ~/.cache/nas. It holds at most $NAS_CACHE_GB gigabytes of
decoded images, 50 by default: those not used for longest go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.data.dataset import Split
from nas.data.reading import Reading
from nas.errors import NasError

VERSION = 2
"""Version of the decoding: raise it when the same files must give other arrays."""
DEFAULT_GB = 50.0
LIMIT = "NAS_CACHE_GB"


@dataclass(frozen=True)
class Entry:
    """One decoded part in the cache: its file, size in bytes, and the time of its last use in seconds
    since the epoch."""

    path: Path
    bytes: int
    used: float


def cache_folder() -> Path:
    return Path(os.environ.get("NAS_CACHE") or Path.home() / ".cache" / "nas")


def entries() -> list[Entry]:
    """The decoded parts in the cache, the last used first."""
    found = []
    for path in (cache_folder() / "arrays").glob("*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            stat = path.stat()
            found.append(Entry(path, stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda entry: -entry.used)


def clear() -> int:
    """Remove all decoded parts; returns the bytes that were freed. Downloaded archives stay."""
    freed = 0
    for entry in entries():
        entry.path.unlink(missing_ok=True)
        freed += entry.bytes
    return freed


def limit_bytes() -> int:
    """The bound on the decoded parts, in bytes. Raises NasError if $NAS_CACHE_GB is no number."""
    text = os.environ.get(LIMIT) or str(DEFAULT_GB)
    try:
        gigabytes = float(text)
        if not 0 <= gigabytes < 1e6:
            raise ValueError
    except ValueError:
        raise NasError(f"{text!r} is not a number of gigabytes", where=f"${LIMIT}") from None
    return int(gigabytes * 1e9)


def file_key(files: Iterable[tuple[Path, str]], root: Path) -> str:
    """The state of files and the class of each: path, file behind it, size and time of modification."""
    rows = []
    for file, label in files:
        stat = file.stat()
        rows.append((str(file), label, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return f"{root.resolve()} {rows}"


def cached(key: str, decode: Callable[[], Split]) -> Split:
    """The part that `decode` gives, read from the cache if an earlier call left it there."""
    digest = hashlib.blake2b(f"{VERSION} {key}".encode(errors="surrogateescape"), digest_size=16).hexdigest()
    path = cache_folder() / "arrays" / f"{digest}.npz"
    limit = limit_bytes()
    # A cache that is damaged or cannot be written costs time, nothing else.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        part = _read(path)
        os.utime(path)
        return part
    part = decode()
    with contextlib.suppress(OSError):
        _write(path, part)
        _shrink(limit, keep=path)
    return part


def _shrink(limit: int, keep: Path) -> None:
    """Remove the parts not used for longest until the rest fits, and `keep` too where it is too large."""
    held = 0
    for entry in sorted(entries(), key=lambda entry: entry.path != keep):
        held += entry.bytes
        if held > limit:
            entry.path.unlink(missing_ok=True)


def _read(path: Path) -> Split:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        reading = Reading.from_json(str(stored["reading"]))
        return Split(stored["images"], stored["labels"], tuple(stored["classes"].tolist()), reading)


def _write(path: Path, part: Split) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(
                file,
                images=part.images,
                labels=part.labels,
                classes=np.array(part.classes, dtype=np.str_),
                reading=np.array(part.reading.to_json()),
            )
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
