"""Progress of decoding many images, told on stderr: the room they need, and the time left."""

from __future__ import annotations

import shutil
import sys
import time
from math import prod
from pathlib import Path

from nas.errors import StorageError, readable
from nas.formatting import duration

SAID = 1e9
"""Bytes above which the room on disk is said."""
SMALLER = 64
"""Size in pixels that is proposed for images that are larger."""
PATIENCE, EVERY, EVERY_PIPED = 2.0, 0.2, 30.0
"""Seconds until the progress is said, and between two times on a terminal and elsewhere."""


class Progress:
    """Says how many of `total` images of `where` are decoded, once that takes longer than PATIENCE."""

    def __init__(self, where: str, total: int) -> None:
        self.where, self.total, self.done = where, total, 0
        self.began = self.said = time.monotonic()
        self.live = sys.stderr.isatty()
        self.spoke = False

    def add(self, images: int) -> None:
        """Count images that are decoded."""
        self.done += images
        now = time.monotonic()
        pause = (EVERY if self.live else EVERY_PIPED) if self.spoke else PATIENCE
        if now - self.said < pause or not self.done:
            return
        left = (now - self.began) * (self.total - self.done) / self.done
        text = f"{self.where}: {self.done:,} of {self.total:,} images decoded, {duration(left)} left"
        self._say(text)
        self.said, self.spoke = now, True

    def close(self) -> None:
        """End the line."""
        if self.spoke and self.live:
            print(file=sys.stderr)

    def _say(self, text: str) -> None:
        end, start = ("", "\r\x1b[K") if self.live else ("\n", "")
        print(start + readable(text), end=end, file=sys.stderr, flush=True)


def check_room(where: str, folder: Path, count: int, shape: tuple[int, ...], *, kept: bool = True) -> None:
    """Say the room that `count` images of (planes, height, width) need on disk, if it is much.

    `kept` says whether the cache keeps them.

    Raises StorageError if the disk of `folder` does not have it.
    """
    need, free = count * prod(shape), shutil.disk_usage(folder).free
    smaller = count * shape[0] * SMALLER**2
    text = f"{_size(need)} needed on disk, {_size(free)} free"
    if smaller < need:
        text += f"; ?size={SMALLER} needs {_size(smaller)}"
    if need > free:
        hint = "nas cache --clear frees room, and $NAS_CACHE names another disk"
        raise StorageError(text, where=where, hint=f"{hint}; decoded images go to {folder}")
    if not kept:
        text += "; not kept for the next start: raise $NAS_CACHE_GB"
    if need > SAID:
        print(readable(f"{where}: {text}"), file=sys.stderr, flush=True)


def _size(size: float) -> str:
    return f"{size / 1e9:,.3g} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
