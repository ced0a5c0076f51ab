import pickle

import numpy as np
import pytest
from testing.images import random_part

from nas.data import load_data
from nas.data.source import Source
from nas.data.split import split, stratified_order, validation_size
from nas.errors import NasError, NotFoundError


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
    assert "3 images occur in two splits" in str(data.duplicates)


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
        ("digits?size=32x", "size must be a positive whole number"),
        ("digits?size=8x8x3", "size must be N or HEIGHTxWIDTH"),
        ("digits?size=8&fit=stretch", "unknown fit 'stretch'"),
        ("digits?fit=pad", "fit says how images are brought to a size"),
        ("digits?validation=2", "validation must be a share"),
        ("digits?validation=0", "validation must be a share"),
        ("digits?test=-0.1", "test must be a share"),
        ("digits?skip_broken", "unknown option 'skip_broken'"),
        ("shapes?min_images=3", "these have masks"),
        ("digits?min_images=999", "min_images=999 leaves 0 classes"),
        ("no/such/place", "no such file or folder"),
        ("place.npz", "no such file or folder"),
        ("~/no_such_place", "no such file or folder"),
        ("memory:tuple", "given in Python"),
        ("folder:/no/such/place", "no such folder"),
        ("parquet:/no/such/place", "no such file or folder"),
        ("npz:/no/such/place.npz", "no such file"),
        ("python:os", "names no function"),
        ("python:no_such_module_:f", "cannot be imported"),
        ("python:os:no_such", "has no function"),
        ("python:os:getcwd", "str is not a data set"),
    ],
)
def test_a_bad_specification_is_named(spec, message):
    with pytest.raises(NasError, match=message) as caught:
        load_data(spec)
    assert caught.value.where
    assert isinstance(caught.value, NotFoundError) == ("no such f" in message)
