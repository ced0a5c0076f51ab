"""`nas spaces NAME --input`, and a search on photos from the images to the exported file."""

from __future__ import annotations

import json
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from testing.images import write_folder

import nas
from nas.cli import run
from nas.space.decisions import pick

OWN = """\
name: own
stem: {type: conv, width: 8}
modules: [plain]
stages: [{depth: [1, 2], width: [8, 16]}, {depth: 1, width: 16, stride: 2}]
constraints: {flops: {max: 1M}}
"""


def test_costs_and_limits_for_images_of_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["spaces", "basic_vs_bottleneck", "--input", "3x224x224", "--classes", "7", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["stem"] == {"type": "conv", "width": 16, "kernel": 7, "stride": 2, "pool": True}
    assert (shown["input_shape"], shown["num_classes"], shown["draws"]) == ([3, 224, 224], 7, 200)
    assert shown["limits"]["flops"]["max"] == 150_000_000 * 56**2 // 32**2
    space, rng = nas.load_space("basic_vs_bottleneck").with_input((3, 224, 224), 7), np.random.default_rng(0)
    costs = [space.cost(space.build(lambda _, options: pick(options, rng))) for _ in range(200)]
    flops, params = (np.array([getattr(cost, name) for cost in costs]) for name in ("flops", "params"))
    assert shown["figures"]["flops"] == {
        "min": flops.min(),
        "median": round(float(np.median(flops))),
        "max": flops.max(),
    }
    wrong = flops > shown["limits"]["flops"]["max"], params > 3_000_000
    assert shown["limits"]["flops"]["ruled_out"] == wrong[0].mean() > 0
    assert shown["limits"]["params"]["ruled_out"] == wrong[1].mean() > 0
    assert shown["fits"] == pytest.approx(1 - (wrong[0] | wrong[1]).mean())
    assert nas.space.load.parse_space(shown["yaml"], "again") == space


def test_costs_are_read_on_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["spaces", "residual_vs_fractal", "--input", "1x200x300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "stem        7x7 conv of stride 2, 3x3 max pool of stride 2: 200x300 to 50x75" in lines
    assert [line.split()[0] for line in lines[-6:-2]] == ["figure", "flops", "params", "memory"]
    assert max(len(line) for line in lines[2:]) <= 80


def test_a_space_shows_what_its_file_leaves_to_the_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["spaces", "five_types", "--json"]) == 0
    assert "stride: auto" in json.loads(capsys.readouterr().out)["yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["own.yaml", "--input", "3x7"], "write channels x height x width"),
        (["own.yaml", "--input", "3x1x1"], "images of 1x1 pixels are too small"),
        (["--input", "3x32x32"], "need the name of a space"),
        (["own.yaml", "--flops", "0.5x"], "belong to --around"),
        (["own.yaml", "--around", "resnet20"], "not both"),
        (["own.yaml", "--input", "3x8x8", "--input", "3x9x9"], "given twice"),
    ],
)
def test_inputs_that_cannot_be(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(OWN)
    assert run(["spaces", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_whose_limits_no_photo_meets_says_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(OWN)
    write_folder(Path("photos"), ["cat", "dog"], count=12, size=(64, 64))
    search = ["search", "--space", "own.yaml", "--data", "folder:photos", "--epochs", "1", "--dry-run"]
    assert run(search) == 2
    error = capsys.readouterr().err
    assert "flops at most 1,000,000: met by 0.0% of random draws, the nearest has" in error
    assert "stride: auto} reduces 64x64 to 32x32 pixels" in error
    Path("own.yaml").write_text(OWN.replace("8}", "8, stride: auto}", 1).replace("1M", "2M, at: 16x16"))
    assert run(search) == 0
    shown = capsys.readouterr().out
    assert "stem        3x3 conv of stride 2: 64x64 to 32x32" in shown
    assert "limit       flops at most 8M (2M at 16x16, scaled by pixels)" in shown
    assert "limits      flops rules out" in shown


@pytest.mark.slow
def test_photos_from_the_folder_to_the_exported_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import load_file

    from nas.codegen.build import build

    monkeypatch.chdir(tmp_path)
    write_folder(Path("photos"), ["cat", "dog"], count=20, size=(224, 224))
    for path in sorted(Path("photos").glob("*/*.png")):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    search = ["search", "--space", "residual_vs_fractal", "--data", "folder:photos", "--epochs", "1"]
    assert run([*search, "--trials", "3", "--workers", "0", "--name", "photos"]) == 0
    assert "7x7 conv of stride 2, 3x3 max pool of stride 2: 224x224 to 56x56" in capsys.readouterr().err
    assert "kernel: 7" in Path("results/photos/space.yaml").read_text()
    assert run(["search", "--space", "residual_vs_fractal", "--resume", "--workers", "0"]) == 0
    assert run(["export", "photos", "--best", "--weights", "--to", "out"]) == 0
    (folder,) = Path("out").iterdir()
    weights = load_file(folder / "model.safetensors")
    with (opened := nas.open_run("photos")).study as study:
        genotype = study.trials[int(folder.name.removeprefix("trial-"))].proposal.genotype
        assert opened.config.input_shape == (3, 224, 224)
    assert genotype.stem.to_dict() == {"type": "conv", "width": 16, "kernel": 7, "stride": 2, "pool": True}
    spec = util.spec_from_file_location("exported_photos", folder / "network.py")
    module = util.module_from_spec(spec)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "exported_photos", module)
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    images, scores = torch.rand(2, 3, 224, 224), []
    cls = getattr(module, json.loads((folder / "config.json").read_text())["class"])
    for network in (cls(), build(genotype, (3, 224, 224), 2)):
        network.load_state_dict(weights)
        with torch.no_grad():
            scores.append(network.eval()(images))
    assert scores[0].shape == (2, 2)
    assert torch.equal(*scores)
