"""The inputs of ../shared/cases/data, each of which was read wrong or refused once, with the right value.

The table in docs/engineering/reading_images.md shows them all.
"""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from testing.paths import ROOT, SHARED

from nas.data import load_data
from nas.data.images import decode
from nas.errors import NasError

CASES = SHARED / "cases" / "data"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs the inputs in ../shared/cases/data")

READ = {  # classes, then images of training, validation and test, by class
    "A_TrainTest": ("cat dog", [12, 12], [8, 8], [10, 10]),
    "A_eadir": ("cat dog", [10, 10], [6, 6], [4, 4]),
    "A_ipynb_class": ("cat dog", [10, 10], [6, 6], [4, 4]),
    "A_jfif": ("cat dog", [10, 10], [6, 6], [4, 4]),
    "A_kaggletest": ("cat dog", [10, 10], [6, 6], [4, 4]),
    "A_macosx": ("cat dog", [10, 10], [6, 6], [4, 4]),
    "A_straydir": ("cat dog", [10, 10], [6, 6], [4, 4]),
    "A_trainvalid": ("cat dog", [20, 20], [10, 10], [7, 7]),
    "B_16bit": ("bright dark", [10, 10], [6, 6], [4, 4]),
    "B_float": ("bright dark", [10, 10], [6, 6], [4, 4]),
    "B_three_rare": ("cat dog rare", [49, 48, 1], [32, 32, 1], [19, 20, 1]),
    "B_tiny2": ("cat dog", [2, 1], [0, 1], None),
    "D_bool.parquet": ("False True", [10, 10], [6, 6], [4, 4]),
    "D_dict_string.parquet": ("cat dog", [10, 10], [6, 6], [4, 4]),
    "D_hid": ("kitty doggo", [10, 10], [6, 6], [4, 4]),
    "D_large_string.parquet": ("cat dog", [10, 10], [6, 6], [4, 4]),
    "D_mixorder": ("kitty doggo", [20, 19], [12, 13], [8, 8]),
    "D_splits": ("0 1", [20, 20], [20, 20], [20, 20]),
    "E_float_lab.npz": ("0 1", [10, 10], [6, 6], [4, 4]),
    "E_onehot.npz": ("0 1", [10, 10], [6, 6], [4, 4]),
    "E_trainx.npz": ("0 1", [10, 10], [6, 6], [4, 4]),
    "E_u16.npz": ("0 1", [10, 10], [6, 6], [4, 4]),
    "E_xval.npz": ("0 1", [20, 20], [10, 10], None),
    "G_exif": ("a b", [5, 5], [3, 3], [2, 2]),
}
REFUSED = {
    "A_testextra": "class 'emu' is not among those of the training part",
    "D_mixtype": "labels of different types",
    "E_row3.npz": r"3 channels of 64x3 pixels or 3 channels of 3x64 pixels",
}
UNREAD = {
    "A_eadir": {"cat/@eaDir": "thumbnails of a Synology disk"},
    "A_ipynb_class": {"cat/.ipynb_checkpoints": "hidden"},
    "A_kaggletest": {"test": "no labels: 20 images directly in it, outside the class folders"},
    "A_macosx": {"__MACOSX": "made by the archiver of macOS"},
    "A_straydir": {"annotations": "annotations, no images of a class"},
    "D_hid": {"test-00000-of-00001.parquet": "no labels: all are missing or hidden (-1)"},
}
MODES = {  # shape, least, greatest and mean value
    "LA_black_on_transparent.png": ((32, 32), 0, 255, 191.25),
    "P_black_on_transparent.png": ((32, 32, 3), 0, 255, 191.25),
    "P_bytes_transp.png": ((32, 32, 3), 0, 255, 191.25),
    "P_grey.png": ((32, 32, 3), 6, 243, 122.9),
    "anim.gif": ((16, 16, 3), 0, 249, 125.0),
    "bit1.png": ((32, 32), 0, 255, 126.3),
    "cmyk.jpg": ((32, 32, 3), 0, 254, 125.6),
    "exif6.jpg": ((32, 32, 3), 5, 250, 127.5),
    "f32_01.tiff": ((32, 32), 0, 255, 127.5),
    "g12.png": ((32, 32), 0, 16, 7.97),
    "g16.png": ((32, 32), 0, 255, 127.5),
    "g16.tiff": ((32, 32), 0, 255, 127.5),
    "g16be.tiff": ((32, 32), 0, 255, 127.5),
    "i32.tiff": ((32, 32), 0, 255, 127.5),
    "icon_black_on_transparent.png": ((32, 32, 3), 0, 255, 191.25),
    "lab.tiff": ((32, 32, 3), 1, 250, 125.6),
    "multi.tiff": ((16, 16, 3), 0, 249, 125.0),
    "one.png": ((1, 1, 3), 0, 0, 0),
    "ycbcr.jpg": ((32, 32, 3), 0, 255, 125.6),
}
UNREADABLE = {"big.png": "95000000 pixels", "f32_big.tiff": "floats from 0 to 6553.5; only 0 to 1 are read"}


