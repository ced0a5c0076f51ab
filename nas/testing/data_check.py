"""The checks of a data set."""

from __future__ import annotations

import pickle

import numpy as np

from nas.data import load_data
from nas.data.dataset import IGNORE, Dataset, Images, Labels
from nas.data.rows import blocks


def check_data(data: object, *, seed: int = 0) -> Dataset:
    """Check that images can be searched on, and that they are the same each time.

    - they load, and all parts have one shape and the classes of the training part;
    - labels are classes of the data set, and each class has a training image;
    - no image lies in two parts;
    - a second load gives the same images and split;
    - the data set can be sent to a worker.

    Args:
        data: What `nas.search` takes: a specification such as `python:module:function`, or images in Python.
        seed: Seed of the split.

    Returns:
        The data set.

    Raises:
        AssertionError: A check fails; the message says which.
        NasError: The data cannot be read; the message says why.

    Example:
        >>> from nas.testing import check_data
        >>> check_data("digits?limit=100").num_classes
        10
    """
    dataset = load_data(data, seed=seed)
    parts = {
        "training": (dataset.train_images, dataset.train_labels),
        "validation": (dataset.val_images, dataset.val_labels),
    }
    if dataset.has_test:
        parts["test"] = dataset.test()
    for name, (images, labels) in parts.items():
        _check_part(name, images, labels, dataset)
    trained = set(np.unique(np.asarray(dataset.train_labels)).tolist())
    missing = [c for i, c in enumerate(dataset.classes) if i not in trained]
    assert not missing, f"classes without a training image: {', '.join(missing)}"
    assert not dataset.duplicates.count, str(dataset.duplicates)
    again = load_data(data, seed=seed)
    assert again.fingerprint == dataset.fingerprint, "a second load gives other images or another split"
    sent = pickle.loads(pickle.dumps(dataset))
    assert sent.fingerprint == dataset.fingerprint, "a copy for a worker has other images"
    return dataset


def _check_part(name: str, images: Images, labels: Labels, dataset: Dataset) -> None:
    assert len(images) == len(labels) > 0, f"{name}: {len(images)} images, {len(labels)} labels"
    assert images.shape[1:] == dataset.input_shape, f"{name}: images of shape {images.shape[1:]}"
    for block in blocks(labels):
        known = (block >= 0) & (block < dataset.num_classes)
        if dataset.task == "segmentation":
            known |= block == IGNORE
        assert known.all(), f"{name}: labels that are no class"
