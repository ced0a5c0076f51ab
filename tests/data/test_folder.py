import os
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from testing.images import image_table, png, write_folder

from nas.data import load_data
from nas.data.images import FORMATS
from nas.errors import NasError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def test_a_folder_per_class(tmp_path):
    write_folder(tmp_path / "pets", ["dog", "cat"])
    data = load_data(f"folder:{tmp_path / 'pets'}")
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert data.input_shape == (3, 8, 8)
    stored = Image.open(tmp_path / "pets" / "cat" / "0.png")
    expected = np.asarray(stored).transpose(2, 0, 1).tobytes()
    images = np.concatenate([data.train_images, data.val_images, data.test()[0]])
    assert expected in {image.tobytes() for image in images}


def test_train_and_test_folders(tmp_path):
    write_folder(tmp_path / "train", ["a", "b"])
    write_folder(tmp_path / "test", ["a", "b"], count=2, seed=1)
    data = load_data(f"folder:{tmp_path}")
    assert len(data.train_labels) + len(data.val_labels) == 12
    assert len(data.test()[1]) == 4


@pytest.mark.parametrize("name", ["validation", "val"])
def test_a_validation_folder_beside_a_test_set_is_what_it_says(tmp_path, name):
    for part, count in {"train": 6, name: 3, "test": 2}.items():
        write_folder(tmp_path / part, ["a", "b"], count=count, seed=count)
    data = load_data(f"folder:{tmp_path}")
    assert (len(data.train_labels), len(data.val_labels), len(data.test()[1])) == (12, 6, 4)


def test_a_class_may_be_named_train(tmp_path):
    write_folder(tmp_path, ["Bus", "Car", "Train"])
    assert load_data(f"folder:{tmp_path}").classes == ("Bus", "Car", "Train")


def test_two_folders_of_one_part_are_refused(tmp_path):
    for seed, name in enumerate(("train", "Test", "testing")):
        write_folder(tmp_path / name, ["a", "b"], seed=seed)
    with pytest.raises(NasError, match="two folders for the test part") as caught:
        load_data(f"folder:{tmp_path}")
    assert "Test/ and testing/" in str(caught.value)


def test_grey_images_have_one_channel_unless_mixed_with_colour(tmp_path):
    write_folder(tmp_path, ["a", "b"], mode="L")
    assert load_data(f"folder:{tmp_path}").input_shape == (1, 8, 8)
    write_folder(tmp_path, ["c"])
    assert load_data(f"folder:{tmp_path}").input_shape == (3, 8, 8)


def test_sizes_that_differ(tmp_path):
    write_folder(tmp_path, ["a"])
    write_folder(tmp_path, ["b"], size=(10, 6))
    with pytest.raises(NasError, match="10x6 pixels, others are 8x8") as caught:
        load_data(f"folder:{tmp_path}")
    assert str(tmp_path / "b" / "0.png") in str(caught.value)
    assert load_data(f"folder:{tmp_path}?size=5").input_shape == (3, 5, 5)


def test_a_damaged_image_is_named(tmp_path):
    write_folder(tmp_path, ["a", "b"])
    (tmp_path / "a" / "3.png").write_bytes(png()[:60])
    with pytest.raises(NasError, match=r"a/3\.png: not a readable image"):
        load_data(f"folder:{tmp_path}")


def test_an_image_bomb_is_refused(tmp_path, monkeypatch):
    write_folder(tmp_path, ["a", "b"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(NasError, match="not a readable image"):
        load_data(f"folder:{tmp_path}")


@pytest.mark.parametrize("form", ["folder", "parquet", "masks"])
def test_postscript_in_a_png_is_refused_and_starts_no_program(tmp_path, monkeypatch, form):
    canary, gs = tmp_path / "canary", tmp_path / "bin" / "gs"
    gs.parent.mkdir()
    gs.write_text(f"#!/bin/sh\ntouch '{canary}'\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gs.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # looked for again
    if form == "parquet":
        table = image_table([0, 1] * 10).to_pylist()
        table[3]["img"] = {"bytes": EPS, "path": "3.png"}
        pq.write_table(pa.Table.from_pylist(table), tmp_path / "set.parquet")
        target, named = tmp_path / "set.parquet", "row 3"
    else:
        names = ["images", "masks"] if form == "masks" else ["a", "b"]
        write_folder(tmp_path / "set", names, mode="L")
        target = tmp_path / "set"
        named = str(target / names[1] / "3.png")
        Path(named).write_bytes(EPS)
    with pytest.raises(NasError, match="not a readable image: none of the known formats") as caught:
        load_data(f"{form}:{target}")
    assert named in caught.value.where
    assert not canary.exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_on_the_list_is_read(tmp_path, kind):
    write_folder(tmp_path, ["a", "b"])
    with Image.open(tmp_path / "a" / "3.png") as image:
        image.save(tmp_path / "a" / "3.png", kind)
    data = load_data(f"folder:{tmp_path}")
    assert data.input_shape == (3, 8, 8)


@pytest.mark.parametrize("raised", [struct.error("unpack"), KeyError(5), RuntimeError(""), MemoryError()])
def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch, raised):
    """Errors of kinds that damaged bytes have led to in one version of Pillow or another."""

    def load(image):
        raise raised

    write_folder(tmp_path, ["a", "b"])
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(NasError, match=r"a/0\.png: not a readable image: \S"):
        load_data(f"folder:{tmp_path}")


def test_an_empty_folder(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(NasError, match="has no images") as caught:
        load_data(f"folder:{tmp_path}")
    assert "a folder per class" in str(caught.value)
