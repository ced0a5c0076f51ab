"""Trials in SQLite: the disk is full after any number of bytes, the power lost after any part of a write."""

from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager

import pytest
from testing.trials import SPACE, a_trial

from nas.errors import StorageError
from nas.study.study import Study

DOMAINS = {path: list(options) for path, options in SPACE.domains().items()}
FRAME, HEADER = 4096 + 24, 32
"""Bytes of a page in the WAL file with its header, and of the header of the file."""


def create(folder):
    folder.mkdir()
    return Study.create(folder / "study.db", objectives=["error"], domains=DOMAINS)


def numbers(folder):
    with Study.open(folder / "study.db") as study:
        return [trial.number for trial in study.trials]


@contextmanager
def largest_file(size):
    """The kernel refuses to let a file grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_after_any_number_of_bytes(tmp_path):
    """Every write of a record fails once, in its middle, too; then there is space again."""
    with create(tmp_path / "run") as study:
        study.record(a_trial(0))
        whole = (tmp_path / "run" / "study.db-wal").stat().st_size
        hints, number = [], 1
        for size in range(whole, whole + 6 * FRAME, FRAME // 4):
            with largest_file(size):
                try:
                    study.record(a_trial(number))
                    number += 1
                except StorageError as error:
                    hints.append(error.hint)
            assert [trial.number for trial in study.trials] == list(range(number))
            shutil.copytree(tmp_path / "run", tmp_path / str(size))
            assert numbers(tmp_path / str(size)) == list(range(number))
        study.record(a_trial(number))
    assert len(hints) > 3
    assert all(hint.startswith("free some space") for hint in hints)
    assert numbers(tmp_path / "run") == list(range(number + 1))


@pytest.fixture
def history(tmp_path):
    """A folder before any record, the WAL file after four, and its size when each was recorded."""
    with create(tmp_path / "run") as study:
        study.connect()
        with study._engine.connect():  # keeps the WAL file between records
            shutil.copytree(tmp_path / "run", tmp_path / "before")
            sizes = []
            for number in range(4):
                study.record(a_trial(number))
                sizes.append((tmp_path / "run" / "study.db-wal").stat().st_size)
            shutil.copytree(tmp_path / "run", tmp_path / "after")
    return tmp_path, (tmp_path / "after" / "study.db-wal").read_bytes(), sizes


def test_a_loss_of_power_keeps_each_trial_that_was_recorded(history):
    """The WAL file ends after each page that was written, and within each."""
    tmp_path, wal, sizes = history
    ends = {end + more for end in range(HEADER, len(wal) + 1, FRAME) for more in (0, 20, 2000)}
    for end in sorted(end for end in {0, 7, HEADER, *sizes, *ends} if end <= len(wal)):
        place = tmp_path / f"cut-{end}"
        shutil.copytree(tmp_path / "before", place)
        (place / "study.db-shm").unlink(missing_ok=True)
        (place / "study.db-wal").write_bytes(wal[:end])
        assert numbers(place) == list(range(sum(size <= end for size in sizes))), end


def test_a_loss_of_power_while_the_wal_file_is_copied_into_the_database(history):
    """The pages are copied one by one, while the WAL file, which was synced before, is still there."""
    tmp_path, wal, _ = history
    shutil.copytree(tmp_path / "after", tmp_path / "copied")
    assert numbers(tmp_path / "copied") == [0, 1, 2, 3]
    old, new = ((tmp_path / name / "study.db").read_bytes() for name in ("before", "copied"))
    assert not (tmp_path / "copied" / "study.db-wal").exists()
    assert old != new
    for end in range(0, len(new) + 1, 2048):  # whole pages, and torn ones
        place = tmp_path / f"copied-{end}"
        place.mkdir()
        (place / "study.db-wal").write_bytes(wal)
        (place / "study.db").write_bytes(new[:end] + old[end:])
        assert numbers(place) == [0, 1, 2, 3]
