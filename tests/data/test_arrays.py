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
        ({"images": np.zeros((2, 4, 4)), "labels": [0.5, 1]}, "label 0.5 at index 0 is no class"),
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
