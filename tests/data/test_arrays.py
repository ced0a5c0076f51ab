import sys

import numpy as np
import pytest
from testing.images import random_part

from nas.data import load_data
from nas.data.source import Source
from nas.data.split import split
from nas.errors import NasError


@pytest.mark.parametrize("layout", ["nhw", "nhwc", "nchw", "float", "int"])
def test_layouts_and_types_give_the_same_images(tmp_path, layout):
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


def test_names_of_keras_and_string_labels(tmp_path):
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


def test_labels_need_not_begin_at_zero(tmp_path):
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
        ({"images": np.zeros((2, 4, 4)), "labels": [0.5, 1]}, "label 0.5 at index 0 is not a class"),
        ({"images": np.zeros((0, 4, 4)), "labels": np.zeros(0, int)}, "has no images"),
        ({"images": np.zeros((2, 4, 4)), "labels": [0, 3], "classes": ["a", "b"]}, "but 2 classes"),
        ({"images": np.zeros((2, 4, 4)), "labels": ["a", "c"], "classes": ["a", "b"]}, "'c' is not in"),
        ({"images": np.zeros((9, 4, 4)), "labels": [0] * 9}, "has 1 class"),
        ({"images": np.zeros((2, 4, 4)), "labels": [0, 1], "x_test": np.zeros((2, 4, 4))}, "not both"),
        ({"images": np.array([object()] * 2), "labels": [0, 1]}, "cannot be read"),
    ],
)
def test_bad_arrays_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(NasError, match=message):
        load_data(f"npz:{tmp_path / 'x.npz'}")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(NasError, match=r"not a readable \.npz archive"):
        load_data(f"npz:{tmp_path / 'x.npz'}")


def test_a_function_gives_a_pair(tmp_path, monkeypatch):
    code = "return np.arange(640).reshape(40, 4, 4) % 256, np.arange(40) % 2"
    (tmp_path / "pair_data.py").write_text(f"import numpy as np\ndef load():\n    {code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    data = load_data("python:pair_data:load")
    sys.modules.pop("pair_data")
    assert (data.input_shape, data.classes) == ((1, 4, 4), ("0", "1"))


def test_a_function_gives_arrays(tmp_path, monkeypatch):
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


def test_test_images_of_another_shape_are_refused():
    data = split(Source("x", random_part, lambda: random_part(9, shape=(1, 5, 5))), None, 0)
    with pytest.raises(NasError, match="1x5x5 and 1x4x4") as caught:
        data.test()
    assert "size=N" in str(caught.value)


def test_test_images_of_an_unknown_class_are_refused():
    data = split(Source("x", random_part, lambda: random_part(9, classes=4)), None, 0)
    with pytest.raises(NasError, match="class 'd' is not among"):
        data.test()


def test_grey_test_images_of_a_colour_set_are_repeated():
    data = split(Source("x", lambda: random_part(shape=(3, 4, 4)), lambda: random_part(9)), None, 0)
    np.testing.assert_array_equal(data.test()[0][:, 2], random_part(9).images[:, 0])


def write_parts(path, names, counts=(40, 20, 10)):
    arrays = {}
    for seed, (name, count) in enumerate(zip(names, counts, strict=False)):
        part = random_part(count, 2, seed=seed)
        images, labels = name.split()
        arrays |= {images: part.images, labels: part.labels}
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("x_train y_train", "x_val y_val"), (40, 20, 0)),
        (("X_train y_train", "X_valid y_valid"), (40, 20, 0)),
        (("train_x train_y", "val_x val_y"), (40, 20, 0)),
        (("train_images train_labels", "val_images val_labels", "test_images test_labels"), (40, 20, 10)),
        (("xtrain ytrain", "xdev ydev", "xtest ytest"), (40, 20, 10)),
        (("X_tr y_tr", "X_va y_va", "X_te y_te"), (40, 20, 10)),
        (("TrainImages TrainLabels", "TestImages TestLabels"), (24, 16, 20)),
        (("training_data training_target", "testing_data testing_target"), (24, 16, 20)),
        (("x_train y_train", "x_eval y_eval"), (24, 16, 20)),
        (("data target",), (20, 12, 0)),
        (("images labels",), (20, 12, 0)),
        (("X y", "X_test y_test"), (24, 16, 20)),
        (("image label",), (20, 12, 0)),
    ],
)
def test_arrays_are_known_by_their_names(tmp_path, names, expected):
    write_parts(tmp_path / "x.npz", names)
    data = load_data(f"npz:{tmp_path / 'x.npz'}")
    train, val = len(data.train_labels), len(data.val_labels)
    if len(names) == 1:
        assert (train, val, len(data.test()[1])) == (20, 12, 8)
    else:
        assert (train, val, len(data.test()[1]) if data.has_test else 0) == expected
    assert data.full_reading.unread == {}


