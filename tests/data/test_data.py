import gzip
import io
import os
import pickle
import struct
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from testing.paths import SHARED

from nas.data import Part, archives, folder, load_data
from nas.data.cache import cache_folder
from nas.data.images import FORMATS
from nas.data.source import Source
from nas.data.split import split, stratified_order, validation_size
from nas.errors import NasError, NotFoundError

CIFAR10 = SHARED / "data" / "cifar10"

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


def random_part(count=60, classes=3, shape=(1, 4, 4), seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return Part(images, np.arange(count) % classes, tuple("abcdefghij"[:classes]))


def write_folder(root, names, count=6, size=(8, 8), mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{i}.png")


def png(seed=0, size=8):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def image_table(labels, start=0):
    rows = [{"bytes": png(start + i), "path": f"{i}.png"} for i in range(len(labels))]
    return pa.table({"img": rows, "label": labels})


def test_digits_are_the_digits_of_scikit_learn():
    from sklearn.datasets import load_digits

    data = load_data("digits")
    images, labels = data.test()
    assert data.input_shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert len(data.train_labels) + len(data.val_labels) + len(labels) == 1797
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.dtype == np.int64
    found = {
        (image.tobytes(), int(label))
        for part, answers in ((data.train_images, data.train_labels), (data.val_images, data.val_labels))
        for image, label in zip(part, answers, strict=True)
    } | {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}
    digits = load_digits()
    expected = np.rint(digits.images * 255 / 16).astype(np.uint8)
    assert found == {(i.tobytes(), int(n)) for i, n in zip(expected, digits.target, strict=True)}


def test_a_split_follows_from_its_seed():
    one, same, other = load_data("digits", seed=1), load_data("digits", seed=1), load_data("digits", seed=2)
    assert one.fingerprint == same.fingerprint != other.fingerprint
    np.testing.assert_array_equal(one.train_images, same.train_images)
    np.testing.assert_array_equal(one.test()[0], same.test()[0])


def test_splits_hold_the_classes_in_proportion():
    data = load_data("digits?limit=1000")
    assert len(data.train_labels) + len(data.val_labels) == 1000
    for labels in (data.train_labels, data.val_labels, data.test()[1]):
        counts = np.bincount(labels)
        assert counts.max() - counts.min() <= 4


def test_every_stretch_of_a_stratified_order_holds_the_classes_in_proportion():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    order = stratified_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(160))
    for start in (0, 37, 80):
        counts = np.bincount(labels[order[start : start + 80]])
        assert abs(counts - [50, 25, 5]).max() <= 1


@pytest.mark.parametrize(("count", "expected"), [(100, 40), (1437, 574), (5000, 1000), (50000, 10000)])
def test_a_small_set_gives_a_larger_share_for_validation(count, expected):
    assert validation_size(count) == expected


def test_limit_leaves_the_test_set_alone():
    whole, limited = load_data("digits"), load_data("digits?limit=300")
    np.testing.assert_array_equal(whole.test()[0], limited.test()[0])


def test_mean_and_deviation_are_those_of_the_training_images():
    data = split(Source("x", lambda: random_part(shape=(3, 5, 5))), None, 0)
    scaled = data.train_images / 255
    np.testing.assert_allclose(data.mean, scaled.mean((0, 2, 3)))
    np.testing.assert_allclose(data.std, scaled.std((0, 2, 3)))


def test_the_test_set_is_read_once_and_only_when_asked_for():
    calls = []

    def load_test():
        calls.append(1)
        return random_part(10, seed=1)

    data = split(Source("x", random_part, load_test), None, 0)
    assert data.duplicates.count == 0
    assert not calls
    assert data.test()[0] is data.test()[0]
    assert len(calls) == 1


def test_identical_images_in_two_splits_are_found():
    part = random_part()
    data = split(Source("x", lambda: part, lambda: part.take(np.array([0, 1, 2]))), None, 0)
    assert data.duplicates.count == 0
    data.test()
    assert data.duplicates.count == 3
    for earlier, i, later, j in data.duplicates.examples:
        images = {"train": data.train_images, "validation": data.val_images, "test": data.test()[0]}
        np.testing.assert_array_equal(images[earlier][i], images[later][j])
    assert "3 images stand in two splits" in str(data.duplicates)


def test_a_data_set_travels_with_its_figures_but_without_a_loaded_test_set():
    data = load_data("digits")
    data.test()
    copy = pickle.loads(pickle.dumps(data))
    assert "_test" not in copy.__dict__
    assert (copy.mean, copy.fingerprint) == (data.mean, data.fingerprint)
    np.testing.assert_array_equal(copy.test()[0], data.test()[0])


def test_size_resizes_every_part():
    data = load_data("digits?size=12")
    assert data.input_shape == (1, 12, 12)
    assert data.test()[0].shape[1:] == (1, 12, 12)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("", "known: digits"),
        ("digits:here", "takes no path"),
        ("folder:", "write 'folder:PATH'"),
        ("npz", "write 'npz:PATH'"),
        ("digits?size=x", "size must be a positive whole number"),
        ("digits?limit=0", "limit must be a positive whole number"),
        ("digits?limit=-5", "limit must be a positive whole number"),
        ("digits?size=5000", "at most 1024"),
        ("digits?limt=5", "did you mean 'limit'"),
        ("digits?limit=5&limit=6", "given twice"),
        ("digits?label=x", "unknown option 'label'"),
        ("digits?limit=12", "no training image of class"),
        ("folder:/no/such/place", "no such folder"),
        ("parquet:/no/such/place", "no such file or folder"),
        ("npz:/no/such/place.npz", "no such file"),
        ("python:os", "names no function"),
        ("python:no_such_module_:f", "cannot be imported"),
        ("python:os:no_such", "has no function"),
        ("python:os:getcwd", "returned str"),
    ],
)
def test_a_bad_specification_is_named(spec, message):
    with pytest.raises(NasError, match=message) as caught:
        load_data(spec)
    assert caught.value.where
    assert isinstance(caught.value, NotFoundError) == ("no such f" in message)


