"""Parquet tables in the image layout of Hugging Face data sets.

A row has an image, {bytes, path} or bytes, and a label, an integer or a string; class
names are taken from the file's metadata where it has them.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.data.arrays import make_part
from nas.data.cache import cached, files_key
from nas.data.dataset import Part
from nas.data.folder import HELD_OUT
from nas.data.images import decode, stack
from nas.data.source import Options, Source
from nas.errors import NasError, NotFoundError

BATCH = 1024


def open_parquet(target: str, options: Options) -> Source:
    """A file, or a folder (searched below too) with shards named after train, test and validation."""
    path = Path(target)
    where = f"parquet:{path}"
    if path.is_file():
        return Source(path.stem, partial(_load, [path], options, where))
    if not path.is_dir():
        raise NotFoundError("no such file or folder", where=where)
    shards = sorted(path.rglob("*.parquet"))
    split = {shard: next((n for n in HELD_OUT if _named([shard], path, n)), "") for shard in shards}
    train = _named(shards, path, "train") or [shard for shard in shards if not split[shard]]
    if not train:
        raise NasError("has no .parquet files to train on", where=where)
    parts = {name: [shard for shard in shards if split[shard] == name] for name in HELD_OUT}
    held_out = [partial(_load, part, options, f"{where}: {name}") for name, part in parts.items() if part]
    return Source(path.name, partial(_load, train, options, where), *held_out[:2])


def _named(shards: list[Path], root: Path, split: str) -> list[Path]:
    pattern = re.compile(rf"(^|[^a-z]){split}([^a-z]|$)")
    return [shard for shard in shards if pattern.search(str(shard.relative_to(root)).lower())]


def _load(files: list[Path], options: Options, where: str) -> Part:
    key = f"parquet {options.size} {options.label} {files_key(files)}"
    return cached(key, partial(_decode, files, options, where))


def _decode(files: list[Path], options: Options, where: str) -> Part:
    import pyarrow
    import pyarrow.parquet

    images: list[Any] = []
    labels: list[Any] = []
    places: list[str] = []
    names: list[str] | None = None
    for file in files:
        place = f"parquet:{file}"
        try:
            with pyarrow.parquet.ParquetFile(file) as table:
                picture, answer = _columns(table.schema_arrow, options.label, place)
                names = _class_names(table.schema_arrow, answer)
                for batch in table.iter_batches(BATCH, columns=[picture, answer]):
                    for cell in batch.column(picture).to_pylist():
                        places.append(f"{place}: row {len(places)}")
                        images.append(decode(_bytes(cell, places[-1]), options.size, places[-1]))
                    labels += batch.column(answer).to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise NasError(f"not a readable parquet file: {error}", where=place) from None
    if not images:
        raise NasError("has no rows", where=where)
    if None in labels:
        raise NasError("has no label", where=places[labels.index(None)])
    return make_part(stack(images, places), np.array(labels), names, where)


def _bytes(cell: Any, where: str) -> bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise NasError("has no image bytes", where=where, hint="embed the images, not their paths")
    return data


def _columns(schema: Any, label: str | None, where: str) -> tuple[str, str]:
    """The image column and the label column."""
    import pyarrow.types as types

    def is_image(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    listing = f"columns: {', '.join(schema.names)}"
    pictures = [field.name for field in schema if is_image(field.type)]
    answers = [f.name for f in schema if types.is_integer(f.type) or types.is_string(f.type)]
    if len(pictures) != 1:
        raise NasError(f"has {len(pictures)} image columns, not one", where=where, hint=listing)
    if label is not None and label not in answers:
        raise NasError(f"has no label column {label!r}", where=where, hint=listing)
    if label is None and "label" not in answers and len(answers) != 1:
        raise NasError("which column is the label?", where=where, hint=f"add ?label=NAME; {listing}")
    return pictures[0], label or ("label" if "label" in answers else answers[0])


def _class_names(schema: Any, label: str) -> list[str] | None:
    try:
        info = json.loads(schema.metadata[b"huggingface"])
        names = info["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