def test_arrays_that_are_not_used_are_named(tmp_path):
    part = random_part()
    path = tmp_path / "x.npz"
    flat = part.images.reshape(len(part.images), -1)
    np.savez(path, images=part.images, data=flat, target=part.labels, ids=part.labels)
    data = load_data(f"npz:{path}")
    reason = "an array that is not used"
    assert data.full_reading.unread == {f"{path}: data": reason, f"{path}: ids": reason}


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_images_without_labels_and_labels_without_images_are_refused(tmp_path, part, kind):
    whole = random_part()
    arrays = {"images": whole.images, "labels": whole.labels}
    np.savez(tmp_path / "x.npz", **arrays, **{f"{part}_{kind}": arrays[kind]})
    with pytest.raises(NasError, match="but not both"):
        load_data(f"npz:{tmp_path / 'x.npz'}")


@pytest.mark.parametrize(
    ("convert", "classes"),
    [
        (lambda labels: labels.astype(np.float32), "012"),
        (lambda labels: labels.astype(np.uint8), "012"),
        (lambda labels: labels[:, None], "012"),
        (lambda labels: labels.astype(np.float64)[:, None], "012"),
        (lambda labels: np.eye(3)[labels], "012"),
        (lambda labels: np.eye(3, dtype=np.uint8)[labels], "012"),
        (lambda labels: np.eye(3, dtype=bool)[labels], "012"),
        (lambda labels: np.eye(4)[labels], "0123"),
        (lambda labels: np.array(["ape", "bee", "cat"])[labels], ("ape", "bee", "cat")),
        (lambda labels: np.array([b"ape", b"bee", b"cat"])[labels], ("ape", "bee", "cat")),
        (lambda labels: labels == 1, ("False", "True")),
    ],
)
def test_labels_of_all_types_give_classes(tmp_path, convert, classes):
    part = random_part()
    np.savez(tmp_path / "x.npz", images=part.images, labels=convert(part.labels))
    data = load_data(f"npz:{tmp_path / 'x.npz'}")
    assert data.classes == tuple(classes)
    expected = part._replace(labels=(part.labels == 1).astype(int)) if "True" in classes else part
    answers = {image.tobytes(): label for image, label in zip(*expected[:2], strict=True)}
    for images, labels in ((data.train_images, data.train_labels), (data.val_images, data.val_labels)):
        assert [answers[image.tobytes()] for image in images] == labels.tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(60) / 2, "is not a class"),
        (np.full(60, np.nan), "is not a class"),
        (np.full((60, 2), 0.5), "not one-hot"),
        (np.ones((60, 3)), "not one-hot"),
        (np.zeros((60, 3)), "not one-hot"),
        (np.zeros((60, 2, 2)), "labels of shape"),
        (np.zeros(60, dtype=complex), "integers or strings"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, labels, message):
    np.savez(tmp_path / "x.npz", images=random_part().images, labels=labels)
    with pytest.raises(NasError, match=message):
        load_data(f"npz:{tmp_path / 'x.npz'}")


@pytest.mark.parametrize(
    "shape", [(12, 3, 64, 3), (12, 1, 8, 1), (12, 3, 8, 1), (12, 1, 8, 3), (12, 3, 3, 3)]
)
def test_channels_that_may_be_first_or_last_are_refused(tmp_path, shape):
    np.savez(tmp_path / "x.npz", images=np.zeros(shape, np.uint8), labels=np.arange(12) % 2)
    with pytest.raises(NasError, match=r"channels of .* or .* channels of"):
        load_data(f"npz:{tmp_path / 'x.npz'}")


class TestSixteenBits:
    def test_uint16_is_scaled_where_it_is_used(self, tmp_path):
        part = random_part()
        wide = part.images.astype(np.uint16) * 257
        np.savez(tmp_path / "x.npz", images=wide, labels=part.labels, classes=list(part.classes))
        data = load_data(f"npz:{tmp_path / 'x.npz'}")
        assert data.fingerprint == split(Source("x", lambda: part), None, 0).fingerprint
        assert data.full_reading.changes["16 bits scaled to 8"] == 60

    def test_uint16_that_holds_bytes_is_taken_as_it_is(self, tmp_path):
        part = random_part()
        wide = part.images.astype(np.uint16)
        np.savez(tmp_path / "x.npz", images=wide, labels=part.labels, classes=list(part.classes))
        data = load_data(f"npz:{tmp_path / 'x.npz'}")
        assert data.fingerprint == split(Source("x", lambda: part), None, 0).fingerprint

    def test_the_scale_is_that_of_all_parts_together(self, tmp_path):
        part = random_part()
        dark = np.full((9, 4, 4), 250, dtype=np.uint16)
        wide = part.images.astype(np.uint16) * 257
        labels = {"y_train": part.labels, "y_test": np.arange(9) % 3}
        np.savez(tmp_path / "x.npz", x_train=wide, x_test=dark, **labels)
        assert (load_data(f"npz:{tmp_path / 'x.npz'}").test()[0] == 1).all()

    @pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
    def test_other_integers_above_255_are_refused(self, tmp_path, dtype):
        np.savez(tmp_path / "x.npz", images=np.full((8, 4, 4), 300, dtype), labels=np.arange(8) % 2)
        with pytest.raises(NasError, match="pixels of type"):
            load_data(f"npz:{tmp_path / 'x.npz'}")
