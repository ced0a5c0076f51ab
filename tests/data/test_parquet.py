import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from testing.images import image_table, png
from testing.paths import SHARED

from nas.data import load_data
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
