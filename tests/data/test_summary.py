"""What `nas data` says: parts, classes, sizes, what was not read, warnings; and the picture."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from testing.images import png, write_folder

from nas.cli import run
from nas.data import load_data
from nas.data.summary import data_lines, warnings


@pytest.fixture
def photos(tmp_path):
    """Training and validation images of two sizes, one with transparency, and things that are no images."""
    root = tmp_path / "photos"
    for part, count in (("train", 9), ("val", 3)):
        write_folder(root / part, ["cat", "dog"], count=count, seed=count)
    write_folder(root / "train", ["emu"], count=6, size=(8, 12), seed=4)
    Image.new("RGBA", (8, 8)).save(root / "train" / "cat" / "0.png")
    (root / "train" / "dog" / "notes.txt").write_text("no image")
    (root / "val" / "__pycache__").mkdir()
    return root


def show(capsys, *arguments):
    assert run(["data", *map(str, arguments)]) == 0
    return capsys.readouterr()


def test_json_says_what_was_understood(photos, capsys):
    document = json.loads(show(capsys, f"{photos}?size=8", "--json").out)
    document.pop("schema")
    assert document == {
        "parts": {
            "train": {"count": 24, "source": "train/"},
            "validation": {"count": 6, "source": "val/"},
            "test": {"count": 0, "source": None},
        },
        "classes": {
            "cat": {"train": 9, "validation": 3},
            "dog": {"train": 9, "validation": 3},
            "emu": {"train": 6, "validation": 0},
        },
        "unread": {
            str(photos / "train" / "dog" / "notes.txt"): "no image",
            str(photos / "val" / "__pycache__"): "made by Python",
        },
        "input_shape": [3, 8, 8],
        "bytes": 30 * 3 * 8 * 8 + 30 * 8,
        "augmentation": "shifted by up to 1 pixel, mirrored left-right at random",
    }


def test_text_says_what_was_understood(photos, capsys):
    lines = show(capsys, f"{photos}?size=8").out.splitlines()
    shown = {line.split()[0]: line[12:] for line in lines if line[:1].isalpha()}
    assert shown["parts"] == "train 24 (train/)  validation 6 (val/)  test none"
    assert shown["images"] == (
        "8x8 (24), 8x12 (6), brought to 8x8 pixels (the middle is cropped; ?fit=crop, squash or pad), colour"
    )
    assert shown["changed"] == "transparency laid on white (1)"
    assert shown["balance"] == "largest class cat (37.5%): a constant guess has 50.00% error"
    assert shown["duplicates"] == "no image occurs in two splits"
    assert shown["warning"].startswith("class emu has no image in the validation part; ?min_images=N")
    assert shown["memory"] == "6kB"
    assert lines[-1].split() == ["emu", "6", "0"]


def test_a_list_of_the_forms_has_no_picture_and_no_recipe(capsys):
    for option in (["--plot", "a.png"], ["--recipe", "flip=false"]):
        assert run(["data", *option]) == 2
        assert "--plot and --recipe describe images" in capsys.readouterr().err


def test_without_a_specification_the_forms_are_listed(capsys):
    assert run(["data", "--json"]) == 0
    names = [row["form"] for row in json.loads(capsys.readouterr().out)["forms"]]
    assert {"digits", "cifar10", "shapes", "folder:PATH", "parquet:PATH", "npz:PATH", "masks:PATH"} <= {
        *names
    }


def test_a_name_that_is_no_text_is_read_and_shown(tmp_path, capsys):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    write_folder(root, ["cat", os.fsdecode(b"\xfe")])
    for _ in range(2):
        assert "\\udcfe" in show(capsys, root).out
        assert "\\udcfe" in show(capsys, root, "--json").out


def test_duplicates_across_parts_are_counted_with_the_test_set(tmp_path, capsys):
    for part in ("train", "test"):
        write_folder(tmp_path / part, ["cat", "dog"])
    assert "12 images occur in two splits" in show(capsys, tmp_path).out


def test_what_is_broken_and_skipped_is_named(photos, capsys):
    (photos / "val" / "cat" / "1.png").write_bytes(png()[:50])
    assert run(["data", f"{photos}?size=8"]) == 2
    assert "val/cat/1.png: not a readable image" in capsys.readouterr().err
    document = json.loads(show(capsys, f"{photos}?size=8&skip_broken", "--json").out)
    assert document["parts"]["validation"]["count"] == 5
    assert "not a readable image" in document["unread"][str(photos / "val" / "cat" / "1.png")]


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "suffix"), [("digits", ".png"), ("shapes", ".svg")])
def test_the_picture_is_drawn(tmp_path, capsys, spec, suffix):
    file = tmp_path / f"grid{suffix}"
    assert str(file) in show(capsys, spec, "--plot", file).err
    assert file.stat().st_size > 5000
    if suffix == ".svg":
        text = file.read_text()
        assert text.count("<image") == 32  # 16 images before and after
        assert "augmented" in text


def test_the_picture_of_few_images_has_as_many(tmp_path, capsys):
    write_folder(tmp_path / "set", ["cat", "dog"], count=3)
    show(capsys, tmp_path / "set", "--plot", tmp_path / "x.svg")
    train = len(load_data(str(tmp_path / "set")).train_labels)
    assert (tmp_path / "x.svg").read_text().count("<image") == 2 * train


def test_few_validation_images_say_how_well_they_tell_an_error():
    def lines(count):
        images = np.random.default_rng(0).integers(0, 256, (2 * count, 1, 8, 8), dtype=np.uint8)
        labels = np.arange(2 * count) % 2
        parts = {"train": (images[:count], labels[:count]), "validation": (images[count:], labels[count:])}
        shown = data_lines(load_data(parts), "arrays")
        return [line for line in shown if line.startswith("certainty")]

    (text,) = lines(200)
    assert text == "certainty   200 validation images tell an error of 10% to ±4.2 points (95%)"
    assert lines(1000) == []


def test_control_characters_of_names_are_escaped(tmp_path, capsys):
    write_folder(tmp_path, ["a\x1b[31m", "b"])
    (tmp_path / "b" / "c\x1b[2J.txt").write_text("")
    assert "\x1b" not in show(capsys, tmp_path).out


class TestWarnings:
    def write(self, root, draw):
        for name in ("cat", "dog"):
            (root / name).mkdir()
            for i in range(6):
                Image.fromarray(draw(i + 6 * (name == "dog"))).save(root / name / f"{i}.png")
        return warnings(load_data(str(root)))

    def test_equal_images(self, tmp_path):
        found = self.write(tmp_path, lambda i: np.arange(64, dtype=np.uint8).reshape(8, 8))
        assert "all training images are equal" in found

    def test_constant_images(self, tmp_path):
        found = self.write(tmp_path, lambda i: np.full((8, 8), 20 * i, dtype=np.uint8))
        assert any("constant: each has pixels of a single value" in line for line in found)

    def test_images_of_12_bits_in_16(self, tmp_path):
        ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 40
        found = self.write(tmp_path, lambda i: ramp + 100 * np.uint16(i))
        assert found == ["pixels use 15 of 256 grey levels: is the scale of the files right?"]

    def test_an_image_in_two_classes(self, tmp_path):
        rng = np.random.default_rng(0)
        pictures = rng.integers(0, 256, (12, 8, 8), dtype=np.uint8)
        pictures[6] = pictures[0]
        assert "1 image with more than one class" in self.write(tmp_path, lambda i: pictures[i])

    def test_classes_that_differ_in_case(self, tmp_path):
        write_folder(tmp_path, ["Cat", "cat ", "dog"])
        [line] = warnings(load_data(str(tmp_path)))
        assert line.startswith("classes differ in upper and lower case or blanks only: 'Cat', 'cat '")

    def test_classes_that_a_part_lacks(self, tmp_path):
        write_folder(tmp_path / "train", list("abcdef"))
        write_folder(tmp_path / "val", ["a"], seed=1)
        [line] = warnings(load_data(str(tmp_path)))
        assert line.startswith("5 classes have no image in the validation part (b, c, d, …); ")

    def test_ordinary_images_give_none(self):
        assert warnings(load_data("digits")) == []


@pytest.mark.slow
def test_a_search_and_a_dry_run_begin_with_it(tmp_path, photos, capsys):
    spec = f"{photos}?size=8&min_images=7"
    expected = data_lines(load_data(spec), spec)
    options = ["--space", "residual_vs_fractal", "--data", spec, "--trials", "1", "--epochs", "1"]
    assert run(["search", *options, "--dry-run"]) == 0
    assert "\n".join(expected) in capsys.readouterr().out
    assert run(["search", *options, "--workers", "0", "--results-dir", str(tmp_path / "results")]) == 0
    assert "\n".join(expected) in capsys.readouterr().err
