"""Files and folders that are written whole or not at all, and files that are read within bounds."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from nas.errors import NasError, NotFoundError, StorageError

MAX_BYTES = 1 << 20
"""Largest text file of a run folder that is read, in bytes."""
DRAFT, WORK, REPLACED = ".nas-draft", ".nas-work-", ".nas-replaced"
"""End of the name of an unfinished file, start of that of a work folder, and end of that of a folder that is
being replaced. The names begin with a dot."""


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all, durably. StorageError if the disk does not take it."""
    raw = data.encode() if isinstance(data, str) else data
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT}")
    with write_errors(path):
        try:
            with open(draft, "xb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            replace_durably(draft, path)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of writing, renaming or deleting into a StorageError with a hint."""
    try:
        yield
    except OSError as error:
        hint = "free some space or choose another folder"
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path), hint=hint) from error


def replace_durably(draft: Path, path: Path) -> None:
    """Rename a file that is on disk over another one in its folder; return when the rename is on disk too."""
    os.replace(draft, path)
    sync_folder(path.parent)


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


def open_plain(path: Path, error: type[NasError] = StorageError, *, links: bool = True) -> BufferedReader:
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


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot, as some network mounts
            raise
    finally:
        os.close(handle)


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Make a hidden folder in `parent`, itself made if it is missing; remove it at the end.

    What exports that were killed have left in `parent` is put right first. OSError if the disk fails.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _locked(parent, wait=True):
            _recover(parent)
            for left in _folders(parent, f"{WORK}*"):
                with suppress(OSError), _locked(left, wait=False) as abandoned:
                    if abandoned:
                        shutil.rmtree(left, ignore_errors=True)
            folder = parent / f"{WORK}{secrets.token_hex(4)}"
            folder.mkdir()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(_locked(folder, wait=False))
        yield folder


def replace_folder(draft: Path, folder: Path) -> None:
    """Put the folder `draft` in the place of `folder`, whole or not at all, durably.

    draft: in a `work_folder` beside `folder`; its files get the permissions that the umask leaves.
    OSError if the disk fails.

    No system renames a folder over another. A process killed between the two renames leaves the old folder
    under a hidden name, and the next `work_folder` puts it back.
    """
    mode = draft.stat().st_mode & 0o666
    for path in filter(Path.is_file, draft.rglob("*")):
        path.chmod(mode)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    for path in (*filter(Path.is_dir, draft.rglob("*")), draft):
        sync_folder(path)
    with _locked(folder.parent, wait=True):
        _recover(folder.parent)
        old = folder.with_name(f".{folder.name}{REPLACED}")
        if folder.is_dir():
            folder.rename(old)
        try:
            draft.rename(folder)
        except OSError:
            _recover(folder.parent)
            raise
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def _recover(parent: Path) -> None:
    """Put back the folders that a killed process had moved away to replace them; remove what it replaced."""
    for old in _folders(parent, f".*{REPLACED}"):
        folder = parent / old.name[1 : -len(REPLACED)]
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)


def _folders(parent: Path, pattern: str) -> list[Path]:
    return [path for path in parent.glob(pattern) if path.is_dir() and not path.is_symlink()]


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lock a folder among processes; yield whether that succeeded. A file system may have no locks. The
    kernel ends a lock with its process."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            flock(handle, LOCK_EX if wait else LOCK_EX | LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _checksum(held: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(held, sort_keys=True).encode(), digest_size=16).hexdigest()