def counts(labels, data):
    return np.bincount(labels, minlength=data.num_classes).tolist()


@pytest.mark.parametrize("name", READ)
def test_it_is_read_as_its_owner_means_it(name):
    data = load_data(str(CASES / name))
    classes, train, val, test = READ[name]
    assert data.classes == tuple(classes.split())
    assert [counts(data.train_labels, data), counts(data.val_labels, data)] == [train, val]
    assert (counts(data.test()[1], data) if data.has_test else None) == test
    unread = {str(CASES / name / path): reason for path, reason in UNREAD.get(name, {}).items()}
    assert data.full_reading.unread == unread


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_before_anything_is_trained(name):
    with pytest.raises(NasError, match=REFUSED[name]):
        load_data(str(CASES / name))


def test_no_input_is_left_out():
    assert {path.name for path in CASES.iterdir()} == {*READ, *REFUSED, "B_modes"}
    assert {path.name for path in (CASES / "B_modes").iterdir()} == {*MODES, *UNREADABLE}
    table = (ROOT / "docs" / "engineering" / "reading_images.md").read_text(encoding="utf-8")
    for name in (*READ, *REFUSED, *MODES, *UNREADABLE):
        assert f"`{name}`" in table, name


@pytest.mark.parametrize("name", MODES)
def test_pixels_are_as_they_are_meant(name):
    picture = decode(CASES / "B_modes" / name, None, name)
    shape, least, greatest, mean = MODES[name]
    pixels = picture.pixels
    assert (pixels.shape, pixels.min(), pixels.max()) == (shape, least, greatest)
    assert pixels.mean() == pytest.approx(mean, abs=0.1)


@pytest.mark.parametrize("name", UNREADABLE)
def test_pixels_that_nobody_can_be_sure_of_are_refused(name):
    with pytest.raises(NasError, match=UNREADABLE[name]):
        decode(CASES / "B_modes" / name, None, name)


def test_bright_and_dark_images_of_more_than_8_bits_differ():
    for name, bright, dark in (("B_16bit", 12.3, 4.5), ("B_float", 165.5, 63.7)):
        data = load_data(str(CASES / name))
        means = [data.train_images[data.train_labels == label].mean() for label in (0, 1)]
        assert means == pytest.approx([bright, dark], abs=1.5)


def test_images_that_a_camera_turned_are_upright():
    data = load_data(str(CASES / "G_exif"))
    assert data.input_shape == (3, 16, 24)
    assert data.full_reading.changes == {"turned as its EXIF orientation says": 10}


def test_labels_of_shards_go_by_their_names():
    """Shard 1 lists the names in the other order, and its labels are 1, 0, 1, …: all rows alternate."""
    names = {}
    for file in sorted((CASES / "D_mixorder").iterdir()):
        for i, cell in enumerate(pq.read_table(file).column("image").to_pylist()):
            pixels = decode(cell["bytes"], None, "").pixels.transpose(2, 0, 1)
            names[pixels.tobytes()] = ("kitty", "doggo")[i % 2]
    data = load_data(str(CASES / "D_mixorder"))
    for images, labels in ((data.train_images, data.train_labels), data.test()):
        assert [names[image.tobytes()] for image in images] == [data.classes[label] for label in labels]


@pytest.mark.parametrize("empty", ["__pycache__", "later"])
def test_empty_folders_are_no_classes(tmp_path, empty):
    root = shutil.copytree(CASES / "A_straydir", tmp_path / "set", copy_function=shutil.copyfile)
    root.chmod(0o755)
    (root / empty).mkdir()
    assert load_data(str(root)).classes == ("cat", "dog")
