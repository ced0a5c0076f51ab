"""Folders as people lay them out: parts in any spelling, strays, links, and what is not sure."""

import os
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from testing.images import image_table, png, write_folder

from nas.data import load_data
from nas.data.layout import part_of, part_of_file
from nas.data.split import validation_size
from nas.data.summary import warnings
from nas.errors import NasError


def sizes(data):
    """Images of training, validation and test."""
    return len(data.train_labels), len(data.val_labels), len(data.test()[1]) if data.has_test else 0


def sizes_of(count):
    """Sizes of the parts that are split off `count` images."""
    test, rest = count // 5, count - count // 5
    return rest - validation_size(rest), validation_size(rest), test


def all_labels(data):
    return [*data.train_labels.tolist(), *data.val_labels.tolist(), *data.test()[1].tolist()]


def write_parts(root, counts):
    for seed, (name, count) in enumerate(counts.items()):
        write_folder(root / name, ["cat", "dog"], count=count, seed=seed)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "val"), (12, 6, 0)),
        (("train", "valid"), (12, 6, 0)),
        (("train", "dev"), (12, 6, 0)),
        (("TRAIN", "VAL"), (12, 6, 0)),
        (("training", "validation"), (12, 6, 0)),
        (("Training", "Validation"), (12, 6, 0)),
        (("train_set", "val_set"), (12, 6, 0)),
        (("Train", "Test"), (8, 4, 6)),
        (("Training", "Testing"), (8, 4, 6)),
        (("training_set", "test_set"), (8, 4, 6)),
        (("seg_train", "seg_test"), (8, 4, 6)),
        (("train", "eval"), (8, 4, 6)),
        (("train", "Evaluation"), (8, 4, 6)),
        (("train", "val", "test"), (12, 6, 4)),
        (("Train", "Valid", "Test"), (12, 6, 4)),
        (("training", "dev", "testing"), (12, 6, 4)),
        (("train", "dev", "eval"), (12, 6, 4)),
        (("train", "eval", "test"), (12, 6, 4)),
    ],
)
def test_parts_are_known_by_their_names_in_any_case(tmp_path, names, expected):
    write_parts(tmp_path, dict(zip(names, (6, 3, 2), strict=False)))
    data = load_data(f"folder:{tmp_path}")
    assert data.classes == ("cat", "dog")
    assert sizes(data) == expected
    assert data.origins["train"] == f"{names[0]}/"


def test_a_name_is_of_a_part_only_where_nothing_else_is_in_it():
    assert [part_of(name) for name in ("train2017", "Test Images", "dev-set")] == [
        "train",
        "test",
        "validation",
    ]
    names = ("train_station", "test_tube", "bullet train", "value", "evaluations", "devon", "latest")
    assert [part_of(name) for name in names] == [None] * len(names)


def test_a_file_is_of_the_part_that_its_name_or_the_nearest_folder_says(tmp_path):
    parts = {
        "train-00000-of-00002.parquet": "train",
        "data/validation/0.parquet": "validation",
        "train/test-0.parquet": "test",
        "DEV.parquet": "validation",
        "latest.parquet": None,
    }
    assert {name: part_of_file(tmp_path / name, tmp_path) for name in parts} == parts


STRAYS = (
    "__MACOSX",
    "__pycache__",
    "annotations",
    "Annotations",
    ".ipynb_checkpoints",
    "@eaDir",
    ".git",
    ".thumbs",
)


@pytest.mark.parametrize("name", STRAYS)
@pytest.mark.parametrize("place", ["", "cat", "cat/deep", "parts"])
def test_stray_folders_are_neither_classes_nor_hold_images(tmp_path, name, place):
    if place == "parts":
        write_parts(tmp_path, {"train": 6, "test": 2})
        place = "train"
    else:
        write_folder(tmp_path, ["cat", "dog"])
    expected = load_data(f"folder:{tmp_path}")
    write_folder(tmp_path / place, [name], count=2, size=(5, 5), seed=9)
    (tmp_path / place / name / "a.xml").write_text("<a/>")
    data = load_data(f"folder:{tmp_path}")
    assert data.classes == ("cat", "dog")
    assert data.fingerprint == expected.fingerprint
    assert str(tmp_path / place / name) in data.full_reading.unread


