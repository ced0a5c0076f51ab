"""Decoded images on the node of a worker: mapped where their file is seen, else copied to its cache once."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.data.cache import cache_folder, limit_bytes, shrink
from nas.data.rows import Array, Indices, MappedArray, Rows
from nas.errors import NotFoundError

if TYPE_CHECKING:
    from nas.data import Dataset

Fetch = Callable[[MappedArray, Indices], Array]
"""Returns rows of an array from the node of the driver."""

BLOCK = 64 << 20
"""Bytes that are fetched at once."""
PARTS = ("train_images", "train_labels", "val_images", "val_labels")


def on_this_node(dataset: Dataset, fetch: Fetch) -> Dataset:
    """Return a data set whose training and validation images can be read from this node. What a trainer of
    another kind takes in place of a data set is returned as it is."""
    parts = {name: part for name in PARTS if isinstance(part := getattr(dataset, name, None), Rows)}
    wanted: dict[bytes, list[Rows]] = {}
    for part in parts.values():
        if isinstance(part.base, MappedArray) and not part.base.reachable:
            wanted.setdefault(part.base.token, []).append(part)
    copies = {}
    for token, some in wanted.items():
        base = some[0].base
        assert isinstance(base, MappedArray)
        rows = np.unique(np.concatenate([part.rows for part in some]))
        copies[token] = _copied(base, rows, fetch)
    changes = {
        name: Rows(copies[part.base.token], part.rows, part.planes)
        for name, part in parts.items()
        if isinstance(part.base, MappedArray) and part.base.token in copies
    }
    return dataset.at_other_places(changes) if changes else dataset


def fetch_from(node: str) -> Fetch:
    """Return a function that reads rows on the node with this id, where their file is."""
    task = ray.remote(num_cpus=0)(_read).options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
    )
    return lambda base, rows: ray.get(task.remote(base, rows))


def _read(base: MappedArray, rows: Indices) -> Array:
    return base.array[rows]


def _copied(base: MappedArray, rows: Indices, fetch: Fetch) -> MappedArray:
    """Return an array with the given rows, from a file that the first worker of the node writes."""
    if base.state is not None:
        hint = "put the file where all nodes see it"
        raise NotFoundError("images cannot be reached from a worker", where=str(base.path), hint=hint)
    folder = cache_folder() / "arrays"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{base.token.decode()}.copy"
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return base.moved(path)
        except NotFoundError:
            _write(base, rows, fetch, path)
        copy = base.moved(path)
        shrink(limit_bytes(), keep=path)
        return copy
    finally:
        os.close(lock)


def _write(base: MappedArray, rows: Indices, fetch: Fetch, path: Path) -> None:
    size = int(np.prod(base.shape[1:], dtype=np.int64))
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "r+b") as file:
            file.truncate(base.offset + base.shape[0] * size)
            for some in np.array_split(rows, -(-len(rows) * size // BLOCK)):
                for row, pixels in zip(some.tolist(), fetch(base, some), strict=True):
                    file.seek(base.offset + row * size)
                    file.write(np.ascontiguousarray(pixels).data)
            file.seek(0)
            file.write(base.token)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
