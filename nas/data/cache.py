"""Decoded images on disk, so that a source is decoded once.

The cache lies under $NAS_CACHE, by default ~/.cache/nas.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from nas.data.dataset import Part

VERSION = 1
"""Of the decoding: raise it when the same files are to give other arrays."""


def cache_folder() -> Path:
    return Path(os.environ.get("NAS_CACHE") or Path.home() / ".cache" / "nas")


def files_key(files: Iterable[Path]) -> str:
    """Names, sizes and modification times."""
    stats = ((str(file.resolve()), file.stat()) for file in files)
    return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def cached(key: str, decode: Callable[[], Part]) -> Part:
    """What `decode` returns, read from the cache if an earlier call left it there."""
    digest = hashlib.blake2b(f"{VERSION} {key}".encode(), digest_size=16).hexdigest()
    path = cache_folder() / "arrays" / f"{digest}.npz"
    # A cache that is damaged or cannot be written costs time, nothing else.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return _read(path)
    part = decode()
    with contextlib.suppress(OSError):
        _write(path, part)
    return part


def _read(path: Path) -> Part:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        return Part(stored["images"], stored["labels"], tuple(stored["classes"].tolist()))


def _write(path: Path, part: Part) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, images=part.images, labels=part.labels, classes=np.array(part.classes))
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
