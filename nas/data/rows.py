"""Arrays that are read by rows: in memory, or in a file that is mapped and never loaded as a whole."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NotFoundError

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.intp]

SMALL = 64 << 20
"""Bytes up to which chosen rows are copied into memory, where they are an ordinary array."""
BLOCK = 4 << 20
"""Bytes that are read at once."""
HEADER = 4096
"""Bytes at the head of a mapped file. They begin with a token that no other file has."""
TOKEN = 32
"""Length of the token in bytes."""


class MappedArray:
    """A uint8 array in a file. Pickled, it is the place of the file, which is opened where it is first read.

    Args:
        path: The file. If it is removed, processes of the machine still reach it while this one lives.
        token: The first bytes of the file, by which it is known again.
        offset: Byte of the file at which the array begins.
        shape: Shape of the array.
        holder: Another place of the file.
        state: Size in bytes and modification time in ns of a file that is not of the cache.
    """

    def __init__(
        self,
        path: Path,
        token: bytes,
        offset: int,
        shape: tuple[int, ...],
        holder: str = "",
        state: tuple[int, int] | None = None,
    ) -> None:
        self.path, self.token, self.offset, self.shape = path, token, offset, shape
        self.holder, self.state = holder, state
        self._array: npt.NDArray[np.uint8] | None = None
        fd = self._open()
        self.holder = f"/proc/{os.getpid()}/fd/{fd}"

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """The array, read-only. Raises NotFoundError if the file cannot be reached from here."""
        if self._array is None:
            fd, size = self._open(), int(np.prod(self.shape, dtype=np.int64))
            mapped = mmap.mmap(fd, self.offset + size, access=mmap.ACCESS_READ)
            self._array = np.frombuffer(mapped, np.uint8, size, self.offset).reshape(self.shape)
        return self._array

    @classmethod
    def of_file(cls, path: Path, offset: int, shape: tuple[int, ...]) -> MappedArray:
        """Return an array in a file of the user."""
        with open(path, "rb") as file:
            head, stat = file.read(TOKEN), os.fstat(file.fileno())
        return cls(path.absolute(), head, offset, shape, state=(stat.st_size, stat.st_mtime_ns))

    @property
    def reachable(self) -> bool:
        """Whether the file can be read from here."""
        try:
            return self.array is not None
        except NotFoundError:
            return False

    def moved(self, path: Path) -> MappedArray:
        """Return the same array in a copy of the file. Raises NotFoundError if there is none."""
        return MappedArray(path, self.token, self.offset, self.shape)

    def _open(self) -> int:
        """Open the file, by its path or through the process that holds it open; it stays open for as long as
        this object lives, so that it can be reached once it is removed."""
        for place in filter(None, (str(self.path), self.holder)):
            with suppress(OSError):
                fd = os.open(place, os.O_RDONLY)
                stat = os.fstat(fd)
                same = self.state in (None, (stat.st_size, stat.st_mtime_ns))
                if same and os.pread(fd, len(self.token), 0) == self.token:
                    weakref.finalize(self, os.close, fd)
                    return fd
                os.close(fd)
        hint = "they were removed or changed: start again"
        raise NotFoundError("images cannot be reached", where=str(self.path), hint=hint)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}


class Rows:
    """Chosen rows of an array, gathered when they are indexed; else like an array that is only read.

    Args:
        base: The array.
        rows: Indices of the rows, in order.
        planes: Index along the second axis, applied to what was gathered.
    """

    def __init__(
        self, base: Array | MappedArray, rows: Indices, planes: slice | int | tuple[int, ...]
    ) -> None:
        self.base, self.rows, self.planes = base, rows, planes
        inner = np.empty((0, *base.shape[1:]), np.uint8)[:, self._plane_index()]
        self.shape: tuple[int, ...] = (len(rows), *inner.shape[1:])
        self.dtype = np.dtype(np.uint8) if isinstance(base, MappedArray) else base.dtype
        self.ndim = len(self.shape)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def _plane_index(self) -> Any:
        return list(self.planes) if isinstance(self.planes, tuple) else self.planes

    @property
    def array(self) -> Array:
        """The array that holds the rows, among others."""
        return self.base.array if isinstance(self.base, MappedArray) else self.base

    def take(self, indices: Indices | slice) -> Rows:
        """Return some of the rows, without reading them."""
        return Rows(self.base, self.rows[indices], self.planes)

    def with_planes(self, planes: tuple[int, ...]) -> Rows:
        """Return the same rows with planes chosen anew, as indices of `base`."""
        return Rows(self.base, self.rows, planes)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(first, int | np.integer):
            return self[[int(first)]][(0, *rest)]
        gathered = self.array[self.rows[first]][:, self._plane_index()]
        return gathered[(slice(None), *rest)] if rest else gathered

    def __iter__(self) -> Iterator[Array]:
        for block in blocks(self):
            yield from block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)

    def transpose(self, *axes: int) -> Array:
        """Return the rows in memory, with their axes in another order."""
        return np.asarray(self).transpose(*axes)


def take(array: Array | Rows, indices: Indices | slice) -> Any:
    """Return some rows of an array: a copy if they are small, else a `Rows` that copies nothing."""
    if not isinstance(array, Rows):
        if array.ndim == 1:
            return array[indices]
        array = Rows(array, np.arange(len(array)), slice(None))
    chosen = array.take(indices)
    return np.ascontiguousarray(chosen[:]) if chosen.nbytes <= SMALL else chosen


def blocks(array: Array | Rows, size: int = BLOCK) -> Iterator[Array]:
    """Yield an array as consecutive blocks of rows, each contiguous and of about `size` bytes."""
    rows = max(1, size * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield np.ascontiguousarray(array[start : start + rows])
