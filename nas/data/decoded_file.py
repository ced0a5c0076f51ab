"""A file of decoded images with a row for each image of a part, decoded or not.

A row is written before its record, and the record holds a checksum: a process that is killed leaves rows that
count as not decoded. One process at a time fills a file; whoever mapped it reads on, even once it is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.rows import HEADER, TOKEN, Indices, MappedArray
from nas.errors import StorageError

VERSION = 3
"""Version of the decoding: raise it when the same files must give other arrays."""
RECORD = np.dtype(
    [("channels", "u1"), ("changes", "u2"), ("height", "u4"), ("width", "u4"), ("checksum", "u4")]
)
"""State of a row: channels of its image, 0 if it is not decoded; a bit per change; its size before it was
brought to another one."""
POLL, PATIENCE = 0.05, 2.0
"""Seconds between two tries to lock a file, and until the wait is said."""
CHECKED = 256
"""Rows that a thread checks at once."""

Pixels = npt.NDArray[np.uint8]
Records = npt.NDArray[Any]


class DecodedFile:
    """An open file of decoded images, locked against other processes.

    Args:
        path: The file; it is renamed to this once it has a shape. None for one that vanishes when closed.
        folder: Folder of the file.
        count: Images of the part.
        masked: Whether the last plane of a row is a mask.

    Attributes:
        shape: (planes, height, width) of a row; None as long as no image is decoded.
        records: State of each row.
    """

    def __init__(self, path: Path | None, folder: Path, count: int, masked: bool) -> None:
        self.path, self.folder, self.count, self.masked = path, folder, count, masked
        self.fd = _lock(path) if path else -1
        self.token = b""
        self.shape: tuple[int, int, int] | None = None
        self.records: Records = np.zeros(count, RECORD)
        if path:
            self._read()

    @property
    def offset(self) -> int:
        """Byte at which the pixels begin, a multiple of the page size."""
        return HEADER + -(-self.count * RECORD.itemsize // HEADER) * HEADER

    @property
    def row_bytes(self) -> int:
        assert self.shape is not None
        return int(np.prod(self.shape))

    def _about(self) -> dict[str, Any]:
        return {"version": VERSION, "count": self.count, "masked": self.masked, "shape": self.shape}

    def _read(self) -> None:
        """Read header and records; a file that is not as expected counts as empty."""
        head = os.pread(self.fd, HEADER, 0)
        with suppress(ValueError, TypeError):
            about = json.loads(head[TOKEN:].rstrip(b"\0"))
            shape = tuple(map(int, about["shape"]))
            size = self.offset + self.count * int(np.prod(shape))
            if about == self._about() | {"shape": list(shape)} and os.fstat(self.fd).st_size == size:
                self.token, self.shape = head[:TOKEN], (shape[0], shape[1], shape[2])
                stored = os.pread(self.fd, self.count * RECORD.itemsize, HEADER)
                self.records = np.frombuffer(stored, RECORD).copy()

    def begin(self, shape: tuple[int, int, int]) -> None:
        """Make an empty file for rows of (planes, height, width) in place of the one there was."""
        with _writing(self.folder):
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        try:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            self.shape, self.token = shape, secrets.token_hex(TOKEN // 2).encode()
            self.records = np.zeros(self.count, RECORD)
            head = self.token + json.dumps(self._about()).encode()
            with _writing(self.folder):
                os.truncate(handle, self.offset + self.count * self.row_bytes)
            self._write(np.frombuffer(head.ljust(HEADER, b"\0"), np.uint8), 0, handle)
            if self.path:
                os.replace(name, self.path)
            else:
                os.unlink(name)
        except BaseException:
            os.close(handle)
            with suppress(OSError):
                os.unlink(name)
            raise
        self.close()
        self.fd = handle

    def fits(self, pixels: Pixels) -> bool:
        """Return whether images of (n, planes, height, width) have the size of the rows."""
        return self.shape is not None and pixels.shape[2:] == self.shape[1:]

    def write(self, rows: Indices, pixels: Pixels, records: Records) -> None:
        """Write images of (n, planes, height, width), then their records; grey ones fill all channels."""
        assert self.shape is not None
        if pixels.shape[1] > self.shape[0]:
            self._widen()
        if pixels.shape[1] < self.shape[0]:
            pixels = widened(pixels, self.masked)
        for first, last in _runs(rows):
            data = np.ascontiguousarray(pixels[first:last])
            self._write(data, self.offset + int(rows[first]) * self.row_bytes)
        self.records[rows] = records
        for first, last in _runs(rows):
            place = HEADER + int(rows[first]) * RECORD.itemsize
            self._write(np.ascontiguousarray(records[first:last]).view(np.uint8), place)

    def _write(self, data: Pixels, place: int, fd: int | None = None) -> None:
        view = memoryview(data.data).cast("B")
        with _writing(self.folder):
            while view:
                written = os.pwrite(self.fd if fd is None else fd, view, place)
                view, place = view[written:], place + written

    def _widen(self) -> None:
        """Give all rows three channels, as the first image in colour needs."""
        assert self.shape is not None
        old, records = self.mapped().array, self.records
        self.begin((self.shape[0] + 2, *self.shape[1:]))
        done = np.flatnonzero(records["channels"])
        for chunk in np.array_split(done, max(1, len(done) // CHECKED)):
            if len(chunk):
                self.write(chunk, old[chunk], records[chunk])

    def mapped(self) -> MappedArray:
        """Return the pixels of all rows."""
        assert self.shape is not None
        place = self.path or Path(f"/proc/{os.getpid()}/fd/{self.fd}")
        return MappedArray(
            place, self.token, self.offset, (self.count, *self.shape), f"/proc/self/fd/{self.fd}"
        )

    def check(self, rows: Indices, pool: Executor) -> None:
        """Mark rows whose pixels are damaged as not decoded."""
        rows = rows[self.records["channels"][rows] > 0]
        if not len(rows):
            return
        pixels = self.mapped().array
        chunks = np.array_split(rows, -(-len(rows) // CHECKED))
        for chunk, sums in zip(
            chunks, pool.map(lambda chunk: self._checksums(pixels, chunk), chunks), strict=True
        ):
            damaged = chunk[self.records["checksum"][chunk] != sums]
            self.records["channels"][damaged] = 0

    def _checksums(self, pixels: Pixels, rows: Indices) -> npt.NDArray[np.uint32]:
        return checksums((pixels[row] for row in rows), self.records[rows], self.masked)

    def __enter__(self) -> DecodedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def checksums(images: Iterable[Pixels], records: Records, masked: bool) -> npt.NDArray[np.uint32]:
    """Return the checksum of the planes and the record of each image, not of a channel that only repeats."""
    sums = np.empty(len(records), np.uint32)
    for i, (image, record) in enumerate(zip(images, records, strict=True)):
        state = record.tobytes()[: RECORD.fields["checksum"][1]]  # type: ignore[index]
        value = zlib.crc32(np.ascontiguousarray(image[: record["channels"]]).data, zlib.crc32(state))
        sums[i] = zlib.crc32(np.ascontiguousarray(image[-1]).data, value) if masked else value
    return sums


def widened(pixels: Pixels, masked: bool) -> Pixels:
    """Return grey images of (n, planes, height, width) with three channels."""
    return pixels[:, [0, 0, 0, 1] if masked else [0, 0, 0]]


def _lock(path: Path) -> int:
    """Open a file, made if need be, once no other process has it locked."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        _wait_for_lock(fd, path)
        with suppress(OSError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        os.close(fd)  # another process has replaced or removed it


def _wait_for_lock(fd: int, path: Path) -> None:
    """Lock a file, and say so if another process holds it for long; without locks on some network disks."""
    began, said = time.monotonic(), False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(POLL)
        except OSError:
            return
        if not said and time.monotonic() - began > PATIENCE:
            said = True
            print("another process decodes the same images; waiting for it", file=sys.stderr, flush=True)


def _runs(rows: Indices) -> Iterator[tuple[int, int]]:
    """Yield the stretches of consecutive numbers, as (first, end) in `rows`."""
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    bounds = [0, *cuts.tolist(), len(rows)]
    yield from pairwise(bounds)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn the error of a disk that takes no more into a StorageError."""
    try:
        yield
    except OSError as error:
        hint = "nas cache --clear frees room, $NAS_CACHE names another disk, and ?size=64 needs less"
        message = f"decoded images cannot be written: {error.strerror}"
        raise StorageError(message, where=str(folder), hint=hint) from error
