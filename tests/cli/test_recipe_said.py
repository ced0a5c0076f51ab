"""Augmentation is said before anything is trained, and pictures show it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from testing.images import write_folder

from nas.cli import run
from nas.cli._progress import SearchProgress
from nas.controller.config import prepare
from nas.data import load_data
from nas.training.recipe import default_recipe
from nas.visualization.plots.images import _augment

MIRRORED = "augmented   shifted by up to 2 pixels, mirrored left-right at random; not for text"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "photos", ["cat", "dog"], count=12, size=(16, 16))
    return str(tmp_path / "photos")


def search_words(data, *options):
    return ["search", "--space", "residual_vs_fractal", "--data", data, "--trials", "1", *options]


JOINT = """
name: joint
vary: network
stem: {type: conv, width: 4}
modules: [plain, residual]
stages: [{depth: [1, 2], width: 4, stride: 2}]
recipe: {lr: [0.05, 0.2], flip: [true, false], mixup: {by: type, plain: 0, residual: [0, 0.2]}}
"""
SEARCHED = "recipe      searched: flip true, false; lr 0.05, 0.2; mixup[type=residual] 0.0, 0.2\n"


@pytest.fixture
def joint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "joint.yaml").write_text(JOINT)
    return ["--space", "joint.yaml", "--data", "digits?limit=60"]


def test_sizes_and_options_of_a_searched_recipe_are_said(joint, capsys):
    assert run(["spaces", "joint.yaml"]) == 0
    out = capsys.readouterr().out
    assert "\n4 genotypes, 24 with their recipes, counted at 3x32x32" in out
    assert "recipe.mixup[type=residual]  0.0, 0.2" in out
    assert run(["spaces", "joint.yaml", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["size"]["count"], summary["without_recipe"]["count"]) == (24, 4)
    assert run(["search", *joint, "--trials", "30", "--epochs", "1", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "joint: 4 genotypes, 24 with their recipes (24 different candidates), 5 decisions\n" in out
    assert "the search ends when all are tried, before 30 candidates\n" in out
    assert SEARCHED in out
    assert run(["search", *joint, "--recipe", "lr=0.1", "--dry-run"]) == 2
    assert "recipe: lr: is set by the search space" in capsys.readouterr().err


def test_a_run_says_the_recipe_of_each_trial(joint, capsys):
    words = ["search", *joint, "--trials", "6", "--epochs", "1", "--workers", "0", "--name", "first"]
    assert run(words) == 0
    captured = capsys.readouterr()
    assert SEARCHED in captured.err + captured.out
    assert run(["pareto", "first"]) == 0
    header, *rows, _ = capsys.readouterr().out.splitlines()
    assert header.split()[-3:] == ["recipe", "module", "types"]
    assert any("lr=0.05,mixup=0.0" in row or "lr=0.2,mixup=0" in row for row in rows)
    assert run(["pareto", "first", "--json"]) == 0
    recipe = json.loads(capsys.readouterr().out)["front"][0]["recipe"]
    assert recipe.keys() == {"flip", "lr", "mixup"}
    assert run(["show", "first", "--trial", "0", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"].keys() == recipe.keys()
    assert run(["show", "first", "--trial", "0"]) == 0
    said = ",".join(f"{name}={str(value).lower()}" for name, value in shown["recipe"].items())
    assert f"| pool @ {said}\n" in capsys.readouterr().out
    assert run(["compare", "first:0", "first:1"]) == 0
    assert "Errors are not compared: the runs differ; recipe." in capsys.readouterr().out
    assert run(["replay", "first"]) == 0


def test_mirroring_is_said_by_data_and_dry_runs_with_how_to_turn_it_off(photos, capsys):
    for words in (["data", photos], search_words(photos, "--dry-run")):
        assert run(words) == 0
        out = capsys.readouterr().out
        assert MIRRORED in out
        assert "--recipe flip=false" in out
        assert run([*words, "--recipe", "flip=false,mixup=0.2"]) == 0
        assert (
            "augmented   shifted by up to 2 pixels, mixed in pairs (alpha 0.2)\n" in capsys.readouterr().out
        )


def test_it_is_in_the_json_too(photos, capsys):
    for words in (["data", photos], search_words(photos, "--dry-run")):
        assert run([*words, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)["augmentation"]
        assert said == "shifted by up to 2 pixels, mirrored left-right at random"


def test_it_stands_at_the_head_of_a_search(photos, capsys):
    config, dataset = prepare("residual_vs_fractal", data=photos, trials=1)
    with SearchProgress() as progress:
        progress.data(config, dataset)
    assert MIRRORED in capsys.readouterr().err


def test_a_picture_shows_what_the_recipe_makes_of_the_images(photos):
    dataset = load_data(photos)
    chosen = np.arange(8)
    images = dataset.train_images[chosen].transpose(0, 2, 3, 1) / np.float32(255)
    recipe = replace(default_recipe(dataset), pad=0, flip=False)
    assert _augment(dataset, recipe, chosen) == pytest.approx(images, abs=1e-5)
    flipped = _augment(dataset, replace(recipe, flip=True), chosen)
    mirrored = [np.allclose(a, b[:, ::-1], atol=1e-5) for a, b in zip(flipped, images, strict=True)]
    assert 0 < sum(mirrored) < 8
    mixed = _augment(dataset, replace(recipe, mixup=1.0), chosen)
    again = _augment(dataset, replace(recipe, mixup=1.0), chosen)
    assert np.array_equal(mixed, again)
    assert not np.allclose(mixed, images, atol=0.01)
