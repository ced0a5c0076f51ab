"""Files that are written whole or not at all, and read within bounds."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from nas.errors import NasError, NotFoundError, StorageError

MAX_BYTES = 1 << 20
"""Largest text file of a run folder that is read, in bytes."""


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all, durably. StorageError if the disk does not take it."""
    raw = data.encode() if isinstance(data, str) else data
    draft = None
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o644)
        os.replace(draft, path)
        _sync_folder(path.parent)
    except OSError as error:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)
        hint = "free some space or choose another folder"
        raise StorageError(f"cannot write: {error.strerror}", where=str(path), hint=hint) from error


def write_checked(path: Path, held: Mapping[str, Any]) -> None:
    """Write JSON with its checksum, whole or not at all."""
    write_atomic(path, json.dumps({**held, "checksum": _checksum(held)}, indent=2, allow_nan=False) + "\n")


def read_checked(path: Path, check: Callable[[Mapping[str, Any], str], None] | None = None) -> dict[str, Any]:
    """Read what `write_checked` wrote. Raises NotFoundError if the file is missing and StorageError if it
    changed; `check` is called with the content and the path before the checksum is compared."""
    where = str(path)
    try:
        document = dict(json.loads(read_text(path, links=False)))
        if check is not None:
            check(document, where)
        checksum = document.pop("checksum")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise StorageError(f"cannot be read: {error}", where=where) from error
    if checksum != _checksum(document):
        hint = "restore the file; a run with another configuration is a new run"
        raise StorageError("was damaged or changed by hand", where=where, hint=hint)
    return document


def read_text(path: Path, error: type[NasError] = StorageError, *, links: bool = True) -> str:
    """Return the text of a small file. NotFoundError if it is missing, `error` if it is no plain file, too
    large, not text, or a symbolic link where `links` are not followed."""
    raw = read_bytes(path, MAX_BYTES, error, links=links)
    try:
        return raw.decode()
    except UnicodeDecodeError as cause:
        raise error(f"cannot be read: {cause}", where=str(path)) from cause


def read_bytes(path: Path, limit: int, error: type[NasError] = StorageError, *, links: bool = True) -> bytes:
    """Return the content of a file of at most `limit` bytes. A larger file is refused unread. Errors are
    those of `read_text`."""
    try:
        with open_plain(path, error, links=links) as file:
            size = os.fstat(file.fileno()).st_size
            raw = file.read(limit + 1) if size <= limit else b""
    except OSError as cause:
        raise error(f"cannot be read: {cause}", where=str(path)) from cause
    if max(size, len(raw)) > limit:
        raise error(f"is larger than {limit:,} bytes", where=str(path))
    return raw


def open_plain(path: Path, error: type[NasError] = StorageError, *, links: bool = True) -> BinaryIO:
    """Open a plain file to read it. A pipe, a socket or a device, which could make a reader wait for ever,
    is refused at once.

    links: whether a symbolic link is followed. NotFoundError if the file is missing, `error` if it cannot be
    opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise NotFoundError(f"no {path.name}", where=str(path.parent)) from None
    except (OSError, ValueError) as cause:
        known = {errno.ENXIO: "is not a plain file", errno.ELOOP: "is a symbolic link"}
        message = known.get(getattr(cause, "errno", 0), f"cannot be read: {cause}")
        raise error(message, where=str(path)) from cause
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise error("is not a plain file", where=str(path))
    return open(handle, "rb")


def require_plain(path: Path) -> None:
    """Raise StorageError if there is something at `path` that is no plain file."""
    if path.exists() and not path.is_file():
        raise StorageError("is not a plain file", where=str(path))


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(held: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(held, sort_keys=True).encode(), digest_size=16).hexdigest()
