import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from testing.images import image_table, png
from testing.paths import SHARED

from nas.data import load_data
from nas.data.images import decode
from nas.errors import NasError

CIFAR10 = SHARED / "data" / "cifar10"


def test_shards_of_train_and_test(tmp_path):
    pq.write_table(image_table([0, 1] * 10), tmp_path / "train-00000-of-00002.parquet")
    pq.write_table(image_table([0, 1] * 10, 20), tmp_path / "train-00001-of-00002.parquet")
    pq.write_table(image_table([0, 1] * 3, 40), tmp_path / "test-00000-of-00001.parquet")
    data = load_data(f"parquet:{tmp_path}")
    assert len(data.train_labels) + len(data.val_labels) == 40
    assert len(data.test()[1]) == 6
    assert data.duplicates.count == 0
    assert load_data(f"parquet:{tmp_path}?limit=20&size=4").train_images.shape == (12, 3, 4, 4)


def test_shards_of_validation(tmp_path):
    """`limit` bounds the training images alone where there are validation shards."""
    for at, (part, count) in enumerate({"train": 20, "validation": 5, "test": 3}.items()):
        pq.write_table(image_table([0, 1] * count, 100 * at), tmp_path / f"{part}-00000-of-00001.parquet")
    data = load_data(f"parquet:{tmp_path}?limit=30")
    assert (len(data.train_labels), len(data.val_labels), len(data.test()[1])) == (30, 10, 6)


def test_validation_shards_without_test_shards_are_no_test_set(tmp_path):
    pq.write_table(image_table([0, 1] * 20), tmp_path / "train-0.parquet")
    pq.write_table(image_table([0, 1] * 5, 100), tmp_path / "validation-0.parquet")
    data = load_data(f"parquet:{tmp_path}")
    assert (len(data.train_labels), len(data.val_labels), data.has_test) == (40, 10, False)


def test_a_shard_that_names_two_parts_is_refused(tmp_path):
    pq.write_table(image_table([0, 1] * 20), tmp_path / "train-0.parquet")
    pq.write_table(image_table([0, 1] * 5, 100), tmp_path / "validation_test-0.parquet")
    with pytest.raises(NasError, match="names two parts, validation and test"):
        load_data(f"parquet:{tmp_path}")


def test_class_names_of_the_metadata(tmp_path):
    info = b'{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'
    table = image_table([0, 1] * 10).replace_schema_metadata({b"huggingface": info})
    pq.write_table(table, tmp_path / "x.parquet")
    assert load_data(f"parquet:{tmp_path / 'x.parquet'}").classes == ("cat", "dog")


def test_the_label_column_can_be_named(tmp_path):
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
def test_bad_tables_are_named(tmp_path, table, message):
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(NasError, match=message):
        load_data(f"parquet:{tmp_path / 'x.parquet'}")


def test_a_damaged_file(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(NasError, match="not a readable parquet file"):
        load_data(f"parquet:{tmp_path}")


def test_a_folder_without_tables(tmp_path):
    with pytest.raises(NasError, match=r"has no \.parquet files"):
        load_data(f"parquet:{tmp_path}")


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR10.is_dir(), reason="needs CIFAR-10 in ../shared/data")
def test_cifar10():
    data = load_data(f"parquet:{CIFAR10 / 'test-00000-of-00001.parquet'}?limit=5000")
    assert data.input_shape == (3, 32, 32)
    assert data.num_classes == 10
    assert len(data.train_labels) == 4000
    np.testing.assert_allclose(data.mean, (0.494, 0.485, 0.450), atol=0.01)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array(["cat", "dog"] * 10), ("cat", "dog")),
        (pa.array(["cat", "dog"] * 10, pa.large_string()), ("cat", "dog")),
        (pa.array(["cat", "dog"] * 10, pa.string_view()), ("cat", "dog")),
        (pa.array(["cat", "dog"] * 10).dictionary_encode(), ("cat", "dog")),
        (pa.array(["dog", "cat"] * 10, pa.large_string()).dictionary_encode(), ("cat", "dog")),
        (pa.array([7, 3] * 10).dictionary_encode(), ("3", "7")),
        (pa.array([0, 1] * 10, pa.int8()), ("0", "1")),
        (pa.array([0, 1] * 10, pa.uint64()), ("0", "1")),
        (pa.array([True, False] * 10), ("False", "True")),
        (pa.array([0.0, 1.0] * 10, pa.float32()), ("0", "1")),
        (pa.array([0.0, 1.0] * 10, pa.float64()), ("0", "1")),
    ],
)
@pytest.mark.parametrize("column", ["label", "kind"])
def test_labels_of_all_types_give_classes(tmp_path, labels, classes, column):
    table = image_table([0, 1] * 10).drop_columns("label").append_column(column, labels)
    pq.write_table(table, tmp_path / "x.parquet")
    data = load_data(f"parquet:{tmp_path / 'x.parquet'}")
    assert data.classes == classes
    assert np.bincount(data.train_labels).tolist() == [5, 5]
    known = dict(zip(map(str, labels.to_pylist()[:2]), (0, 1), strict=True))
    pixels = [decode(png(i), None, "").pixels.transpose(2, 0, 1).tobytes() for i in range(20)]
    for image, label in zip(data.train_images, data.train_labels, strict=True):
        name = data.classes[label]
        at = known[name] if name in known else known[f"{name}.0"]
        assert pixels.index(image.tobytes()) % 2 == at


