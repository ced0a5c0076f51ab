"""Arrays of a NumPy archive."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from nas.data.arrays import Array, Read, array_source
from nas.data.source import Form, Options, Source
from nas.errors import NasError, NotFoundError


def open_npz(target: str, options: Options) -> Source:
    """Open the arrays of a NumPy archive; nothing in it is unpickled.

    Raises NotFoundError if the file is missing, NasError if it is damaged or its arrays are not understood.
    """
    path = Path(target).expanduser()
    where = f"npz:{path}"
    if not path.is_file():
        raise NotFoundError("no such file", where=where)
    if not zipfile.is_zipfile(path):
        raise NasError("not a readable .npz archive", where=where)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            names = list(archive.files)
    except Exception as error:  # zipfile and NumPy raise what they like at damaged bytes
        raise NasError(f"cannot be read: {error}", where=where) from None
    return array_source(path.stem, names, partial(_reader, path), where, f"{path}: ")


def _reader(path: Path) -> Read:
    return partial(_read, path)


def _read(path: Path, name: str) -> Array:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            array: Array = archive[name]
            return array
    except Exception as error:  # as above
        raise NasError(f"array {name!r} cannot be read: {error}", where=f"npz:{path}") from None


def _claims(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


FORMS = (
    Form(
        "npz",
        open_npz,
        "a NumPy archive: images and labels, or x_train, y_train, x_val, …",
        place="PATH",
        claims=_claims,
    ),
)
