"""A full training keeps what a search was told of its images, and says what fits them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from testing.images import write_folder

import nas
from nas.cli import run
from nas.cli.train import next_commands
from nas.exporters.training_target import OF_IMAGES, file_target


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A run on colour photos that are not mirrored and whose rare class counts more."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "photos", ["cat", "dog"], count=12, size=(16, 16))
    recipe = {"flip": False, "class_weights": {"dog": 3.0}, "lr": 0.05, "precision": "float32"}
    settings = {"trials": 1, "epochs": 1, "workers": 0, "recipe": recipe, "results_dir": tmp_path / "results"}
    return nas.search("residual_vs_fractal", data=str(tmp_path / "photos"), name="run", **settings)


@pytest.mark.slow
def test_flips_and_weights_of_the_search_stay_in_training_and_in_training_again(found, tmp_path, capsys):
    words = ["train", str(found.folder), "--trial", "0", "--epochs", "1", "--recipe", "sampling=balanced"]
    assert run([*words, "--to", str(tmp_path / "trained"), "--json"]) == 0
    recipe = json.loads(capsys.readouterr().out)["recipe"]
    assert (recipe["flip"], recipe["class_weights"], recipe["lr"]) == (False, {"dog": 3.0}, 0.2)
    kept = {name: recipe[name] for name in OF_IMAGES}
    assert kept["sampling"] == "balanced"
    assert file_target(tmp_path / "trained/trial-0/network.py").recipe == kept


def test_what_is_printed_next_can_be_run_for_paths_with_spaces():
    uses = "nas predict 'my runs/t' IMAGE..., nas evaluate 'my runs/t', nas export 'my runs/t' --format onnx"
    assert next_commands(Path("my runs/t")) == uses
