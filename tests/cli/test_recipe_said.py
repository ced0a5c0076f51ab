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