@pytest.mark.parametrize(
    "name", ["._0.png", "._dog.jpg", ".DS_Store", "Thumbs.db", "readme.txt", "labels.csv"]
)
def test_stray_files_are_no_images(tmp_path, name):
    write_folder(tmp_path, ["cat", "dog"])
    for place in (tmp_path, tmp_path / "cat"):
        (place / name).write_bytes(b"Mac OS X" * 8)
    data = load_data(f"folder:{tmp_path}")
    assert sum(sizes(data)) == 12
    assert str(tmp_path / "cat" / name) in data.full_reading.unread


def test_empty_folders_are_no_classes_and_are_named(tmp_path):
    write_folder(tmp_path, ["cat", "dog"])
    (tmp_path / "emu" / "later").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no image")
    data = load_data(f"folder:{tmp_path}")
    assert data.classes == ("cat", "dog")
    assert data.full_reading.unread[str(tmp_path / "emu")] == "no image in it"
    assert data.full_reading.unread[str(tmp_path / "notes")] == "no image in it"


def test_an_empty_part_is_no_part(tmp_path):
    write_folder(tmp_path / "train", ["cat", "dog"])
    (tmp_path / "test" / "cat").mkdir(parents=True)
    (tmp_path / "Testing").mkdir()
    data = load_data(f"folder:{tmp_path}")
    assert sum(sizes(data)) == 12
    reason = "no image in it"
    assert data.full_reading.unread == {str(tmp_path / "test"): reason, str(tmp_path / "Testing"): reason}
    assert data.origins["test"] == "17% of train/"


@pytest.mark.parametrize("suffix", [".jfif", "", ".PNG", ".dat", ".jpe"])
def test_images_are_known_by_their_content_whatever_they_are_named(tmp_path, suffix):
    write_folder(tmp_path, ["cat", "dog"])
    for file in (tmp_path / "cat").iterdir():
        file.rename(file.with_suffix(suffix))
    data = load_data(f"folder:{tmp_path}")
    assert sum(sizes(data)) == 12
    assert not data.full_reading.unread


def test_images_of_formats_that_are_not_read_are_named(tmp_path):
    write_folder(tmp_path, ["cat", "dog"])
    (tmp_path / "cat" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    data = load_data(f"folder:{tmp_path}")
    reasons = {str(tmp_path / "cat" / "phone.HEIC"): "an image of a format that is not read"}
    assert data.full_reading.unread == reasons
    assert warnings(data) == ["1 image of a format that is not read: convert to PNG or JPEG"]


def test_raw_photos_are_not_read_as_their_thumbnails(tmp_path):
    write_folder(tmp_path, ["cat", "dog"])
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "x.NEF", "TIFF")
    data = load_data(f"folder:{tmp_path}")
    assert sum(sizes(data)) == 12
    assert str(tmp_path / "cat" / "x.NEF") in data.full_reading.unread


def test_what_is_no_file_is_not_opened(tmp_path):
    write_folder(tmp_path, ["cat", "dog"])
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    data = load_data(f"folder:{tmp_path}")
    assert data.full_reading.unread == {str(tmp_path / "cat" / "pipe.png"): "no ordinary file"}


def test_images_without_class_folders_are_refused(tmp_path):
    write_folder(tmp_path, ["photos"])
    with pytest.raises(NasError, match="6 images directly in it, outside the class folders"):
        load_data(f"folder:{tmp_path / 'photos'}")


def test_strays_beside_the_parts_are_named(tmp_path):
    write_parts(tmp_path, {"train": 6, "test": 2})
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "README.md").write_text("photos")
    reasons = {tmp_path / "README.md": "no image", tmp_path / "__MACOSX": "made by the archiver of macOS"}
    unread = load_data(f"folder:{tmp_path}").full_reading.unread
    assert unread == {str(path): reason for path, reason in reasons.items()}