def test_pandas_categories(tmp_path):
    frame = image_table([0, 1] * 10).drop_columns("label").to_pandas()
    frame["label"] = pd.Categorical(["dog", "cat"] * 10, categories=["dog", "emu", "cat"])
    frame.to_parquet(tmp_path / "x.parquet")
    assert load_data(f"parquet:{tmp_path / 'x.parquet'}").classes == ("cat", "dog")


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_floats_that_are_no_classes_are_refused(tmp_path, value):
    pq.write_table(image_table([0.0, 1.0] * 10 + [value]), tmp_path / "x.parquet")
    with pytest.raises(NasError, match="is not a class"):
        load_data(f"parquet:{tmp_path / 'x.parquet'}")


def test_an_image_column_can_be_named(tmp_path):
    table = image_table([0, 1] * 10)
    table = table.append_column("thumbnail", [[png(i, 4) for i in range(20)]])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(NasError, match="has 2 image columns") as caught:
        load_data(f"parquet:{tmp_path / 'x.parquet'}")
    assert "?image=NAME; image columns: img, thumbnail" in str(caught.value)
    assert load_data(f"parquet:{tmp_path / 'x.parquet'}?image=img").input_shape == (3, 8, 8)
    assert load_data(f"parquet:{tmp_path / 'x.parquet'}?image=thumbnail").input_shape == (3, 4, 4)
    with pytest.raises(NasError, match="no image column 'label'"):
        load_data(f"parquet:{tmp_path / 'x.parquet'}?image=label")


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_images_of_all_binary_types(tmp_path, binary):
    table = pa.table({"img": pa.array([png(i) for i in range(20)], binary), "label": [0, 1] * 10})
    pq.write_table(table, tmp_path / "x.parquet")
    assert load_data(f"parquet:{tmp_path / 'x.parquet'}").input_shape == (3, 8, 8)


def named(labels, names, start=0):
    """A table whose metadata give its label numbers names."""
    feature = json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})
    return image_table(labels, start).replace_schema_metadata({b"huggingface": feature.encode()})


def test_shards_whose_class_names_differ_are_mapped_by_name(tmp_path):
    pq.write_table(named([0, 1] * 20, ["cat", "dog"]), tmp_path / "train-0.parquet")
    pq.write_table(named([1, 0] * 20, ["dog", "cat"], 40), tmp_path / "train-1.parquet")
    pq.write_table(named([2, 2] * 20, ["x", "y", "emu"], 80), tmp_path / "train-2.parquet")
    pq.write_table(named([1, 0] * 3, ["dog", "cat"], 200), tmp_path / "test-0.parquet")
    data = load_data(f"parquet:{tmp_path}")
    assert data.classes == ("cat", "dog", "x", "y", "emu")
    pixels = [decode(png(i), None, "").pixels.transpose(2, 0, 1).tobytes() for i in range(206)]
    for images, labels in ((data.train_images, data.train_labels), data.test()):
        for image, label in zip(images, labels, strict=True):
            at = pixels.index(image.tobytes())
            assert data.classes[label] == ("emu" if 80 <= at < 120 else ("cat", "dog")[at % 2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (image_table([0, 1] * 10), image_table(["cat", "dog"] * 10)),
        (image_table([0, 1] * 10), image_table([True, False] * 10)),
        (image_table([0, 1] * 10), named([0, 1] * 10, ["cat", "dog"])),
        (named([0, 1] * 10, ["cat", "dog"]), image_table(["cat", "dog"] * 10)),
    ],
)
def test_a_mix_of_label_types_is_refused(tmp_path, one, other):
    pq.write_table(one, tmp_path / "train-0.parquet")
    pq.write_table(other, tmp_path / "train-1.parquet")
    with pytest.raises(NasError, match="labels of different types") as caught:
        load_data(f"parquet:{tmp_path}")
    assert "train-1.parquet" in str(caught.value)


