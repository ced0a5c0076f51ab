"""Files that are written whole or not at all, and read within bounds."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
        held = dict(json.loads(read_text(path)))
        if check is not None:
            check(held, where)
        checksum = held.pop("checksum")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise StorageError(f"cannot be read: {error}", where=where) from error
    if checksum != _checksum(held):
        hint = "restore the file; a run with another configuration is a new run"
        raise StorageError("was damaged or changed by hand", where=where, hint=hint)
    return held


def read_text(path: Path, error: type[NasError] = StorageError) -> str:
    """Return the text of a small file. NotFoundError if it is missing, `error` if it is no plain file, too
    large or not text."""
    try:
        if path.exists() and not path.is_file():
            raise error("is not a plain file", where=str(path))
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise error(f"is larger than {MAX_BYTES:,} bytes", where=str(path))
        return raw.decode()
    except FileNotFoundError:
        raise NotFoundError(f"no {path.name}", where=str(path.parent)) from None
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"cannot be read: {cause}", where=str(path)) from cause


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(held: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(held, sort_keys=True).encode(), digest_size=16).hexdigest()
