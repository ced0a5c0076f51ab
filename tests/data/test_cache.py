import json
import os

import pytest
from testing.images import write_folder

from nas.cli import run
from nas.data import folder, load_data
from nas.data.cache import cache_folder, entries
from nas.errors import NasError


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


def test_a_file_written_over_with_its_old_times_is_decoded_again(tmp_path, decoded):
    """As `cp -p` and `rsync --times` write; the content here is the same."""
    path = tmp_path / "set" / "a" / "0.png"
    before = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load_data(f"folder:{tmp_path / 'set'}")
    assert len(decoded) == 12


@pytest.mark.parametrize(
    ("damage", "rows"),
    [
        (lambda b: b[:100], 12),
        (lambda b: b"", 12),
        (lambda b: b.replace(b'"version"', b'"vers\xffon"'), 12),
        (lambda b: b[:-50] + bytes([b[-50] ^ 1]) + b[-49:], 1),
        (lambda b: b[:4096] + bytes([b[4096] ^ 2]) + b[4097:], 1),  # the record of the first image
    ],
)
def test_what_is_damaged_is_decoded_again(tmp_path, decoded, damage, rows):
    expected = load_data(f"folder:{tmp_path / 'set'}").fingerprint
    [path] = cache_folder().rglob("*.images")
    path.write_bytes(damage(path.read_bytes()))
    assert load_data(f"folder:{tmp_path / 'set'}").fingerprint == expected
    assert len(decoded) == rows


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, decoded, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file"))
    assert load_data(f"folder:{tmp_path / 'set'}").num_classes == 2


def test_the_cache_is_listed_and_cleared(tmp_path, decoded, capsys):
    [entry] = entries()
    assert entry.bytes > 12 * 3 * 8 * 8
    assert run(["cache", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert (listing["bytes"], listing["limit"]) == (entry.bytes, 50 * 10**9)
    assert listing["entries"][0]["file"] == str(entry.path)
    assert run(["cache"]) == 0
    assert entry.path.name in capsys.readouterr().out
    assert run(["cache", "--clear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed"] == entry.bytes
    assert entries() == []
    load_data(f"folder:{tmp_path / 'set'}")
    assert len(decoded) == 12


def test_what_was_not_used_for_longest_goes_where_the_cache_is_full(tmp_path, monkeypatch):
    for i, name in enumerate(("one", "two", "three")):
        write_folder(tmp_path / name, ["a", "b"], seed=i)
        load_data(f"folder:{tmp_path / name}")
        os.utime(entries()[0].path, (i, i))
    load_data(f"folder:{tmp_path / 'one'}")  # its use counts, not its age
    used, *_, oldest = entries()
    write_folder(tmp_path / "four", ["a", "b"], seed=4)
    monkeypatch.setenv("NAS_CACHE_GB", str(3.5 * used.bytes / 1e9))
    load_data(f"folder:{tmp_path / 'four'}")
    left = [entry.path for entry in entries()]
    assert len(left) == 3
    assert used.path in left
    assert oldest.path not in left


def test_a_part_that_is_larger_than_the_bound_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE_GB", "0")
    write_folder(tmp_path, ["a", "b"])
    assert load_data(f"folder:{tmp_path}").num_classes == 2
    assert entries() == []


@pytest.mark.parametrize("value", ["much", "-1", "nan"])
def test_a_bound_that_is_no_number_is_named(tmp_path, monkeypatch, value):
    monkeypatch.setenv("NAS_CACHE_GB", value)
    write_folder(tmp_path, ["a", "b"])
    with pytest.raises(NasError, match="is not a number of gigabytes"):
        load_data(f"folder:{tmp_path}")


def test_only_what_was_broken_is_tried_again(tmp_path, decoded):
    (tmp_path / "set" / "a" / "0.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(NasError, match=r"a/0\.png: not a readable image"):
            load_data(f"folder:{tmp_path / 'set'}")
    assert len(decoded) == 13  # what is broken is tried again, as its disk may have been
    assert load_data(f"folder:{tmp_path / 'set'}?skip_broken").full_reading.broken
    assert len(decoded) == 14