def test_whole_floats_and_integers_mix(tmp_path):
    pq.write_table(image_table([0, 1] * 10), tmp_path / "train-0.parquet")
    pq.write_table(image_table([0.0, 1.0] * 10, 20), tmp_path / "train-1.parquet")
    assert load_data(f"parquet:{tmp_path}").classes == ("0", "1")


@pytest.mark.parametrize("labels", [[-1] * 8, pa.array([None] * 8, pa.int64())])
@pytest.mark.parametrize("part", ["test", "validation"])
def test_a_part_whose_labels_are_hidden_is_none(tmp_path, labels, part):
    pq.write_table(named([0, 1] * 20, ["cat", "dog"]), tmp_path / "train-0.parquet")
    table = named([0] * 8, ["cat", "dog"], 50)
    hidden = table.set_column(1, "label", pa.array(labels))
    pq.write_table(hidden.replace_schema_metadata(table.schema.metadata), tmp_path / f"{part}-0.parquet")
    data = load_data(f"parquet:{tmp_path}")
    assert (len(data.train_labels), len(data.val_labels), len(data.test()[1])) == (20, 12, 8)
    assert "no labels" in data.full_reading.unread[str(tmp_path / f"{part}-0.parquet")]


def test_a_test_part_of_which_some_labels_are_hidden_is_refused(tmp_path):
    pq.write_table(named([0, 1] * 20, ["cat", "dog"]), tmp_path / "train-0.parquet")
    pq.write_table(named([0, 1, -1], ["cat", "dog"], 50), tmp_path / "test-0.parquet")
    with pytest.raises(NasError, match="labels -1 to 1, but 2 classes"):
        load_data(f"parquet:{tmp_path}")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Train.parquet", "Valid.parquet"), (40, 10, 0)),
        (("training-0.parquet", "dev-0.parquet", "testing-0.parquet"), (40, 10, 6)),
        (("train/0.parquet", "val/0.parquet", "test/0.parquet"), (40, 10, 6)),
        (("TRAIN/0.parquet", "EVAL/0.parquet"), (24, 16, 10)),
    ],
)
def test_parts_are_known_by_their_names_in_any_case(tmp_path, names, expected):
    for start, (name, count) in enumerate(zip(names, (20, 5, 3), strict=False)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(image_table([0, 1] * count, 100 * start), tmp_path / name)
    data = load_data(f"parquet:{tmp_path}")
    assert (
        len(data.train_labels),
        len(data.val_labels),
        len(data.test()[1]) if data.has_test else 0,
    ) == expected


def test_a_file_beside_the_parts_is_named(tmp_path):
    pq.write_table(image_table([0, 1] * 20), tmp_path / "train-0.parquet")
    pq.write_table(image_table([0, 1] * 20, 50), tmp_path / "extra.parquet")
    data = load_data(f"parquet:{tmp_path}")
    assert len(data.train_labels) + len(data.val_labels) + len(data.test()[1]) == 40
    assert str(tmp_path / "extra.parquet") in data.full_reading.unread


def test_broken_rows_are_all_named_at_once(tmp_path):
    table = image_table([0, 1] * 20).to_pylist()
    for row in (3, 17):
        table[row]["img"] = {"bytes": b"no image", "path": "x.png"}
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "x.parquet")
    with pytest.raises(NasError, match="2 images cannot be read") as caught:
        load_data(f"parquet:{tmp_path / 'x.parquet'}")
    assert "row 3" in str(caught.value)
    assert "row 17" in str(caught.value)
    data = load_data(f"parquet:{tmp_path / 'x.parquet'}?skip_broken")
    assert len(data.train_labels) + len(data.val_labels) + len(data.test()[1]) == 38
