import os

import pytest
from testing.images import write_folder

from nas.data import folder, load_data
from nas.data.cache import cache_folder


@pytest.fixture
def decoded(tmp_path, monkeypatch):
    """The files that are decoded from here on, of which none was before."""
    write_folder(tmp_path / "set", ["a", "b"])
    names = []
    original = folder.decode
    monkeypatch.setattr(folder, "decode", lambda file, *rest: names.append(file) or original(file, *rest))
    load_data(f"folder:{tmp_path / 'set'}")
    assert len(names) == 12
    names.clear()
    return names


def test_a_source_is_decoded_once(tmp_path, decoded):
    data = load_data(f"folder:{tmp_path / 'set'}")
    assert not decoded
    assert data.classes == ("a", "b")


def test_a_changed_file_is_decoded_again(tmp_path, decoded):
    os.utime(tmp_path / "set" / "a" / "0.png", (1, 1))
    load_data(f"folder:{tmp_path / 'set'}")
    assert len(decoded) == 12


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b[:300] + b"\xff" + b[301:], lambda _: b""])
def test_a_damaged_cache_is_made_again(tmp_path, decoded, damage):
    expected = load_data(f"folder:{tmp_path / 'set'}").fingerprint
    for path in cache_folder().rglob("*.npz"):
        path.write_bytes(damage(path.read_bytes()))
    assert load_data(f"folder:{tmp_path / 'set'}").fingerprint == expected
    assert len(decoded) == 12


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, decoded, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file"))
    assert load_data(f"folder:{tmp_path / 'set'}").num_classes == 2
