"""Reading a table of results: what each column must hold, and messages that name the row that does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import NasError, NotFoundError, StorageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("type", "error")
NUMBERS = ("flops", "params", "epochs", "depth", "width", "budget", "lr", "weight_decay")
"""Columns of numbers that are known; all but the weight decay are above zero."""

SCHEDULES = ("epochs", "lr", "weight_decay")
"""Columns that decide what a row is compared with."""

LABELS = ("context", "seed", "run", "digest")
STATES = ("complete", "failed", "stopped")
KNOWN = (*REQUIRED, *LABELS, *NUMBERS, "state", "blocks", "norm")
EMPTY = ("", "nan", "na", "n/a", "none", "null")
"""Texts that stand for no number in a CSV file."""


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file of results, every cell as text.

    NotFoundError without the file, StorageError if it cannot be read, NasError if it is no table.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise NotFoundError("no such file", where=str(path)) from None
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, pd.errors.ParserError) as error:  # not UTF-8, no columns, rows of other lengths
        hint = "a CSV file in UTF-8 has a line of column names and one line per training: type,error,context"
        raise NasError(f"is no table: {str(error).strip()}", where=str(path), hint=hint) from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first fields for names of rows
        hint = "name each column; R writes no names of rows with write.csv(..., row.names = FALSE)"
        raise NasError("its rows have more fields than the line of column names", where=str(path), hint=hint)
    table.attrs["file"] = str(path)
    return table


def check_table(table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the columns that are known, and say what was ignored.

    Args:
        table: One row per training. Required are `type` and `error` (a fraction); known besides are
            `context`, `seed`, `run`, `digest`, `state` (complete, failed, stopped), `flops`, `params`,
            `epochs`, `depth`, `width`, `blocks`, `norm`, `budget`, `lr` and `weight_decay`.

    Returns:
        The rows, with the known columns alone, and notes for the reader.

    Raises:
        NasError: A column or a row cannot be understood; the message names it.
    """
    _check_columns(table)
    where = _Places(table)
    rows = table.loc[:, [name for name in table.columns if name in KNOWN]].reset_index(drop=True)
    notes = []
    if ignored := [str(name) for name in table.columns if name not in KNOWN]:
        notes.append(f"Columns that are not understood were ignored: {', '.join(ignored)}.")
    rows["type"] = _labels(rows["type"], where, "type")
    for name in (name for name in ("context", "run") if name in rows):
        rows[name] = _labels(rows[name], where, name)
    if "digest" in rows:
        rows["digest"] = rows["digest"].where(~_missing(rows["digest"]), "").astype(str)
    for name in (name for name in NUMBERS if name in rows):
        rows[name] = _numbers(rows[name], where, name)
        where.refuse(rows[name] < 0, name, "is below 0")
        where.refuse((rows[name] == 0) & (name != "weight_decay"), name, "must be above 0")
    if "blocks" in rows:
        rows = _depths(rows, where)
    rows["error"] = _numbers(rows["error"], where, "error")
    rows["state"] = _states(rows, where)
    _check_errors(rows, where)
    _check_schedules(rows, where)
    if {"budget", "flops"} <= set(rows):
        hint = "give the FLOPs of failed trainings too: they say whether the network is the one at the budget"
        where.refuse(rows["budget"].notna() & rows["flops"].isna(), "flops", "is empty beside a budget", hint)
    if len(rows["type"].unique()) < 2:
        only = rows["type"].iloc[0]
        raise NasError(
            f"all rows are of one type, {only!r}",
            where=where.table,
            hint="a comparison needs two types or more",
        )
    repeated = _repeated(rows)
    if repeated.any():
        notes.append(f"Rows that repeat another training exactly were counted once: {int(repeated.sum())}.")
    rows = rows[~repeated].reset_index(drop=True)
    if equal := int(rows.drop(columns="run", errors="ignore").astype(str).duplicated().sum()):
        missing = "'seed'" if "seed" not in rows else "'context' or 'digest'"
        notes.append(
            f"Without a column {missing}, rows that equal another count as further trainings: {equal}."
        )
    return rows, tuple(notes)