class TestArrays:
    @pytest.mark.parametrize("layout", ["nhw", "nhwc", "nchw", "float", "int"])
    def test_layouts_and_types_give_the_same_images(self, tmp_path, layout):
        part = random_part()
        images = {
            "nhw": part.images[:, 0],
            "nhwc": part.images.transpose(0, 2, 3, 1),
            "nchw": part.images,
            "float": (part.images / 255).astype(np.float32),
            "int": part.images.astype(np.int64),
        }[layout]
        np.savez(tmp_path / "x.npz", images=images, labels=part.labels, classes=list(part.classes))
        data = load_data(f"npz:{tmp_path / 'x.npz'}")
        expected = split(Source("x", lambda: part), None, 0)
        assert data.fingerprint == expected.fingerprint

    def test_names_of_keras_and_string_labels(self, tmp_path):
        part, test = random_part(), random_part(9, seed=1)
        names = np.array(part.classes)
        path = tmp_path / "x.npz"
        np.savez(
            path,
            x_train=part.images,
            y_train=names[part.labels],
            x_test=test.images,
            y_test=names[test.labels][:, None],
        )
        data = load_data(f"npz:{path}")
        assert data.classes == part.classes
        np.testing.assert_array_equal(data.test()[1], test.labels)

    def test_labels_need_not_begin_at_zero(self, tmp_path):
        part = random_part()
        np.savez(tmp_path / "x.npz", images=part.images, labels=part.labels + 5)
        data = load_data(f"npz:{tmp_path / 'x.npz'}")
        assert data.classes == ("5", "6", "7")
        assert set(data.train_labels) == {0, 1, 2}

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"labels": [0, 1]}, "no array 'train_images'"),
            ({"images": np.zeros((4, 2, 2)), "labels": [0, 1]}, "4 images but labels of shape"),
            ({"images": np.zeros((2, 5, 5, 5)), "labels": [0, 1]}, "images of shape"),
            ({"images": np.full((2, 4, 4), 2.0), "labels": [0, 1]}, "pixels of type float64 from 2.0"),
            ({"images": np.full((2, 4, 4), np.nan), "labels": [0, 1]}, "pixels of type float64 from nan"),
            ({"images": np.zeros((2, 4, 4)), "labels": [0.5, 1]}, "labels must be integers or strings"),
            ({"images": np.zeros((0, 4, 4)), "labels": np.zeros(0, int)}, "has no images"),
            ({"images": np.zeros((2, 4, 4)), "labels": [0, 3], "classes": ["a", "b"]}, "but 2 classes"),
            ({"images": np.zeros((2, 4, 4)), "labels": ["a", "c"], "classes": ["a", "b"]}, "'c' is not in"),
            ({"images": np.zeros((9, 4, 4)), "labels": [0] * 9}, "has 1 class"),
            ({"images": np.zeros((2, 4, 4)), "labels": [0, 1], "x_test": np.zeros((2, 4, 4))}, "not both"),
            ({"images": np.array([object()] * 2), "labels": [0, 1]}, "cannot be read"),
        ],
    )
    def test_bad_arrays_are_named(self, tmp_path, arrays, message):
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(NasError, match=message):
            load_data(f"npz:{tmp_path / 'x.npz'}")

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"])
    def test_a_file_that_is_no_archive(self, tmp_path, content):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(NasError, match=r"not a readable \.npz archive"):
            load_data(f"npz:{tmp_path / 'x.npz'}")

    def test_a_function_gives_arrays(self, tmp_path, monkeypatch):
        (tmp_path / "my_data.py").write_text(
            "import numpy as np\n"
            "def load():\n"
            "    images = np.arange(640).reshape(40, 4, 4) % 256\n"
            "    return {'train_images': images, 'train_labels': np.arange(40) % 2}\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        data = load_data("python:my_data:load")
        sys.modules.pop("my_data")
        assert data.name == "my_data:load"
        assert data.input_shape == (1, 4, 4)

    def test_test_images_of_another_shape_are_refused(self):
        data = split(Source("x", random_part, lambda: random_part(9, shape=(1, 5, 5))), None, 0)
        with pytest.raises(NasError, match="1x5x5 and 1x4x4") as caught:
            data.test()
        assert "size=N" in str(caught.value)

    def test_test_images_of_an_unknown_class_are_refused(self):
        data = split(Source("x", random_part, lambda: random_part(9, classes=4)), None, 0)
        with pytest.raises(NasError, match="class 'd' is not among"):
            data.test()

    def test_grey_test_images_of_a_colour_set_are_repeated(self):
        data = split(Source("x", lambda: random_part(shape=(3, 4, 4)), lambda: random_part(9)), None, 0)
        np.testing.assert_array_equal(data.test()[0][:, 2], random_part(9).images[:, 0])


class TestFolder:
    def test_a_folder_per_class(self, tmp_path):
        write_folder(tmp_path / "pets", ["dog", "cat"])
        data = load_data(f"folder:{tmp_path / 'pets'}")
        assert data.name == "pets"
        assert data.classes == ("cat", "dog")
        assert data.input_shape == (3, 8, 8)
        stored = Image.open(tmp_path / "pets" / "cat" / "0.png")
        expected = np.asarray(stored).transpose(2, 0, 1).tobytes()
        images = np.concatenate([data.train_images, data.val_images, data.test()[0]])
        assert expected in {image.tobytes() for image in images}

    @pytest.mark.parametrize("held_out", ["test", "val"])
    def test_train_and_held_out_folders(self, tmp_path, held_out):
        write_folder(tmp_path / "train", ["a", "b"])
        write_folder(tmp_path / held_out, ["a", "b"], count=2, seed=1)
        data = load_data(f"folder:{tmp_path}")
        assert len(data.train_labels) + len(data.val_labels) == 12
        assert len(data.test()[1]) == 4

    @pytest.mark.parametrize("name", ["validation", "val"])
    def test_a_validation_folder_beside_a_test_set_is_what_it_says(self, tmp_path, name):
        for part, count in {"train": 6, name: 3, "test": 2}.items():
            write_folder(tmp_path / part, ["a", "b"], count=count, seed=count)
        data = load_data(f"folder:{tmp_path}")
        assert (len(data.train_labels), len(data.val_labels), len(data.test()[1])) == (12, 6, 4)

    @pytest.mark.parametrize(
        ("names", "counts"),
        [
            (("Train", "Test"), (12, 4)),
            (("TRAIN", "Val"), (12, 4)),
            (("Train", "VALID"), (12, 4)),
            (("train", "Validation", "Test"), (12, 4, 4)),
        ],
    )
    def test_parts_are_named_in_any_case(self, tmp_path, names, counts):
        for seed, name in enumerate(names):
            write_folder(tmp_path / name, ["cat", "dog"], count=2 if seed else 6, seed=seed)
        data = load_data(f"folder:{tmp_path}")
        train, val, test = len(data.train_labels), len(data.val_labels), len(data.test()[1])
        assert data.classes == ("cat", "dog")
        assert ((train, val, test) if len(counts) == 3 else (train + val, test)) == counts

    def test_a_class_may_be_named_train(self, tmp_path):
        write_folder(tmp_path, ["Bus", "Car", "Train"])
        assert load_data(f"folder:{tmp_path}").classes == ("Bus", "Car", "Train")

    def test_two_folders_of_one_part_are_refused(self, tmp_path):
        for seed, name in enumerate(("train", "Test", "test")):
            (tmp_path / name).mkdir(exist_ok=True)
            write_folder(tmp_path / name, ["a", "b"], seed=seed)
        if len(list(tmp_path.iterdir())) < 3:
            pytest.skip("the file system does not tell upper from lower case")
        with pytest.raises(NasError, match="two folders named test") as caught:
            load_data(f"folder:{tmp_path}")
        assert "Test/ and test/" in str(caught.value)

    def test_grey_images_have_one_channel_unless_mixed_with_colour(self, tmp_path):
        write_folder(tmp_path, ["a", "b"], mode="L")
        assert load_data(f"folder:{tmp_path}").input_shape == (1, 8, 8)
        write_folder(tmp_path, ["c"])
        assert load_data(f"folder:{tmp_path}").input_shape == (3, 8, 8)

    def test_sizes_that_differ(self, tmp_path):
        write_folder(tmp_path, ["a"])
        write_folder(tmp_path, ["b"], size=(10, 6))
        with pytest.raises(NasError, match="10x6 pixels, others are 8x8") as caught:
            load_data(f"folder:{tmp_path}")
        assert str(tmp_path / "b" / "0.png") in str(caught.value)
        assert load_data(f"folder:{tmp_path}?size=5").input_shape == (3, 5, 5)

    def test_a_damaged_image_is_named(self, tmp_path):
        write_folder(tmp_path, ["a", "b"])
        (tmp_path / "a" / "3.png").write_bytes(png()[:60])
        with pytest.raises(NasError, match=r"a/3\.png: not a readable image"):
            load_data(f"folder:{tmp_path}")

    def test_an_image_bomb_is_refused(self, tmp_path, monkeypatch):
        write_folder(tmp_path, ["a", "b"])
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
        with pytest.raises(NasError, match="not a readable image"):
            load_data(f"folder:{tmp_path}")

    @pytest.mark.parametrize("form", ["folder", "parquet", "masks"])
    def test_postscript_in_a_png_is_refused_and_starts_no_program(self, tmp_path, monkeypatch, form):
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
            write_folder(tmp_path / "set", ["images", "masks"], mode="L")
            target = tmp_path / "set"
            named = str(target / "masks" / "3.png")
            Path(named).write_bytes(EPS)
        with pytest.raises(NasError, match="not a readable image: none of the known formats") as caught:
            load_data(f"{form}:{target}")
        assert named in caught.value.where
        assert not canary.exists()

    @pytest.mark.parametrize("kind", FORMATS)
    def test_every_format_on_the_list_is_read(self, tmp_path, kind):
        write_folder(tmp_path, ["a", "b"])
        with Image.open(tmp_path / "a" / "3.png") as image:
            image.save(tmp_path / "a" / "3.png", kind)
        data = load_data(f"folder:{tmp_path}")
        assert data.input_shape == (3, 8, 8)

    @pytest.mark.parametrize("raised", [struct.error("unpack"), KeyError(5), RuntimeError(""), MemoryError()])
    def test_whatever_a_decoder_raises_names_the_file(self, tmp_path, monkeypatch, raised):
        """Errors of kinds that damaged bytes have led to in one version of Pillow or another."""

        def load(image):
            raise raised

        write_folder(tmp_path, ["a", "b"])
        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
        with pytest.raises(NasError, match=r"a/0\.png: not a readable image: \S"):
            load_data(f"folder:{tmp_path}")

    def test_an_empty_folder(self, tmp_path):
        (tmp_path / "a").mkdir()
        with pytest.raises(NasError, match="has no images") as caught:
            load_data(f"folder:{tmp_path}")
        assert "a folder per class" in str(caught.value)


class TestCache:
    @pytest.fixture
    def decoded(self, tmp_path, monkeypatch):
        """The files that are decoded from here on."""
        write_folder(tmp_path / "set", ["a", "b"])
        names = []
        original = folder.decode
        monkeypatch.setattr(folder, "decode", lambda file, *rest: names.append(file) or original(file, *rest))
        load_data(f"folder:{tmp_path / 'set'}")
        assert len(names) == 12
        names.clear()
        return names

    def test_a_source_is_decoded_once(self, tmp_path, decoded):
        data = load_data(f"folder:{tmp_path / 'set'}")
        assert not decoded
        assert data.classes == ("a", "b")

    def test_a_changed_file_is_decoded_again(self, tmp_path, decoded):
        os.utime(tmp_path / "set" / "a" / "0.png", (1, 1))
        load_data(f"folder:{tmp_path / 'set'}")
        assert len(decoded) == 12

    @pytest.mark.parametrize(
        "damage", [lambda b: b[:100], lambda b: b[:300] + b"\xff" + b[301:], lambda _: b""]
    )
    def test_a_damaged_cache_is_made_again(self, tmp_path, decoded, damage):
        expected = load_data(f"folder:{tmp_path / 'set'}").fingerprint
        for path in cache_folder().rglob("*.npz"):
            path.write_bytes(damage(path.read_bytes()))
        assert load_data(f"folder:{tmp_path / 'set'}").fingerprint == expected
        assert len(decoded) == 12

    def test_a_cache_that_cannot_be_written_costs_time_only(self, tmp_path, decoded, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file"))
        assert load_data(f"folder:{tmp_path / 'set'}").num_classes == 2


class TestParquet:
    def test_shards_of_train_and_test(self, tmp_path):
        pq.write_table(image_table([0, 1] * 10), tmp_path / "train-00000-of-00002.parquet")
        pq.write_table(image_table([0, 1] * 10, 20), tmp_path / "train-00001-of-00002.parquet")
        pq.write_table(image_table([0, 1] * 3, 40), tmp_path / "test-00000-of-00001.parquet")
        data = load_data(f"parquet:{tmp_path}")
        assert len(data.train_labels) + len(data.val_labels) == 40
        assert len(data.test()[1]) == 6
        assert data.duplicates.count == 0
        assert load_data(f"parquet:{tmp_path}?limit=20&size=4").train_images.shape == (12, 3, 4, 4)

    def test_shards_of_validation(self, tmp_path):
        """`limit` bounds the training images alone; without a test set, validation shards are the test."""
        for at, (part, count) in enumerate({"train": 20, "validation": 5, "test": 3}.items()):
            pq.write_table(image_table([0, 1] * count, 100 * at), tmp_path / f"{part}-00000-of-00001.parquet")
        data = load_data(f"parquet:{tmp_path}?limit=30")
        assert (len(data.train_labels), len(data.val_labels), len(data.test()[1])) == (30, 10, 6)
        both = (
            tmp_path / "validation_test-00000-of-00001.parquet"
        )  # a shard is of one part, and test comes first
        (tmp_path / "test-00000-of-00001.parquet").rename(both)
        data = load_data(f"parquet:{tmp_path}")
        assert (len(data.train_labels), len(data.val_labels), len(data.test()[1])) == (40, 10, 6)
        both.unlink()
        data = load_data(f"parquet:{tmp_path}")
        assert (len(data.train_labels) + len(data.val_labels), len(data.test()[1])) == (40, 10)

    def test_class_names_of_the_metadata(self, tmp_path):
        info = b'{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'
        table = image_table([0, 1] * 10).replace_schema_metadata({b"huggingface": info})
        pq.write_table(table, tmp_path / "x.parquet")
        assert load_data(f"parquet:{tmp_path / 'x.parquet'}").classes == ("cat", "dog")

    def test_the_label_column_can_be_named(self, tmp_path):
        table = image_table([0, 1] * 10).rename_columns(["img", "coarse"])
        table = table.append_column("fine", pa.array(["x", "y", "z", "x"] * 5))
        pq.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(NasError, match="which column is the label") as caught:
            load_data(f"parquet:{tmp_path / 'x.parquet'}")
        assert "coarse, fine" in str(caught.value)
        assert load_data(f"parquet:{tmp_path / 'x.parquet'}?label=fine").classes == ("x", "y", "z")
        with pytest.raises(NasError, match="no label column 'no'"):
            load_data(f"parquet:{tmp_path / 'x.parquet'}?label=no")

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (pa.table({"label": [0, 1]}), "has 0 image columns"),
            (pa.table({"img": [b"no image", b"x"], "label": [0, 1]}), "row 0: not a readable image"),
            (pa.table({"img": [{"bytes": None, "path": "a.png"}], "label": [0]}), "row 0|image columns"),
            (pa.table({"img": [png(1), png(2)], "label": [0, None]}), "row 1: has no label"),
            (pa.table({"img": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}), "has no rows"),
        ],
    )
    def test_bad_tables_are_named(self, tmp_path, table, message):
        pq.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(NasError, match=message):
            load_data(f"parquet:{tmp_path / 'x.parquet'}")

    def test_a_damaged_file(self, tmp_path):
        (tmp_path / "x.parquet").write_bytes(b"PAR1 no table")
        with pytest.raises(NasError, match="not a readable parquet file"):
            load_data(f"parquet:{tmp_path}")

    def test_a_folder_without_tables(self, tmp_path):
        with pytest.raises(NasError, match=r"has no \.parquet files"):
            load_data(f"parquet:{tmp_path}")

    @pytest.mark.slow
    @pytest.mark.skipif(not CIFAR10.is_dir(), reason="needs CIFAR-10 in ../shared/data")
    def test_cifar10(self):
        data = load_data(f"parquet:{CIFAR10 / 'test-00000-of-00001.parquet'}?limit=5000")
        assert data.input_shape == (3, 32, 32)
        assert data.num_classes == 10
        assert len(data.train_labels) == 4000
        np.testing.assert_allclose(data.mean, (0.494, 0.485, 0.450), atol=0.01)