def test_images_in_no_class_folder_are_named(tmp_path):
    write_folder(tmp_path, ["cat", "dog"])
    (tmp_path / "cover.png").write_bytes(png())
    data = load_data(f"folder:{tmp_path}")
    assert sum(sizes(data)) == 12
    assert data.full_reading.unread == {str(tmp_path / "cover.png"): "in no class folder"}


class TestLinks:
    def test_links_below_a_class_are_followed(self, tmp_path):
        write_folder(tmp_path / "pool", ["x", "y"])
        root = tmp_path / "set"
        (root / "cat").mkdir(parents=True)
        (root / "dog").symlink_to(tmp_path / "pool" / "y")
        (root / "cat" / "all").symlink_to(tmp_path / "pool" / "x")
        data = load_data(f"folder:{root}")
        assert data.classes == ("cat", "dog")
        assert sum(sizes(data)) == 12

    @pytest.mark.parametrize("parts", [False, True])
    def test_a_loop_is_not_followed(self, tmp_path, parts):
        root = tmp_path / "train" if parts else tmp_path
        write_folder(root, ["cat", "dog"])
        if parts:
            write_folder(tmp_path / "test", ["cat", "dog"], count=2, seed=1)
        expected = load_data(f"folder:{tmp_path}")
        (root / "cat" / "again").symlink_to(root / "cat")
        (root / "dog" / "top").symlink_to(tmp_path)
        (root / "emu").symlink_to(root)
        (root / "dog" / "deep").mkdir()
        (root / "dog" / "deep" / "er").symlink_to(root / "dog")
        data = load_data(f"folder:{tmp_path}")
        assert data.classes == ("cat", "dog")
        assert data.fingerprint == expected.fingerprint
        reasons = data.full_reading.unread
        for link in ("cat/again", "dog/top", "dog/deep/er"):
            assert reasons[str(root / link)] == "a link back to a folder above it"

    def test_folders_that_link_to_each_other_are_read_once(self, tmp_path):
        write_folder(tmp_path, ["dog"])
        names = [f"d{i:02}" for i in range(12)]
        write_folder(tmp_path / "cat", names, count=1)
        for one in names:
            for other in names:
                (tmp_path / "cat" / one / f"to_{other}").symlink_to(tmp_path / "cat" / other)
        assert sorted(sizes(load_data(f"folder:{tmp_path}"))) == sorted(sizes_of(18))

    def test_a_link_to_nothing_is_named(self, tmp_path):
        write_folder(tmp_path, ["cat", "dog"])
        (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
        data = load_data(f"folder:{tmp_path}")
        assert data.full_reading.unread == {str(tmp_path / "cat" / "gone.png"): "a link to nothing"}

    def test_links_that_move_from_a_class_to_another_change_the_labels(self, tmp_path):
        write_folder(tmp_path, ["pool"], count=24)
        root = tmp_path / "set"
        for i in range(24):
            name = "cat" if i < 12 else "dog"
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"{i:02}.png").symlink_to(tmp_path / "pool" / f"{i}.png")
        before = load_data(f"folder:{root}")
        for i in range(6, 12):
            shutil.move(root / "cat" / f"{i:02}.png", root / "dog" / f"{i:02}.png")
        after = load_data(f"folder:{root}")
        assert (
            sum(sum(labels == 0) for labels in (before.train_labels, before.val_labels, before.test()[1]))
            == 12
        )
        assert all_labels(after).count(0) == 6

    def test_links_whose_targets_are_swapped_change_the_images(self, tmp_path):
        write_folder(tmp_path, ["pool"], count=24)
        for file in (tmp_path / "pool").iterdir():
            os.utime(file, (1, 1))
            Image.new("L", (8, 8), int(file.stem)).save(file)
            os.utime(file, (1, 1))
        root = tmp_path / "set"
        for i in range(24):
            folder = root / ("cat" if i < 12 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i:02}.png").symlink_to(tmp_path / "pool" / f"{i}.png")
        load_data(f"folder:{root}")
        for i in range(24):
            link = root / ("cat" if i < 12 else "dog") / f"{i:02}.png"
            link.unlink()
            link.symlink_to(tmp_path / "pool" / f"{23 - i}.png")
        data = load_data(f"folder:{root}")
        for images, labels in ((data.train_images, data.train_labels), data.test()):
            assert all(
                (image.max() < 12) == (label == 1) for image, label in zip(images, labels, strict=True)
            )


