"""A full training keeps what a search was told of its images, and says what fits them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from testing.images import write_folder

import nas
from nas.cli import run
from nas.cli.train import next_commands
from nas.exporters.train import train_target
from nas.exporters.training_target import OF_IMAGES, file_target, genotype_target


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


@pytest.mark.slow
def test_the_same_images_by_another_name_keep_what_a_search_was_told_of_them(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("folder:photos", "./photos"):
        words = ["train", str(found.folder), "--trial", "0", "--epochs", "1", "--data", place]
        assert run([*words, "--to", str(tmp_path / f"of {place.partition(':')[0]}".replace("/", ""))]) == 0
    for report in tmp_path.glob("of */trial-0/config.json"):
        assert json.loads(report.read_text())["recipe"]["flip"] is False


@pytest.mark.slow
def test_data_of_the_name_of_the_search_keep_what_it_was_told_where_images_were_added(found, tmp_path):
    write_folder(tmp_path / "more", ["cat"], count=5, size=(16, 16), seed=9)
    for path in (tmp_path / "more" / "cat").iterdir():
        path.rename(tmp_path / "photos" / "cat" / f"more{path.name}")
    words = ["train", str(found.folder), "--trial", "0", "--epochs", "1", "--data", str(tmp_path / "photos")]
    with pytest.warns(UserWarning, match="the data differ from those of the search"):
        assert run([*words, "--to", str(tmp_path / "out")]) == 0
    config = json.loads((tmp_path / "out" / "trial-0" / "config.json").read_text())
    assert (config["recipe"]["flip"], config["recipe"]["class_weights"]) == (False, {"dog": 3.0})


def test_a_recipe_that_a_search_chose_goes_with_its_data(tmp_path):
    """A network with a searched rate, trained on other images, has no rate of its own any more."""
    genotype = nas.load_space("residual_vs_fractal").with_input((1, 8, 8), 10).sample(2)
    own = replace(
        genotype_target(genotype), about={"title": "own", "own_recipe": {"lr": 0.012}}, fingerprint="other"
    )
    figures = train_target(own, "digits?limit=150", tmp_path / "out", epochs=1)
    folder = Path(figures["folder"])
    assert "own_recipe" not in json.loads((folder / "config.json").read_text())


def test_what_is_printed_next_can_be_run_for_paths_with_spaces():
    uses = "nas predict 'my runs/t' IMAGE..., nas evaluate 'my runs/t', nas export 'my runs/t' --format onnx"
    assert next_commands(Path("my runs/t")) == uses