class TestArchives:
    def place(self, monkeypatch, hashes, group, name, data):
        """An archive where a download would have left it."""
        place = cache_folder() / "archives" / group / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        monkeypatch.setitem(hashes, name, sha256(data).hexdigest())

    def tar(self, members):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    def records(self, count, header, seed):
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, 256, (count, header + 3072), dtype=np.uint8)
        rows[:, header - 1] = np.arange(count) % 10
        return rows

    def test_cifar10(self, monkeypatch):
        batches = {f"d/data_batch_{i}.bin": self.records(20, 1, i).tobytes() for i in range(1, 6)}
        test = self.records(10, 1, 9)
        names = "\n".join(f"class{i}" for i in range(10)) + "\n\n"
        members = {**batches, "d/test_batch.bin": test.tobytes(), "d/batches.meta.txt": names.encode()}
        self.place(monkeypatch, archives.CIFAR, "cifar", "cifar-10-binary.tar.gz", self.tar(members))
        data = load_data("cifar10")
        assert data.classes[9] == "class9"
        assert len(data.train_labels) == 60
        np.testing.assert_array_equal(data.test()[0], test[:, 1:].reshape(-1, 3, 32, 32))
        np.testing.assert_array_equal(data.test()[1], test[:, 0])

    def test_cifar100_takes_the_fine_labels(self, monkeypatch):
        train, test = self.records(100, 2, 0), self.records(20, 2, 1)
        names = "\n".join(f"fine{i}" for i in range(100)).encode()
        members = {"train.bin": train.tobytes(), "test.bin": test.tobytes(), "fine_label_names.txt": names}
        self.place(monkeypatch, archives.CIFAR, "cifar", "cifar-100-binary.tar.gz", self.tar(members))
        data = load_data("cifar100")
        assert data.num_classes == 100
        np.testing.assert_array_equal(data.test()[1], test[:, 1])

    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
    def test_mnist(self, monkeypatch, name):
        hashes = archives.MNIST if name == "mnist" else archives.FASHION
        rng = np.random.default_rng(0)
        for split_name, count in (("train", 100), ("t10k", 20)):
            pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            images = struct.pack(">4I", 2051, count, 28, 28) + pixels.tobytes()
            labels = struct.pack(">2I", 2049, count) + bytes(i % 10 for i in range(count))
            for what, content in (("images-idx3", images), ("labels-idx1", labels)):
                file = f"{split_name}-{what}-ubyte.gz"
                self.place(monkeypatch, hashes, name, file, gzip.compress(content))
        data = load_data(name)
        assert data.input_shape == (1, 28, 28)
        np.testing.assert_array_equal(data.test()[0][:, 0], pixels)
        np.testing.assert_array_equal(data.test()[1], np.arange(20) % 10)

    def test_without_a_network_the_way_out_is_named(self, monkeypatch):
        monkeypatch.setattr(archives, "MNIST_URL", "http://127.0.0.1:9/")
        with pytest.raises(NasError, match="cannot be downloaded") as caught:
            load_data("mnist")
        assert "by hand to" in str(caught.value)

    def test_the_hashes_are_sha256(self):
        for hashes in (archives.CIFAR, archives.MNIST, archives.FASHION):
            assert all(len(bytes.fromhex(value)) == 32 for value in hashes.values())