class TestNotSure:
    @pytest.mark.parametrize("above", [("fold1", "fold2"), ("tarin", "tset"), ("2021", "2022", "2023")])
    def test_folders_of_equal_names_below_every_class_are_refused(self, tmp_path, above):
        for seed, name in enumerate(above):
            write_folder(tmp_path / name, ["cat", "dog"], seed=seed)
        with pytest.raises(NasError, match="folders of equal names, cat/, dog/") as caught:
            load_data(f"folder:{tmp_path}")
        assert "train/, val/ and test/" in str(caught.value)

    def test_parts_below_classes_are_refused(self, tmp_path):
        for seed, name in enumerate(("cat", "dog")):
            write_folder(tmp_path / name, ["train", "test"], seed=seed)
        with pytest.raises(NasError, match="folders of equal names, test/, train/") as caught:
            load_data(f"folder:{tmp_path}")
        assert f"{tmp_path}/train/cat" in str(caught.value)

    def test_parts_within_parts_are_refused(self, tmp_path):
        for part in ("train", "test"):
            for name in ("a", "b"):
                write_folder(tmp_path / part / name, ["cat", "dog"])
        with pytest.raises(NasError, match="folders of equal names, cat/, dog/"):
            load_data(f"folder:{tmp_path}")

    def test_a_single_folder_around_the_classes_is_named(self, tmp_path):
        write_folder(tmp_path / "images", ["cat", "dog"])
        with pytest.raises(NasError, match="a single folder, images/") as caught:
            load_data(f"folder:{tmp_path}")
        assert f"--data folder:{tmp_path / 'images'}" in str(caught.value)

    def test_folders_below_a_class_with_names_of_its_own_are_of_the_class(self, tmp_path):
        write_folder(tmp_path / "cat", ["siamese", "persian"])
        write_folder(tmp_path / "dog", ["beagle"])
        data = load_data(f"folder:{tmp_path}")
        assert data.classes == ("cat", "dog")
        assert sum(sizes(data)) == 18

    def test_a_part_of_another_name_beside_train_is_refused(self, tmp_path):
        write_parts(tmp_path, {"train": 6, "holdout": 2})
        with pytest.raises(NasError, match="holdout/ beside train/, with folders of the same classes"):
            load_data(f"folder:{tmp_path}")

    def test_classes_beside_a_train_of_several_kinds_are_refused(self, tmp_path):
        write_folder(tmp_path, ["bus", "car"])
        write_folder(tmp_path / "train", ["freight", "metro"])
        with pytest.raises(NasError, match="has bus/ beside train/") as caught:
            load_data(f"folder:{tmp_path}")
        assert "if train is a class like it, rename train/" in str(caught.value)

    def test_what_lies_beside_two_parts_is_named(self, tmp_path):
        write_parts(tmp_path, {"train": 6, "test": 2})
        write_folder(tmp_path, ["unlabelled"], seed=5)
        data = load_data(f"folder:{tmp_path}")
        assert sizes(data) == (8, 4, 4)
        assert data.full_reading.unread == {
            str(tmp_path / "unlabelled"): "beside the parts, and named after none"
        }

    def test_held_out_parts_without_one_to_train_on_are_refused(self, tmp_path):
        write_parts(tmp_path, {"test": 6, "val": 6})
        with pytest.raises(NasError, match=r"has (test|val)/, the name of a part, but no train/"):
            load_data(f"folder:{tmp_path}")

    def test_a_class_that_is_named_like_a_part_is_refused(self, tmp_path):
        write_folder(tmp_path, ["control", "test"])
        with pytest.raises(NasError, match="has test/, the name of a part") as caught:
            load_data(f"folder:{tmp_path}")
        assert "if test is a class like control, rename its folder" in str(caught.value)

    @pytest.mark.parametrize("name", ["train", "Train"])
    def test_a_train_among_other_vehicles_is_a_class(self, tmp_path, name):
        write_folder(tmp_path, ["bus", "car", name])
        assert sorted(map(str.lower, load_data(f"folder:{tmp_path}").classes)) == ["bus", "car", "train"]

    def test_a_training_part_without_classes_is_refused(self, tmp_path):
        write_folder(tmp_path, ["train", "test"])
        with pytest.raises(NasError, match="6 images directly in train/, outside the class folders"):
            load_data(f"folder:{tmp_path}")

    def test_images_and_masks_are_no_classes(self, tmp_path):
        write_folder(tmp_path, ["images", "masks"])
        with pytest.raises(NasError, match="images/ and masks/") as caught:
            load_data(f"folder:{tmp_path}")
        assert f"masks:{tmp_path}" in str(caught.value)

    @pytest.mark.parametrize("part", ["test", "val"])
    def test_images_without_labels_are_no_part(self, tmp_path, part):
        write_folder(tmp_path / "train", ["cat", "dog"])
        write_folder(tmp_path, [part], count=4, seed=3)
        data = load_data(f"folder:{tmp_path}")
        assert sum(sizes(data)) == 12
        assert "no labels: 4 images" in data.full_reading.unread[str(tmp_path / part)]

    @pytest.mark.parametrize("part", ["test", "val"])
    def test_a_class_that_the_training_part_lacks_is_refused(self, tmp_path, part):
        write_folder(tmp_path / "train", ["cat", "dog"])
        write_folder(tmp_path / part, ["cat", "dogs"], seed=1)
        with pytest.raises(NasError, match="class 'dogs' is not among") as caught:
            load_data(f"folder:{tmp_path}")
        assert "did you mean 'dog'" in str(caught.value)

    @pytest.mark.parametrize("part", ["test", "val"])
    def test_a_shape_that_the_training_part_has_not_is_refused(self, tmp_path, part):
        write_folder(tmp_path / "train", ["cat", "dog"])
        write_folder(tmp_path / part, ["cat", "dog"], size=(9, 9), seed=1)
        with pytest.raises(NasError, match="3x9x9 and 3x8x8"):
            load_data(f"folder:{tmp_path}")