class _Places:
    """Names the rows of a table: the line of a file, else the number of the row from 0."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.file = table.attrs.get("file", "")
        self.table = self.file or "table"

    def row(self, at: int) -> str:
        return f"{self.file}:{at + 2}" if self.file else f"table: row {at}"

    def refuse(self, bad: Any, column: str, what: str, hint: str = "") -> None:
        """NasError for the first row that is marked bad."""
        rows = np.flatnonzero(np.asarray(bad, bool))
        if len(rows):
            more = f" ({len(rows)} rows)" if len(rows) > 1 else ""
            raise NasError(f"column {column!r}: {what}{more}", where=self.row(int(rows[0])), hint=hint)


def _check_columns(table: pd.DataFrame) -> None:
    where = _Places(table).table
    names = [str(name) for name in table.columns]
    listed = f"columns found: {', '.join(names) or 'none'}"
    for name in REQUIRED:
        if name not in names:
            hint = (
                f"{listed}\n  {name!r} is required: a row is one training with its module type and its error"
            )
            if close := [found for found in names if found.strip().lower() == name]:
                hint = f"rename the column {close[0]!r} to {name!r}"
            elif name == "error" and (close := [n for n in names if "acc" in n.lower()]):
                hint = (
                    f"error is a fraction: 1 - {close[0]}, or 1 - {close[0]} / 100 where that is in percent"
                )
            raise NasError(f"no column {name!r}", where=where, hint=hint)
    if twice := sorted({name for name in names if names.count(name) > 1 and name in KNOWN}):
        raise NasError(
            f"two columns are called {twice[0]!r}", where=where, hint="each column needs its own name"
        )
    if not len(table):
        raise NasError("no rows", where=where, hint="a row is one training")


def _missing(values: pd.Series[Any]) -> pd.Series[bool]:
    return values.isna() | values.astype(str).str.strip().eq("")


def _labels(values: pd.Series[Any], where: _Places, name: str) -> pd.Series[Any]:
    """Names as text, so that 1 and "1" are one."""
    where.refuse(_missing(values), name, "is empty", "each row needs one, or the column is left out")
    numbers = values.map(lambda v: isinstance(v, float) and float(v).is_integer())
    whole = values.where(~numbers, values.map(lambda v: int(v) if isinstance(v, float) and v == v else v))
    return whole.astype(str).str.strip()


def _numbers(values: pd.Series[Any], where: _Places, name: str) -> pd.Series[float]:
    import pandas as pd

    text = values.astype(str).str.strip().str.lower()
    empty = values.isna() | text.isin(EMPTY)
    numbers = pd.to_numeric(values.where(~empty), errors="coerce").astype(float)
    bad = (numbers.isna() & ~empty) | np.isinf(numbers)
    example = repr(str(values[bad].iloc[0])) if bad.any() else ""
    where.refuse(bad, name, f"{example} is not a number")
    return numbers


def _states(rows: pd.DataFrame, where: _Places) -> pd.Series[str]:
    if "state" not in rows:
        bad = rows["error"].isna()
        hint = "add a column 'state' with 'failed' for trainings that diverged, or remove the row"
        where.refuse(bad, "error", "is empty", hint)
        return rows["error"].map(lambda _: "complete")
    states = rows["state"].astype(str).str.strip().str.lower()
    unknown = ~states.isin(STATES)
    found = str(rows["state"][unknown].iloc[0]) if unknown.any() else ""
    where.refuse(unknown, "state", f"unknown state {found!r}", did_you_mean(found.lower(), STATES))
    return states


def _check_errors(rows: pd.DataFrame, where: _Places) -> None:
    error, complete = rows["error"], rows["state"] == "complete"
    where.refuse(
        complete & error.isna(),
        "error",
        "is empty, but the state is 'complete'",
        "give the error, or the state 'failed' for a training that diverged",
    )
    above = f"{error.max():g} is above 1" if error.notna().any() else ""
    hint = "error is a fraction, not percent: 4.2 % is 0.042"
    where.refuse(error > 1, "error", above, hint)
    where.refuse(error < 0, "error", "is below 0", "error is a fraction: 1 - accuracy")
    if not complete.any():
        raise NasError("no training is complete", where=where.table, hint="failures alone rank nothing")


def _check_schedules(rows: pd.DataFrame, where: _Places) -> None:
    """Refuse complete trainings whose schedule or recipe is unknown where that of others is known."""
    for name in (name for name in SCHEDULES if name in rows and rows[name].notna().any()):
        empty = rows[name].isna() & (rows["state"] == "complete")
        where.refuse(
            empty, name, "is empty, but known of other rows", "give it for each row, or leave it out"
        )


def _depths(rows: pd.DataFrame, where: _Places) -> pd.DataFrame:
    """`blocks` as the depth: their number, or the type of each joined by "+". Networks of mixed types are
    refused, as a row has one type."""
    lists = rows["blocks"].map(_block_list)
    mixed = [bool(found) and set(found) != {kind} for found, kind in zip(lists, rows["type"], strict=True)]
    where.refuse(
        mixed,
        "blocks",
        "has blocks of another type than the row",
        "a table compares networks of one type each; nas analyze RUN reads mixed networks of a search",
    )
    if "depth" not in rows:
        rows = rows.assign(depth=[float(len(found)) if found else np.nan for found in lists])
    return rows.drop(columns="blocks")


def _block_list(value: Any) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    text = str(value).strip()
    if text.lower() in EMPTY or text.replace(".", "", 1).isdigit():
        return ()
    return tuple(part.strip() for part in text.split("+"))


def _repeated(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Rows that agree with an earlier one in all, also in the network and the seed; without a seed, or
    without what tells networks apart, none is known to."""
    if "seed" not in rows:
        return np.zeros(len(rows), bool)
    others = [name for name in rows.columns if name != "run"]
    known = True if "context" in rows else rows["digest"] != "" if "digest" in rows else False
    return np.asarray(rows[others].astype(str).duplicated() & known, bool)
