"""Arrays of a NumPy archive."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import numpy as np

from nas.data.arrays import Array, Read, array_source
from nas.data.rows import BLOCK, SMALL
from nas.data.source import Form, Options, Source
from nas.errors import NasError, NotFoundError

LOCAL_HEADER = Struct("<4s5H3I2H")
"""Header of a member of a zip file; the last two numbers are the lengths of its name and its extra field,
which follow."""


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
        mapped = _mapped(path, name)
        if mapped is not None:
            return mapped
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            array: Array = archive[name]
            return array
    except Exception as error:  # as above
        raise NasError(f"array {name!r} cannot be read: {error}", where=f"npz:{path}") from None


def _mapped(path: Path, name: str) -> Array | None:
    """Return a large array that is stored without compression, as `numpy.savez` does, mapped from the file.

    Returns None for others. Raises BadZipFile if the checksum is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        info = next((info for info in archive.infolist() if info.filename == f"{name}.npy"), None)
        if info is None or info.compress_type != zipfile.ZIP_STORED or info.file_size <= SMALL:
            return None
        with archive.open(info) as member:
            wide = np.lib.format.read_magic(member) > (1, 0)
            formats = np.lib.format
            read = formats.read_array_header_2_0 if wide else formats.read_array_header_1_0
            shape, fortran, dtype = read(member)
            header = member.tell()
    if dtype.hasobject or fortran:
        return None
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        local = file.read(LOCAL_HEADER.size)
        start = info.header_offset + len(local) + sum(LOCAL_HEADER.unpack(local)[-2:])
        _check_sum(file, start, info)
    return np.memmap(path, dtype, "r", start + header, shape)


def _check_sum(file: BinaryIO, start: int, info: zipfile.ZipInfo) -> None:
    file.seek(start)
    value, left = 0, info.file_size
    while left > 0 and (data := file.read(min(left, BLOCK))):
        value, left = zlib.crc32(data, value), left - len(data)
    if value != info.CRC:
        raise zipfile.BadZipFile(f"bad checksum of {info.filename}")


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
