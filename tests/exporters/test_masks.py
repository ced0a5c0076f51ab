"""Masks that a trained folder gives images: predicted, by its own program, and scored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nas
from nas.cli import run
from nas.data.dataset import IGNORE
from nas.errors import NasError
from nas.exporters import masks
from nas.exporters.predict_script import palette, write_mask
from nas.space.load import parse_space

SPACE = """
name: tiny
vary: network
stem: {type: conv, width: 4}
modules: [plain]
stages:
  - {depth: 1, width: 4}
head: {type: fcn}
"""


def write_scenes(root: Path, count: int = 16) -> None:
    """Write bright and dark halves with masks of their classes 0 and 2; the first row is ignored."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        mask = np.zeros((8, 8), np.uint8)
        mask[:, : rng.integers(2, 7)] = 2
        pixels = rng.integers(0, 60, (8, 8), dtype=np.uint8) + 90 * mask
        mask[0] = IGNORE
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with scenes and a network that was trained on them, and the figures of the training."""
    root = tmp_path_factory.mktemp("masks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE", str(root / "cache"))
        write_scenes(root / "scenes")
        network = parse_space(SPACE, "tiny.yaml").with_input((1, 8, 8), 3).sample(0)
        recipe = {"lr": 0.1, "batch_size": 4, "mixup": 0, "precision": "float32"}
        figures = nas.train(network, f"masks:{root / 'scenes'}", epochs=8, recipe=recipe, to=root / "out")
        yield root, Path(figures["folder"]), figures


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_masks_are_written_and_equal_those_of_the_program_in_the_folder(trained, capsys):
    root, folder, _ = trained
    assert run(["predict", str(folder), str(root / "scenes/images"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert len(rows) == 16
    for row in rows:
        with Image.open(row["mask"]) as image:
            mask = np.asarray(image)
            assert (image.mode, image.size) == ("P", (8, 8))
        shares = {item["class"]: item["share"] for item in row["classes"]}
        assert shares == {str(i): (mask == i).mean() for i in np.unique(mask)}
        known = np.asarray(Image.open(root / "scenes/masks" / Path(row["image"]).name))
        assert (mask == known)[1:].mean() > 0.8
    command = [sys.executable, "-I", str(folder / "predict.py"), "--to", "own", rows[0]["image"], "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert np.array_equal(Image.open(said["mask"]), Image.open(rows[0]["mask"]))
    assert {row["class"]: row["share"] for row in said["predictions"] if row["share"]} == pytest.approx(
        {item["class"]: item["share"] for item in rows[0]["classes"]}
    )
    with pytest.raises(FileExistsError):
        write_mask(torch.zeros(3, 8, 8), rows[0]["image"], Path("own"))


@pytest.mark.slow
def test_lines_and_csv_name_the_mask_and_the_shares(trained, capsys):
    root, folder, _ = trained
    image = root / "scenes/images/3.png"
    Path("broken.png").write_text("no image")
    assert run(["predict", str(folder), str(image), "broken.png", "--to", "a"]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{image}  a/3.png  ")
    assert "broken.png: not a readable image" in printed.err
    assert run(["predict", str(folder), str(image), "--to", "b", "--csv"]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head == "image,mask,rank,class,share"
    assert first.startswith(f"{image},b/3.png,1,")
    assert run(["predict", str(folder), str(image), "--to", "c", "--csv", "--top", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [head, first.replace(",b/", ",c/")]
    assert run(["predict", str(folder), str(image), "--to", "b"]) == 2
    assert "b/3.png: exists" in capsys.readouterr().err


@pytest.mark.slow
def test_an_evaluation_gives_the_iou_of_the_training_without_ignored_pixels(trained, capsys):
    root, folder, figures = trained
    data = ["--data", f"masks:{root / 'scenes'}"]
    assert run(["evaluate", str(folder), "--part", "validation", "--json", *data]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["miou"] == pytest.approx(1 - figures["val_error"], abs=1e-6)
    assert scores["loss"] == pytest.approx(figures["val_loss"], abs=1e-4)
    assert scores["pixels"] == scores["images"] * 7 * 8 == np.sum(scores["confusion"])
    rows = {row["class"]: row for row in scores["classes"]}
    assert (rows["1"]["pixels"], rows["1"]["recall"]) == (0, None)
    occurring = [row["iou"] for row in rows.values() if row["iou"] is not None]
    assert scores["miou"] == pytest.approx(np.mean(occurring))
    page = Path(scores["page"]).read_text()
    assert "IoU by class" in page
    assert "Calibration" not in page
    assert page.count('src="data:image/png;base64,') % 3 == 0
    Path(scores["page"]).unlink()
    assert run(["evaluate", str(folder), "--part", "train", "--to", "page.html", *data]) == 0
    printed = capsys.readouterr()
    assert "mean IoU" in printed.out
    assert "the network was trained or chosen on these images" in printed.err
    assert run(["evaluate", str(folder), "--data", "digits", "--part", "train"]) == 2
    assert "have no masks, and the network needs them" in capsys.readouterr().err


def test_iou_and_confusion_of_known_masks():
    mask = np.array([[0, 0, 1], [1, IGNORE, IGNORE]], np.uint8)
    answer = np.array([[0, 1, 1], [1, 2, 0]], np.uint8)
    counts = masks.confusion(mask, answer, 3)
    assert counts.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert masks.mean_iou(counts) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert np.isnan(masks.mean_iou(masks.confusion(np.full((2, 2), IGNORE, np.uint8), answer[:, :2], 3)))


def test_two_images_never_share_a_mask():
    for name in ("a/sub/1.png", "a/1.png", "b/1.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(name)
    to = Path("out")
    files = masks.mask_files(["a"], to)
    assert files == {Path("a/1.png"): to / "1.png", Path("a/sub/1.png"): to / "sub/1.png"}
    with pytest.raises(NasError, match=r"would be the mask of a/1\.png and of b/1\.png"):
        masks.mask_files(["a", "b/1.png"], to)


def test_colours_are_those_of_pascal_voc():
    colours = np.reshape(palette(), (256, 3)).tolist()
    assert colours[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[IGNORE] == [224, 224, 192]
