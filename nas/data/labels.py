"""Conversion of labels as people store them to class indices with names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.dataset import Labels
from nas.errors import NasError, did_you_mean

Values = npt.NDArray[Any]

ACCEPTED = "labels are whole numbers, bools, strings, or one-hot rows"


def to_classes(labels: Any, names: Sequence[str] | None, where: str) -> tuple[Labels, tuple[str, ...]]:
    """Return class indices, int64 (n,), and class names.

    Args:
        labels: (n,) or (n, 1) whole numbers (as floats, too), bools or strings; or (n, classes) one-hot.
        names: class names that numbers index and strings are among; None takes the values that occur.
        where: the data, for messages.

    Raises NasError for other labels, and for those outside `names`.
    """
    values = _plain(np.asarray(labels), where)
    if values.ndim == 2:
        values, columns = _from_one_hot(values, where)
        names = tuple(map(str, range(columns))) if names is None else names
    if values.ndim != 1:
        raise NasError(f"labels of shape {values.shape}", where=where, hint=ACCEPTED)
    if names is None:
        unique, indices = np.unique(values, return_inverse=True)
        return indices.astype(np.int64), tuple(map(str, unique.tolist()))
    names = tuple(names)
    if len(set(names)) < len(names):
        raise NasError("has two classes of one name", where=where)
    if values.dtype.kind in "Ub":
        unique, indices = np.unique(values.astype(np.str_), return_inverse=True)
        for value in unique.tolist():
            if value not in names:
                hint = did_you_mean(value, names)
                raise NasError(f"label {value!r} is not in classes", where=where, hint=hint)
        return np.array([names.index(value) for value in unique.tolist()], dtype=np.int64)[indices], names
    if len(values) and (values.min() < 0 or values.max() >= len(names)):
        message = f"labels {values.min()} to {values.max()}, but {len(names)} classes"
        raise NasError(message, where=where, hint=f"class numbers go from 0 to {len(names) - 1}")
    return values.astype(np.int64), names


def _plain(values: Values, where: str) -> Values:
    """Return labels as integers, bools or strings, in one dimension if there is only one column."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    kind = values.dtype.kind
    if kind == "S":
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise NasError(f"a label is not text: {error}", where=where, hint=ACCEPTED) from None
    if kind in "OT" and all(isinstance(value, str) for value in values.flat):
        return values.astype(np.str_)
    if kind == "f":
        whole = np.isfinite(values) & (values == np.rint(values))
        if not whole.all() and values.ndim > 1:
            raise _not_one_hot(values, where)
        if not whole.all():
            i = int(np.flatnonzero(~whole.ravel())[0])
            message = f"label {values.flat[i]:g} at index {i} is not a class"
            raise NasError(message, where=where, hint=ACCEPTED)
        return values.astype(np.int64)
    if kind not in "biuU":
        raise NasError(f"labels must be integers or strings, not {values.dtype}", where=where, hint=ACCEPTED)
    return values


def _from_one_hot(rows: Values, where: str) -> tuple[Values, int]:
    """Return the column that holds the 1 of each row, and the number of columns."""
    numbers = rows.dtype.kind in "biu"
    if not numbers or not ((rows == 0) | (rows == 1)).all() or (rows.sum(1) != 1).any():
        raise _not_one_hot(rows, where)
    return rows.argmax(1), rows.shape[1]


def _not_one_hot(rows: Values, where: str) -> NasError:
    message = f"labels of shape {rows.shape} that are not one-hot: a single 1 in each row, else 0"
    return NasError(message, where=where, hint=ACCEPTED)
