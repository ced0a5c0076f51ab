"""Parquet tables in the image layout of Hugging Face data sets.

A row has an image, {bytes, path} or bytes, and a label; class names are taken from the file's metadata
where it has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.data.cache import file_key
from nas.data.dataset import Labels
from nas.data.decode import Job, Undecoded
from nas.data.images import Picture, decode
from nas.data.labels import to_classes
from nas.data.layout import part_of_file
from nas.data.rows import Indices
from nas.data.source import Form, Options, Source
from nas.errors import NasError, NotFoundError

BATCH = 256
"""Rows that are read at once."""
HIDDEN = -1
"""The label of images whose class is kept secret, as in the test parts of competitions."""


def open_parquet(target: str, options: Options) -> Source:
    """Open a file, or a folder (searched recursively) with shards named after train, test and validation."""
    path = Path(target).expanduser()
    where = f"parquet:{path}"
    if path.is_file():
        return Source(path.stem, partial(_load, [path], options, where))
    if not path.is_dir():
        raise NotFoundError("no such file or folder", where=where)
    shards: dict[str | None, list[Path]] = {}
    for shard in sorted(path.rglob("*.parquet")):
        if not shard.name.startswith("."):
            shards.setdefault(part_of_file(shard, path), []).append(shard)
    unread = {}
    if "train" in shards:
        unread = {str(shard): "beside train, and named after no part" for shard in shards.pop(None, [])}
    elif None in shards:
        shards["train"] = shards.pop(None)
    if "train" not in shards:
        raise NasError("has no .parquet files to train on", where=where)
    for part in ("test", "validation"):
        if part in shards and _hidden(shards[part], options):
            reason = f"no labels: all are missing or hidden ({HIDDEN})"
            unread |= {str(shard): reason for shard in shards.pop(part)}
    parts = {part: files for part, files in shards.items() if part is not None}
    return Source.of_parts(
        path.name or path.resolve().name,
        {part: partial(_load, files, options, f"{where}: {part}") for part, files in parts.items()},
        {part: _listing(files, path) for part, files in parts.items()},
        unread,
    )


def _listing(files: Sequence[Path], root: Path) -> str:
    first = str(files[0].relative_to(root))
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


def _load(files: list[Path], options: Options, where: str) -> Undecoded:
    key = file_key(((file, "") for file in files), files[0].parent)
    labels, classes = _labels(files, options, where)
    if not len(labels):
        raise NasError("has no rows", where=where)
    choice = f"{options.size} {options.fit} {options.label} {options.image}"
    return Undecoded(
        jobs=partial(_jobs, files, options),
        count=len(labels),
        labels=np.asarray(labels),
        classes=classes,
        where=where,
        key=f"parquet {choice} {key}",
        size=options.size,
    )


def _jobs(files: list[Path], options: Options, indices: Indices) -> Iterator[Job]:
    """Yield the images of rows, numbered over all files, in order; few are held at a time."""
    start = 0
    for file in files:
        place = f"parquet:{file}"
        with _table(file) as table:
            column = _image_column(table.schema_arrow, options.image, place)
            end = start + table.metadata.num_rows
            wanted = indices[(indices >= start) & (indices < end)] - start
            for row, cell in _cells(table, column, wanted, place):
                where = f"{place}: row {row}"
                yield where, partial(_decode_cell, cell, options, where)
        start = end


def _cells(table: Any, column: str, wanted: Indices, where: str) -> Iterator[tuple[int, Any]]:
    """Yield some rows of a column with their numbers; groups of rows without any are not read.

    NasError if a damaged file has other rows than it says.
    """
    start = 0
    for group in range(table.num_row_groups):
        end = start + table.metadata.row_group(group).num_rows
        if ((wanted >= start) & (wanted < end)).any():
            for batch in table.iter_batches(BATCH, row_groups=[group], columns=[column]):
                rows = wanted[(wanted >= start) & (wanted < min(start + len(batch), end))]
                for row in rows.tolist():
                    yield row, batch.column(0)[row - start].as_py()
                start += len(batch)
            if start != end:
                raise NasError("not a readable parquet file: it has other rows than it says", where=where)
        start = end
    if start < table.metadata.num_rows:
        raise NasError("not a readable parquet file: it has fewer rows than it says", where=where)


def _decode_cell(cell: Any, options: Options, where: str) -> Picture:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise NasError("has no image bytes: embed the images, not their paths", where=where)
    return decode(data, options.size, where, options.fit)


def _labels(files: list[Path], options: Options, where: str) -> tuple[Labels, tuple[str, ...]]:
    """Return the classes of all rows. If shards have class names, the names decide, not the numbers.

    Raises NasError if a row has no label, or shards have labels of different types.
    """
    shards = [_shard_labels(file, options) for file in files]
    pairs = zip(files, shards, strict=True)
    kinds = {(values.dtype.kind, own is not None): file for file, (values, own) in pairs}
    if len(kinds) > 1:
        listing = "; ".join(f"{_kind(*kind)} in {file.name}" for kind, file in kinds.items())
        raise NasError("has labels of different types", where=where, hint=listing)
    names = shards[0][1]
    if names is None:
        return to_classes(np.concatenate([values for values, _ in shards]), None, where)
    known = list(dict.fromkeys(name for _, own in shards for name in own or ()))
    indices_by_shard = []
    for file, (values, own) in zip(files, shards, strict=True):
        indices, classes = to_classes(values, own, f"parquet:{file}")
        indices_by_shard.append(np.array([known.index(name) for name in classes], dtype=np.int64)[indices])
    return np.concatenate(indices_by_shard), tuple(known)


def _kind(kind: str, named: bool) -> str:
    word = {"i": "whole numbers", "b": "bools"}.get(kind, "strings")
    return f"{word} with class names" if named else word


def _shard_labels(file: Path, options: Options) -> tuple[np.ndarray[Any, Any], list[str] | None]:
    """Return the labels of a file as whole numbers, bools or strings, and its class names if it has them."""
    place = f"parquet:{file}"
    with _table(file) as table:
        column = _label_column(table.schema_arrow, options.label, place)
        names = _class_names(table.schema_arrow, column)
        values = table.read(columns=[column]).column(0).to_pylist()
    if None in values:
        raise NasError("has no label", where=f"{place}: row {values.index(None)}")
    array = np.array(values)
    if array.dtype.kind == "u" or (
        array.dtype.kind == "f" and (np.isfinite(array) & (array == np.rint(array))).all()
    ):
        array = array.astype(np.int64)
    return array, names


def _hidden(files: list[Path], options: Options) -> bool:
    """Return whether all labels are missing or hidden, as in the test part of a competition."""
    for file in files:
        with _table(file) as table:
            column = _label_column(table.schema_arrow, options.label, f"parquet:{file}")
            values = table.read(columns=[column]).column(0).to_pylist()
        if any(value is not None and value != HIDDEN for value in values):
            return False
    return True


@contextmanager
def _table(file: Path) -> Iterator[Any]:
    """Open a file; NasError if it is damaged."""
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            yield table
    except NasError:
        raise
    except Exception as error:  # Arrow raises what it likes at damaged bytes, UnicodeDecodeError among others
        raise NasError(f"not a readable parquet file: {error}", where=f"parquet:{file}") from None


def _image_column(schema: Any, image: str | None, where: str) -> str:
    import pyarrow.types as types

    def is_image(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))

    listing = f"columns: {', '.join(schema.names)}"
    pictures: list[str] = [field.name for field in schema if is_image(field.type)]
    if image is not None:
        if image not in pictures:
            raise NasError(f"has no image column {image!r}", where=where, hint=listing)
        return image
    if len(pictures) > 1:
        hint = f"add ?image=NAME; image columns: {', '.join(pictures)}"
        raise NasError(f"has {len(pictures)} image columns, not one", where=where, hint=hint)
    if not pictures:
        raise NasError("has 0 image columns, not one", where=where, hint=listing)
    return pictures[0]


def _label_column(schema: Any, label: str | None, where: str) -> str:
    """Return the column that is asked for, or called label, or the only one that may hold classes."""
    import pyarrow.types as types

    def rank(kind: Any) -> int | None:
        """Return 0 for types that hold classes, 1 for those that may, None for others."""
        if types.is_dictionary(kind):
            return rank(kind.value_type)
        string = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        if string or types.is_integer(kind) or types.is_boolean(kind):
            return 0
        return 1 if types.is_floating(kind) else None

    listing = f"columns: {', '.join(schema.names)}"
    ranks = {field.name: rank(field.type) for field in schema}
    likely: list[str] = [name for name, value in ranks.items() if value == 0]
    likely = likely or [name for name, value in ranks.items() if value == 1]
    if label is not None:
        if ranks.get(label) is None:
            raise NasError(f"has no label column {label!r}", where=where, hint=listing)
        return label
    if ranks.get("label") is not None:
        return "label"
    if len(likely) != 1:
        raise NasError("which column is the label?", where=where, hint=f"add ?label=NAME; {listing}")
    return likely[0]


def _class_names(schema: Any, label: str) -> list[str] | None:
    try:
        info = json.loads(schema.metadata[b"huggingface"])
        names = info["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _claims(path: Path) -> bool:
    if path.is_dir():
        return next(path.rglob("*.parquet"), None) is not None
    return path.suffix.lower() == ".parquet"


FORMS = (
    Form(
        "parquet",
        open_parquet,
        "tables of images and labels, as of Hugging Face; shards are named after train, test, validation",
        place="PATH",
        options=("label", "image", "skip_broken"),
        claims=_claims,
    ),
)
