"""Images that are given in Python."""

import numpy as np
import pytest
import torch
from PIL import Image
from testing.images import random_part

import nas
from nas.data import load_data, load_recorded
from nas.data.source import Source
from nas.data.split import split
from nas.errors import NasError

PART = random_part()._replace(classes=("0", "1", "2"))


def expected():
    return split(Source("x", lambda: PART), None, 0).fingerprint


class Rows(torch.utils.data.Dataset):
    """A data set of PyTorch, whose images `convert` makes of arrays of (channels, height, width)."""

    def __init__(self, part=PART, convert=torch.tensor):
        self.part, self.convert = part, convert

    def __len__(self):
        return len(self.part.labels)

    def __getitem__(self, i):
        return self.convert(self.part.images[i]), int(self.part.labels[i])


@pytest.mark.parametrize(
    "data",
    [
        (PART.images, PART.labels),
        [PART.images, PART.labels.tolist()],
        (PART.images[:, 0], PART.labels[:, None]),
        (torch.tensor(PART.images), torch.tensor(PART.labels)),
        (torch.tensor(PART.images) / 255, torch.tensor(PART.labels).float()),
        (list(PART.images), list(PART.labels)),
        ([Image.fromarray(image[0]) for image in PART.images], PART.labels),
        {"train": (PART.images, PART.labels)},
        {"images": PART.images, "labels": PART.labels},
        {"X_train": PART.images, "y_train": PART.labels},
        Rows(),
        Rows(convert=lambda image: torch.tensor(image) / 255),
        Rows(convert=lambda image: Image.fromarray(image[0])),
        torch.utils.data.TensorDataset(torch.tensor(PART.images), torch.tensor(PART.labels)),
    ],
    ids=lambda data: type(data).__name__,
)
def test_images_of_all_kinds_are_the_same(data):
    assert load_data(data).fingerprint == expected()


def test_a_dict_of_parts():
    val, test = random_part(9, seed=1), random_part(6, seed=2)
    parts = {"Train": PART[:2], "val": Rows(val._replace(classes=PART.classes)), "test": test[:2]}
    data = load_data(parts)
    assert (len(data.train_labels), len(data.val_labels), len(data.test()[1])) == (60, 9, 6)
    assert load_data({"train": PART[:2], "valid": val[:2]}).has_test is False


@pytest.mark.parametrize("kind", ["columns", "rows"])
def test_no_part_of_sixteen_bits_is_scaled_alone(kind):
    """Validation alone has a value above 255, so all parts are of 16 bits."""
    images = PART.images.astype(np.uint16)
    above = images[:9].copy()
    above[0, 0, 0, 0] = 300
    parts = {
        "train": (images, PART.labels),
        "val": (above, PART.labels[:9]),
        "test": (images[:6], PART.labels[:6]),
    }
    if kind == "rows":
        parts = {name: list(zip(*part, strict=True)) for name, part in parts.items()}
    data = load_data(parts)
    assert max(data.train_images.max(), data.val_images.max(), data.test()[0].max()) <= 1


def test_a_part_that_holds_no_rows_is_refused():
    with pytest.raises(NasError, match=r"the items of list are no \(image, label\)"):
        load_data({"train": [1, 2, 3]})


def test_two_images_with_two_labels_are_no_two_rows():
    images = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(NasError, match="no image with a label left for validation"):
        load_data((images, [0, 1]))


def test_images_and_labels_of_different_numbers_are_refused():
    with pytest.raises(NasError, match=r"60 images but labels of shape \(59,\)"):
        load_data((PART.images, PART.labels[1:]))


def test_two_rows_are_rows():
    rows = [(PART.images[0], 0), (PART.images[1], 1)]
    with pytest.raises(NasError, match="with 2 training images"):
        load_data(rows)


def test_class_names_of_torchvision():
    rows = Rows()
    rows.classes = ["ape", "bee", "cat"]
    assert load_data(rows).classes == ("ape", "bee", "cat")
    assert load_data(torch.utils.data.Subset(rows, range(40))).classes == ("ape", "bee", "cat")


@pytest.mark.parametrize(
    "data",
    [
        5,
        b"digits",
        np.zeros((9, 4, 4)),
        [1, 2, 3],
        {"train": 5},
        {"val": PART[:2]},
        Rows().part.labels,
        lambda: 0,
    ],
    ids=lambda data: type(data).__name__,
)
def test_an_error_says_what_is_accepted(data):
    with pytest.raises(NasError) as caught:
        load_data(data)
    assert "a torch Dataset of (image, label); or a Hugging Face Dataset" in str(caught.value)


def test_images_of_different_shapes_are_refused():
    images = [np.zeros((4, 4), np.uint8)] * 9 + [np.zeros((5, 5), np.uint8)]
    with pytest.raises(NasError, match="cannot be made arrays"):
        load_data((images, [0, 1] * 5))


def test_hugging_face_data_sets():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ape", "bee", "cat"])}
    )
    rows = {"image": [Image.fromarray(image[0]) for image in PART.images], "label": PART.labels.tolist()}
    table = datasets.Dataset.from_dict(rows, features=features)
    data = load_data(table)
    assert data.classes == ("ape", "bee", "cat")
    np.testing.assert_array_equal(data.train_images, split(Source("x", lambda: PART), None, 0).train_images)
    parts = load_data(datasets.DatasetDict({"train": table, "validation": table.select(range(9))}))
    assert (len(parts.train_labels), len(parts.val_labels), parts.has_test) == (60, 9, False)


@pytest.mark.slow
def test_a_search_takes_them_and_resumes_with_the_same_images_only(tmp_path):
    part = random_part(80, 2, (1, 8, 8))
    settings = {"trials": 1, "epochs": 1, "workers": 0, "results_dir": tmp_path, "name": "own"}
    nas.search("residual_vs_fractal", data=(part.images, part.labels), **settings)
    run = nas.open_run(tmp_path / "own")
    spec = run.config["data"] if isinstance(run.config, dict) else run.config.data
    assert spec == "memory:tuple"
    with pytest.raises(NasError, match="given in Python"):
        load_recorded(spec)
    with pytest.raises(NasError, match="given in Python"):
        nas.search(resume=True, **settings | {"trials": 2})
    other = random_part(80, 2, (1, 8, 8), seed=1)
    with pytest.raises(NasError, match="cannot resume"):
        nas.search(resume=True, data=(other.images, other.labels), **settings | {"trials": 2})
    again = nas.search(resume=True, data=(part.images, part.labels), **settings | {"trials": 2})
    assert len(again.study.trials) == 2
