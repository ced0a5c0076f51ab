"""The folder of a private Ray, for this user alone, and removed with it.

Ray makes its session folders readable and writable by everybody, in a folder that the first user of a machine
owns. Sockets lie in them, whose paths must be short.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from nas.errors import NasError

PREFIX = "nas-ray-"
SOCKETS = len("/nas-ray-12345678/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
LONGEST = 103
"""Most bytes of a socket's path on every system."""
ENDING = 5.0
"""Seconds in which processes that are ending may still write."""
NEW = 60.0
"""Seconds in which a folder may not be locked yet."""


class RayFolder:
    """A new folder, whose lock the kernel releases when this process ends, however it ends."""

    def __init__(self) -> None:
        parent = _parent()
        _sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # mode 0700
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it, and what processes that are ending still write into it."""
        end = time.monotonic() + ENDING
        while self.path.exists() and time.monotonic() < end:
            shutil.rmtree(self.path, ignore_errors=True)
            time.sleep(0.01)
        os.close(self._lock)


def _parent() -> Path:
    """Return the first of the places for temporary files that can be written and has a short path."""
    places = [os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR"), "/tmp"]
    for place in filter(None, places):
        path = Path(place).absolute()
        if path.is_dir() and os.access(path, os.W_OK) and len(os.fsencode(path)) + SOCKETS <= LONGEST:
            return path
    hint = f"name a folder of yours by RAY_TMPDIR, with a path of at most {LONGEST - SOCKETS} bytes"
    raise NasError("Ray has no place for its sockets", where=", ".join(filter(None, places)), hint=hint)


def _sweep(parent: Path) -> None:
    """Remove folders of this user whose process was killed."""
    for path in parent.glob(f"{PREFIX}*"):
        try:
            kept = path.lstat()
            if kept.st_uid != os.getuid() or path.is_symlink() or time.time() - kept.st_mtime < NEW:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # its process lives
        finally:
            os.close(handle)
