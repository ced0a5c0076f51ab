"""Arrays that are read by rows, in memory and from mapped files."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from nas.data.decoded_file import RECORD, DecodedFile, checksums
from nas.data.rows import MappedArray, Rows, blocks, take
from nas.errors import NotFoundError

ARRAY = np.arange(20 * 3 * 4 * 5).reshape(20, 3, 4, 5).astype(np.uint8)
ROWS = np.array([3, 0, 17, 18, 19, 4])


@pytest.fixture
def file(tmp_path):
    """A mapped file of ARRAY."""
    records = np.zeros(20, RECORD)
    records["channels"] = 3
    with DecodedFile(tmp_path / "x", tmp_path, 20, False) as file:
        file.begin((3, 4, 5))
        records["checksum"] = checksums(ARRAY, records, False)
        file.write(np.arange(20), ARRAY, records)
        return file.mapped()


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(2),
        3,
        -1,
        [5, 1],
        np.array([True, False] * 3),
        (slice(None), 0),
        (2, 0),
        (slice(1, 4), slice(None), 2),
    ],
)
@pytest.mark.parametrize("planes", [slice(None), slice(0, 1), (0, 0, 0), -1])
def test_rows_are_indexed_like_their_array(file, key, planes):
    plain = ARRAY[ROWS][:, list(planes) if isinstance(planes, tuple) else planes]
    if isinstance(key, tuple) and len(key) > plain.ndim:
        return
    for base in (ARRAY, file):
        rows = Rows(base, ROWS, planes)
        assert (rows.shape, rows.nbytes, len(rows)) == (plain.shape, plain.nbytes, 6)
        np.testing.assert_array_equal(rows[key], plain[key])
        np.testing.assert_array_equal(np.asarray(rows), plain)
        np.testing.assert_array_equal(list(rows), plain)


def test_what_is_small_is_copied_and_what_is_large_is_not(monkeypatch):
    assert isinstance(take(ARRAY, ROWS), np.ndarray)
    monkeypatch.setattr("nas.data.rows.SMALL", 100)
    chosen = take(ARRAY, ROWS)
    assert chosen.base is ARRAY
    np.testing.assert_array_equal(take(chosen, slice(1, 3)), ARRAY[[0, 17]])
    np.testing.assert_array_equal(np.concatenate(list(blocks(chosen, 70))), ARRAY[ROWS])
    assert [len(block) for block in blocks(chosen, 130)] == [2, 2, 2]


def test_a_mapped_array_travels_as_its_place(file):
    other = pickle.loads(pickle.dumps(file))
    np.testing.assert_array_equal(other.array, ARRAY)
    large = pickle.dumps(MappedArray(file.path, file.token, 0, (20, 1)))
    assert len(large) < 500


def test_a_removed_file_is_still_read_by_processes_of_the_machine(file):
    sent = pickle.dumps(file)
    file.path.unlink()
    np.testing.assert_array_equal(pickle.loads(sent).array, ARRAY)


def test_another_file_in_its_place_is_not_taken_for_it(file):
    sent = pickle.dumps(file)
    Path(file.path).write_bytes(os.urandom(10_000))
    other = pickle.loads(sent)
    other.holder = ""
    assert not other.reachable
    with pytest.raises(NotFoundError, match="images cannot be reached"):
        np.asarray(other.array)