class TestPathsAlone:
    def test_a_folder_a_table_and_an_archive_need_no_form(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_folder(tmp_path / "photos", ["cat", "dog"])
        (tmp_path / "shards").mkdir()
        pq.write_table(image_table([0, 1] * 10), tmp_path / "shards" / "a.parquet")
        np.savez(tmp_path / "Some.NPZ.npz", images=np.zeros((20, 4, 4)), labels=np.arange(20) % 2)
        names = {"photos": "photos", "./photos?size=5": "photos", "shards": "shards", "shards/a.parquet": "a"}
        for spec, name in (names | {"Some.NPZ.npz": "Some.NPZ"}).items():
            assert load_data(spec).name == name

    def test_a_home_folder_is_understood(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        write_folder(tmp_path / "x", ["cat", "dog"])
        assert load_data("folder:~/x").fingerprint == load_data("~/x").fingerprint

    def test_masks_need_no_form(self, tmp_path):
        write_folder(tmp_path, ["images", "masks"], mode="L")
        for file in (tmp_path / "masks").iterdir():
            Image.fromarray((np.indices((8, 8))[0] % 2).astype(np.uint8)).save(file)
        assert load_data(str(tmp_path)).task == "segmentation"

    def test_a_name_that_is_built_in_is_not_looked_for(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_folder(tmp_path / "digits", ["cat", "dog"])
        assert load_data("digits").num_classes == 10


class TestOptions:
    def test_a_size_of_height_and_width(self, tmp_path):
        write_folder(tmp_path, ["a", "b"])
        assert load_data(f"folder:{tmp_path}?size=6x10").input_shape == (3, 6, 10)

    @pytest.mark.parametrize("form", ["folder", "npz"])
    def test_fits(self, tmp_path, form):
        """A white third between black ones: cropped all is white, squashed a third, padded a ninth."""

        picture = np.zeros((8, 24), dtype=np.uint8)
        picture[:, 8:16] = 255
        if form == "folder":
            for name in "ab":
                (tmp_path / name).mkdir()
                for i in range(6):
                    Image.fromarray(picture).save(tmp_path / name / f"{i}.png")
            spec = f"folder:{tmp_path}"
        else:
            np.savez(tmp_path / "x.npz", images=np.stack([picture] * 12), labels=np.arange(12) % 2)
            spec = f"npz:{tmp_path / 'x.npz'}"
        means = {fit: load_data(f"{spec}?size=24&fit={fit}").mean[0] for fit in ("crop", "squash", "pad")}
        assert means["crop"] == pytest.approx(1, abs=0.03)
        assert means["squash"] == pytest.approx(1 / 3, abs=0.02)
        assert means["pad"] == pytest.approx(1 / 9, abs=0.02)

    def test_broken_images_are_all_named_at_once(self, tmp_path):
        write_parts(tmp_path, {"train": 10, "val": 4, "test": 4})
        for broken in ("train/cat/3.png", "train/dog/1.png", "val/cat/0.png", "test/dog/2.png"):
            (tmp_path / broken).write_bytes(png()[:60])
        with pytest.raises(NasError, match="4 images cannot be read") as caught:
            load_data(f"folder:{tmp_path}")
        for broken in ("train/cat/3.png", "train/dog/1.png", "val/cat/0.png", "test/dog/2.png"):
            assert str(tmp_path / broken) in str(caught.value)
        data = load_data(f"folder:{tmp_path}?skip_broken")
        assert sizes(data) == (18, 7, 7)
        assert len(data.full_reading.broken) == 4
        with pytest.raises(NasError, match="4 images cannot be read"):  # the cache remembers them
            load_data(f"folder:{tmp_path}")

    def test_classes_of_few_images_are_left_out(self, tmp_path):
        write_folder(tmp_path, ["cat", "dog"], count=20)
        write_folder(tmp_path, ["emu"], count=1, seed=4)
        with pytest.raises(NasError, match="no training image of class emu") as caught:
            load_data(f"folder:{tmp_path}")
        assert "?min_images=2" in str(caught.value)
        data = load_data(f"folder:{tmp_path}?min_images=2")
        assert data.classes == ("cat", "dog")
        assert sum(sizes(data)) == 40
        assert data.full_reading.unread == {"class emu": "1 images, fewer than min_images=2"}

    def test_a_class_that_is_left_out_is_left_out_of_every_part(self, tmp_path):
        for part, count in (("train", 8), ("val", 4), ("test", 4)):
            write_folder(tmp_path / part, ["ape", "cat", "dog"], count=count, seed=count)
        for i in range(2, 8):
            (tmp_path / "train" / "ape" / f"{i}.png").unlink()
        data = load_data(f"folder:{tmp_path}?min_images=3")
        assert data.classes == ("cat", "dog")
        assert sizes(data) == (16, 8, 8)
        assert set(data.test()[1]) == {0, 1}

    def test_shares_of_validation_and_test(self, tmp_path):
        write_folder(tmp_path, ["cat", "dog"], count=50)
        data = load_data(f"folder:{tmp_path}?validation=0.2&test=0.1")
        assert sizes(data) == (72, 18, 10)
        assert data.origins == {
            "train": tmp_path.name,
            "test": f"10% of {tmp_path.name}",
            "validation": f"18% of {tmp_path.name}",
        }
        assert sizes(load_data(f"folder:{tmp_path}?test=0&validation=0.25")) == (75, 25, 0)

    def test_a_share_of_what_is_there_is_refused(self, tmp_path):
        write_parts(tmp_path, {"train": 6, "val": 3})
        with pytest.raises(NasError, match="has a validation part of its own"):
            load_data(f"folder:{tmp_path}?validation=0.2")
        assert sizes(load_data(f"folder:{tmp_path}?test=0.25")) == (9, 6, 3)
