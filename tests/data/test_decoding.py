"""Decoding of the images that are used, in parallel, into files that several processes read."""

import os
import resource
import threading

import numpy as np
import pytest
from PIL import Image
from testing.images import write_folder

from nas.controller.evaluators.ray_data import on_this_node
from nas.data import cache, decode, folder, load_data, progress
from nas.data.decoded_file import DecodedFile
from nas.data.progress import Progress, check_room
from nas.data.rows import MappedArray, Rows
from nas.errors import NasError, StorageError


@pytest.fixture
def on_disk(monkeypatch):
    """However small, arrays are not copied into memory."""
    for module in ("rows", "cache", "arrays", "npz"):
        monkeypatch.setattr(f"nas.data.{module}.SMALL", 0)


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded from here on."""
    names = []
    original = folder.decode
    monkeypatch.setattr(folder, "decode", lambda file, *rest: names.append(file) or original(file, *rest))
    return names


def test_images_on_disk_are_those_in_memory(tmp_path, monkeypatch):
    write_folder(tmp_path, ["a", "b"], count=20)
    small = load_data(f"folder:{tmp_path}")
    monkeypatch.setattr("nas.data.rows.SMALL", 0)
    large = load_data(f"folder:{tmp_path}")
    assert isinstance(small.train_images, np.ndarray)
    assert isinstance(large.train_images.base, MappedArray)
    assert (large.fingerprint, large.mean, large.std) == (small.fingerprint, small.mean, small.std)
    np.testing.assert_array_equal(large.test()[0], small.test()[0])
    assert large.duplicates == small.duplicates
    np.testing.assert_array_equal(large.first(3).train_images, small.train_images[:3])


def test_a_limit_decodes_what_it_takes(tmp_path, decoded):
    write_folder(tmp_path, ["a", "b"], count=30)
    data = load_data(f"folder:{tmp_path}?limit=10")
    assert len(decoded) == 10
    [entry] = cache.entries()
    part = entry.bytes
    assert len(data.test()[0]) == 12
    assert len(decoded) == 22
    whole = load_data(f"folder:{tmp_path}")
    assert len(decoded) == len(set(decoded)) == 60
    np.testing.assert_array_equal(data.test()[0], whole.test()[0])
    assert part <= cache.entries()[0].bytes


def test_decoding_goes_on_where_it_was_interrupted(tmp_path, decoded, monkeypatch):
    write_folder(tmp_path, ["a", "b"], count=30)
    monkeypatch.setattr(decode, "MOST", 2)
    original = folder.decode

    def interrupted(*args):
        if len(decoded) > 20:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(folder, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_data(f"folder:{tmp_path}")
    before = len(decoded)
    monkeypatch.setattr(folder, "decode", original)
    data = load_data(f"folder:{tmp_path}")
    assert 60 <= len(decoded) <= 60 + 2 * 2 * (decode.CORES + 1)
    assert before > 20
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "other"))
    assert data.fingerprint == load_data(f"folder:{tmp_path}").fingerprint


def test_two_that_decode_at_once_share_the_work(tmp_path, decoded):
    write_folder(tmp_path, ["a", "b"], count=40)
    prints = []
    threads = [
        threading.Thread(target=lambda: prints.append(load_data(f"folder:{tmp_path}").fingerprint))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == 80
    assert len(prints) == 3
    assert len(set(prints)) == 1


@pytest.mark.usefixtures("on_disk")
def test_grey_images_get_three_channels_once_one_is_in_colour(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MOST", 2)
    write_folder(tmp_path, ["a", "b"], count=10, mode="L")
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "b" / "9.png")
    data = load_data(f"folder:{tmp_path}?test=0")
    shown = [*data.train_images, *data.val_images]
    assert data.input_shape == (3, 8, 8)
    assert sum((image[0] == image[1]).all() and (image[0] == image[2]).all() for image in shown) == 19
    assert any((image == colours.transpose(2, 0, 1)).all() for image in shown)


def test_the_channels_follow_from_the_images_and_not_from_the_cache(tmp_path):
    write_folder(tmp_path, ["a", "b"], count=20, mode="L")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "b" / "9.png")
    before = load_data(f"folder:{tmp_path}?limit=8")
    assert load_data(f"folder:{tmp_path}?test=0").input_shape == (3, 8, 8)
    after = load_data(f"folder:{tmp_path}?limit=8")
    assert before.fingerprint == after.fingerprint


def test_the_next_image_takes_the_place_of_a_broken_one(tmp_path):
    write_folder(tmp_path, ["a", "b"], count=20)
    before = load_data(f"folder:{tmp_path}?limit=12")
    for i in range(0, 20, 2):
        (tmp_path / "a" / f"{i}.png").write_bytes(b"no image")
    with pytest.raises(NasError, match="images cannot be read"):
        load_data(f"folder:{tmp_path}?limit=12")
    with pytest.raises(NasError, match="not a readable image"):
        before.test()
    data = load_data(f"folder:{tmp_path}?limit=12&skip_broken")
    assert len(data.train_images) + len(data.val_images) == 12
    assert 1 < len(data.full_reading.broken) <= 10
    assert len(data.test()[0]) < 8


def test_a_disk_that_takes_no_more_is_one_clear_error(tmp_path):
    write_folder(tmp_path / "set", ["a", "b"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(StorageError, match="decoded images cannot be written: File too large"):
            load_data(f"folder:{tmp_path / 'set'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [entry.bytes for entry in cache.entries()] in ([], [0])
    assert load_data(f"folder:{tmp_path / 'set'}").num_classes == 2


def test_the_room_is_said_and_what_cannot_fit_is_refused(tmp_path, capsys):
    with pytest.raises(StorageError, match=r"300 GB needed on disk, .* GB free; \?size=64 needs 1\.23 GB"):
        check_room("folder:x", tmp_path, 100_000, (3, 1000, 1000))
    assert not capsys.readouterr().err
    check_room("folder:x", tmp_path, 10_000, (3, 224, 224))
    assert "folder:x: 1.51 GB needed on disk, " in capsys.readouterr().err
    check_room("folder:x", tmp_path, 10_000, (3, 32, 32))
    assert not capsys.readouterr().err


def test_the_cache_makes_room_before_and_says_what_it_cannot_keep(tmp_path, monkeypatch, capsys):
    for i, name in enumerate(("one", "two")):
        write_folder(tmp_path / name, ["a", "b"], count=40, size=(40, 40), seed=i)
    load_data(f"folder:{tmp_path / 'one'}")
    [old] = cache.entries()
    monkeypatch.setenv("NAS_CACHE_GB", str(1.5 * old.bytes / 1e9))
    monkeypatch.setattr(progress, "SAID", 0)
    sizes = []
    monkeypatch.setattr(Progress, "add", lambda *_: sizes.append([entry.path for entry in cache.entries()]))
    load_data(f"folder:{tmp_path / 'two'}")
    assert all(old.path not in listing for listing in sizes)
    assert "not kept" not in capsys.readouterr().err
    monkeypatch.setenv("NAS_CACHE_GB", "0.0001")
    load_data(f"folder:{tmp_path / 'one'}")
    assert "not kept for the next start: raise $NAS_CACHE_GB" in capsys.readouterr().err
    assert cache.entries() == []


def test_progress_is_said_once_it_takes_long(monkeypatch, capsys):
    said = Progress("folder:x", 1000)
    said.add(100)
    assert not capsys.readouterr().err
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    said.add(400)
    said.add(100)
    said.close()
    assert capsys.readouterr().err.splitlines() == ["folder:x: 500 of 1,000 images decoded, 0:00 left"]


@pytest.mark.usefixtures("on_disk")
def test_another_node_gets_the_images_once(tmp_path, monkeypatch):
    write_folder(tmp_path / "set", ["a", "b"], count=20)
    data = load_data(f"folder:{tmp_path / 'set'}")
    home, calls = data.train_images.base.array, []
    expected = (data.fingerprint, data.mean)

    def fetch(base, rows):
        calls.append(len(rows))
        return home[rows]

    assert on_this_node(data, fetch) is data
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "node"))
    lost = MappedArray.__new__(MappedArray)
    lost.__dict__.update(data.train_images.base.__getstate__(), path=tmp_path / "none", holder="")
    parts = {name: getattr(data, name) for name in ("train_images", "val_images")}
    away = data.at_other_places({name: Rows(lost, part.rows, part.planes) for name, part in parts.items()})
    for _ in range(2):
        here = on_this_node(away, fetch)
        assert sum(calls) == len(data.train_images) + len(data.val_images)
        assert (here.fingerprint, here.mean) == expected
        for name, part in parts.items():
            np.testing.assert_array_equal(getattr(here, name), part)


@pytest.mark.usefixtures("on_disk")
class TestArrays:
    IMAGES = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    LABELS = np.arange(60) % 3

    def test_a_mapped_array_of_the_user_is_not_copied(self, tmp_path):
        np.save(tmp_path / "x.npy", self.IMAGES)
        data = load_data((np.load(tmp_path / "x.npy", mmap_mode="r"), self.LABELS))
        assert data.train_images.base.path == tmp_path / "x.npy"
        assert data.fingerprint == load_data((self.IMAGES, self.LABELS)).fingerprint
        half = load_data((np.load(tmp_path / "x.npy", mmap_mode="r")[30:], self.LABELS[30:]))
        assert half.fingerprint == load_data((self.IMAGES[30:], self.LABELS[30:])).fingerprint

    @pytest.mark.parametrize("last", [False, True])
    def test_an_archive_without_compression_is_mapped(self, tmp_path, last):
        images = self.IMAGES.transpose(0, 2, 3, 1) if last else self.IMAGES
        path = tmp_path / "x.npz"
        np.savez(path, images=np.ascontiguousarray(images), labels=self.LABELS)
        data = load_data(f"npz:{path}")
        assert isinstance(data.train_images.base, MappedArray)
        assert data.fingerprint == load_data((self.IMAGES, self.LABELS)).fingerprint
        raw = bytearray(path.read_bytes())
        raw[2000] ^= 1
        path.write_bytes(raw)
        with pytest.raises(NasError, match=r"'images' cannot be read: bad checksum of images\.npy"):
            load_data(f"npz:{path}")

    def test_floats_are_scaled_by_blocks(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nas.data.rows.BLOCK", 1000)
        data = load_data((self.IMAGES / 255, self.LABELS))
        assert isinstance(data.train_images.base, MappedArray)
        assert data.fingerprint == load_data((self.IMAGES, self.LABELS)).fingerprint
        assert cache.entries() == []  # the file vanishes with the data


def test_a_file_that_was_replaced_while_it_was_waited_for_is_not_filled(tmp_path):
    path = tmp_path / "x"
    first = DecodedFile(path, tmp_path, 4, False)
    opened = []
    other = threading.Thread(target=lambda: opened.append(DecodedFile(path, tmp_path, 4, False)))
    other.start()
    first.begin((1, 2, 2))  # renames another file over the one that is waited for
    first.close()
    other.join(5)
    [second] = opened
    assert (second.shape, second.token) == ((1, 2, 2), first.token)
    assert os.path.samestat(os.fstat(second.fd), os.stat(path))
    second.close()
