"""A file of a run that was cut, or of which one byte is another: the run opens as it was, or not at all.

The small files are damaged at every byte. The database has thirty thousand, so here it is damaged
at every 53rd; the long form takes all of them:

    NAS_DAMAGE=1 python -m pytest -q tests/study/test_damage.py
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from testing.stranger import copied

from nas.errors import NasError, StorageError
from nas.study.run import Run, open_run

pytestmark = pytest.mark.slow

STRIDE = int(os.environ.get("NAS_DAMAGE", "53"))
MASK = 0x21
"""Turns a digit into another character, a letter into another letter, and a quote into none."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(tmp_path / "run").path


def cut(raw: bytes, at: int) -> bytes:
    return raw[:at]


def changed(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ MASK]) + raw[at + 1 :]


def held(run: Run) -> tuple[object, ...]:
    """All that a run says; genotypes as they are read."""
    study = run.study
    genotypes = [trial.genotype.nodes for trial in study.trials]
    return run.config, run.space, study.objectives, study.meta, list(study.trials), genotypes


def outcomes(
    folder: Path, name: str, damage: object, stride: int, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, object]]:
    """Of opening the run after each damage to a file: what it holds, or the error."""
    path = folder / name
    raw = path.read_bytes()
    for at in range(start, len(raw) if stop is None else stop, stride):
        path.write_bytes(damage(raw, at))
        for left in ("study.db-wal", "study.db-shm"):
            (folder / left).unlink(missing_ok=True)
        try:
            with (run := open_run(folder)).study:
                yield at, held(run)
        except NasError as error:
            yield at, error


@pytest.mark.parametrize("damage", [cut, changed])
@pytest.mark.parametrize(
    ("name", "stride"),
    [("config.json", 1), ("space.yaml", 1), ("study.db", STRIDE)],
    ids=lambda each: str(each),
)
def test_damage_is_found_or_harmless(folder: Path, name: str, stride: int, damage: object) -> None:
    """Harmless is to cut the last line end of a text, or to change an unused part of the database."""
    with (run := open_run(folder)).study:
        whole = held(run)
    found = dict(outcomes(folder, name, damage, stride))
    assert [at for at, each in found.items() if not isinstance(each, NasError) and each != whole] == []
    assert any(isinstance(each, NasError) for each in found.values())


def test_an_index_that_misses_a_trial_is_found(folder: Path) -> None:
    """SQLite looks trials up in it; at every byte of its last entries."""
    with (run := open_run(folder)).study:
        whole = held(run)
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_trials_1'"
        end = size * connection.execute(query).fetchone()[0]
    found = dict(outcomes(folder, "study.db", changed, 1, end - 40, end))
    assert [at for at, each in found.items() if not isinstance(each, NasError) and each != whole] == []
    assert sum(isinstance(each, NasError) for each in found.values()) > 20


def test_a_trial_that_belongs_to_no_study_is_found(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "study.db")) as connection, connection:
        connection.execute("UPDATE trials SET study_id = 7 WHERE number = 3")
    with pytest.raises(StorageError, match="row 4 of trials belongs to no row of studies"):
        open_run(folder)
