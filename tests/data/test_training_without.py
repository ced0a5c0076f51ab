"""Full trainings on data without a test set, or with one that is wrong: known before the first epoch."""

import json

import pytest
from testing.images import write_folder

from nas.cli import run
from nas.codegen.source import source
from nas.data import load_data
from nas.space.genotype import expand
from nas.space.load import load_space


@pytest.fixture
def trainable(tmp_path):
    """A source file and a folder of training images."""
    write_folder(tmp_path / "set" / "train", ["cat", "dog"], count=12, size=(16, 16))
    dataset = load_data(str(tmp_path / "set"))
    genotype = load_space("residual_vs_fractal").with_input(dataset.input_shape, 2).sample(0)
    path = tmp_path / "network.py"
    path.write_text(source(expand(genotype, dataset.input_shape, 2)))
    return path, tmp_path / "set"


def train(path, folder, *options):
    asked = ["train", str(path), "--data", str(folder), "--to", str(path.parent / "out")]
    return run([*asked, "--epochs", "1", "--device", "cpu", *options])


@pytest.mark.slow
def test_without_a_test_set_there_is_no_test_figure(trainable, capsys):
    path, folder = trainable
    write_folder(folder / "val", ["cat", "dog"], count=4, size=(16, 16), seed=1)
    assert train(path, folder) == 0
    assert "test error        none: the data have no test set" in capsys.readouterr().out
    report = json.loads((path.parent / "out" / "network" / "training.json").read_text())
    assert not any(name.startswith("test_") for name in report)
    assert 0 <= report["val_error"] <= 1
    assert (path.parent / "out" / "network" / "model.safetensors").exists()


@pytest.mark.parametrize("size", [(16, 16), (9, 9)])
def test_a_test_set_that_does_not_fit_is_known_before_the_first_epoch(trainable, capsys, size):
    path, folder = trainable
    write_folder(folder / "test", ["cat", "emu"], count=4, size=size, seed=1)
    assert train(path, folder) == 2
    assert "test set" in capsys.readouterr().err
    assert not (path.parent / "out" / "network").exists()
    assert not list(path.parent.rglob("*.checkpoint"))
