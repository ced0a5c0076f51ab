"""One folder from training to use: it is always whole, and every way to use it gives the same answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from testing.images import write_folder

import nas
from nas.cli import run
from nas.controller.train import train
from nas.data import load_data
from nas.errors import NasError
from nas.exporters.folder import open_folder
from nas.exporters.publish import EVALUATION, load_network

pytestmark = pytest.mark.slow

DATA = "digits?limit=150"
SIXTY_GB = 60 * 10**9
WHOLE = {"network.py", "config.json", "README.md", "model.safetensors", "training.json", "predict.py"}


@pytest.fixture(scope="module")
def genotype():
    return nas.load_space("residual_vs_fractal").with_input((1, 8, 8), 10).sample(2)


@pytest.fixture(scope="module")
def trained(genotype, tmp_path_factory):
    """A folder that a training wrote, and its figures."""
    figures = train(genotype, DATA, epochs=2, to=tmp_path_factory.mktemp("out"))
    return Path(figures["folder"]), figures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The test images as PNG files, with their labels."""
    folder = tmp_path_factory.mktemp("pictures")
    images, labels = load_data(DATA).test()
    for i, image in enumerate(images):
        Image.fromarray(image[0]).save(folder / f"{i:04}.png")
    return folder, labels


def interrupt(row):
    raise KeyboardInterrupt


def answers(folder: Path, pictures: Path, capsys) -> list[dict[str, float]]:
    assert run(["predict", str(folder), str(pictures), "--top", "10", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    return [
        {row["class"]: row["probability"] for row in image["classes"]} for image in document["predictions"]
    ]


def test_the_folder_holds_what_belongs_together(trained, genotype):
    folder, figures = trained
    assert {path.name for path in folder.iterdir()} == WHOLE
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    about = json.loads((folder / "config.json").read_text())
    dataset = load_data(DATA)
    assert about["digest"] == genotype.digest
    assert about["classes"] == list(dataset.classes)
    assert about["mean"] == list(dataset.mean)
    assert about["training"]["test_error"] == figures["test_error"]
    assert json.loads((folder / "training.json").read_text())["curve"] == figures["curve"]
    card = (folder / "README.md").read_text()
    assert f"| test error | {figures['test_error']:.2%} on {DATA} |" in card
    assert "a training of 2 epochs" in card


def test_predictions_are_those_that_the_test_error_was_measured_with(trained, pictures, capsys):
    folder, figures = trained
    files, labels = pictures
    rows = answers(folder, files, capsys)
    wrong = [max(row, key=row.__getitem__) != str(label) for row, label in zip(rows, labels, strict=True)]
    assert np.mean(wrong) == pytest.approx(figures["test_error"])
    assert sum(rows[0].values()) == pytest.approx(1)
    command = [sys.executable, "-I", str(folder / "predict.py"), "--json", "--top", "10"]
    done = subprocess.run(
        [*command, *map(str, sorted(files.iterdir())[:5])], capture_output=True, text=True, check=True
    )
    for line, row in zip(done.stdout.splitlines(), rows, strict=False):
        said = {item["class"]: item["probability"] for item in json.loads(line)["predictions"]}
        assert said == pytest.approx(row, abs=1e-5)


def test_an_evaluation_gives_the_test_error_and_names_the_mistakes(trained, capsys):
    folder, figures = trained
    assert run(["evaluate", str(folder), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["error"] == pytest.approx(figures["test_error"])
    assert scores["loss"] == pytest.approx(figures["test_loss"], abs=1e-4)
    confusion = np.array(scores["confusion"])
    assert confusion.sum() == scores["images"] == len(load_data(DATA).test()[1])
    assert 1 - np.trace(confusion) / confusion.sum() == pytest.approx(scores["error"])
    assert sum(bin["count"] for bin in scores["calibration"]) == scores["images"]
    page = Path(scores["page"]).read_text()
    assert page.count('src="data:image/png;base64,') == min(24, confusion.sum() - np.trace(confusion))
    Path(scores["page"]).unlink()


def test_exported_programs_take_raw_pixels_and_give_the_test_error(trained, tmp_path):
    folder, figures = trained
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'nas-modules[onnx]'")
    (folder / EVALUATION).write_text("mistakes")
    asked = ["export", str(folder), "--format", "onnx", "--format", "pt2", "--with-preprocessing"]
    assert run([*asked, "--dynamic-size", "--opset", "20", "--to", str(tmp_path)]) == 0
    (folder / EVALUATION).unlink()
    made = tmp_path / folder.name
    assert {path.name for path in made.iterdir()} == WHOLE | {"model.onnx", "model.pt2", EVALUATION}
    assert (made / EVALUATION).read_text() == "mistakes"
    images, labels = load_data(DATA).test()
    session = onnxruntime.InferenceSession(made / "model.onnx")
    (scores,) = session.run(None, {"pixels": images})
    assert (scores.argmax(1) != labels).mean() == pytest.approx(figures["test_error"])
    program = torch.export.load(made / "model.pt2").module()
    assert np.allclose(program(torch.tensor(images)).detach(), scores, atol=1e-4)
    assert session.run(None, {"pixels": np.zeros((1, 1, 12, 11), np.uint8)})[0].shape == (1, 10)
    assert "take pixels as they are, uint8" in (made / "README.md").read_text()


def test_weights_are_those_of_the_training(trained):
    folder, _ = trained
    opened = open_folder(folder)
    network = load_network(opened.text, opened.about)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    state = load_file(folder / "model.safetensors")
    assert state.keys() == fresh.keys()
    assert not any(torch.equal(value, fresh[name]) for name, value in state.items() if value.ndim == 4)


def test_a_finished_training_stays_until_another_is_complete(trained, tmp_path, genotype):
    folder = shutil.copytree(trained[0], tmp_path / genotype.digest)
    again = train(genotype, DATA, epochs=2, to=tmp_path, resume=True)
    assert again == trained[1] | {"folder": str(folder)}
    with pytest.raises(NasError, match="holds a training with other data or settings"):
        train(genotype, DATA, epochs=1, to=tmp_path, resume=True)
    before = (folder / "model.safetensors").read_bytes()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(NasError, match=r"something else: notes\.txt"):
        train(genotype, DATA, epochs=1, to=tmp_path)
    (folder / "notes.txt").unlink()
    settings = {"epochs": 2, "seed": 2, "recipe": {"ema": 0}}
    with pytest.raises(KeyboardInterrupt):
        train(folder / "network.py", **settings, on_epoch=interrupt)
    assert (folder / "model.safetensors").read_bytes() == before
    with pytest.raises(NasError, match="is of an earlier training"):
        train(folder / "network.py", **settings)
    epochs = []
    second = train(folder / "network.py", **settings, resume=True, on_epoch=epochs.append)
    assert [row["epoch"] for row in epochs] == [2]
    assert second["folder"] == str(folder)
    assert (folder / "model.safetensors").read_bytes() != before
    about = json.loads((folder / "config.json").read_text())
    assert about["training"]["seed"] == 2
    assert about["digest"] == genotype.digest
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_other_images_are_brought_to_the_size_of_the_training(trained, tmp_path, capsys):
    folder, _ = trained
    write_folder(tmp_path / "set", ["3", "8"], count=3, size=(20, 30), mode="L")
    asked = ["evaluate", str(folder), "--data", str(tmp_path / "set"), "--to", str(tmp_path / "p.html")]
    assert run([*asked, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["images"] == 6
    assert [row["images"] for row in scores["classes"]] == [0, 0, 0, 3, 0, 0, 0, 0, 3, 0]
    write_folder(tmp_path / "other", ["cat", "dog"], count=3, size=(8, 8), mode="L")
    assert run(["evaluate", str(folder), "--data", str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err
    assert "class 'cat' is not among those of the network" in error
    assert "training part" not in error


def test_the_data_of_the_training_with_other_options_are_recognised(trained, tmp_path, capsys):
    asked = ["--data", "digits", "--to", str(tmp_path / "page.html")]
    assert run(["evaluate", str(trained[0]), *asked]) == 0
    assert "was trained or chosen on these images" in capsys.readouterr().err


def test_images_that_cannot_be_read_are_named_and_the_others_classified(trained, pictures, tmp_path, capsys):
    folder, files = trained[0], pictures[0]
    (tmp_path / "broken.png").write_text("no image")
    assert run(["predict", str(folder), str(tmp_path / "broken.png"), str(files / "0000.png"), "--csv"]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "image,rank,class,probability"
    assert len(said.out.splitlines()) == 6
    assert "broken.png: not a readable image" in said.err


def test_a_program_in_a_folder_runs_only_if_the_file_is_named(trained, pictures, tmp_path, capsys):
    folder = shutil.copytree(trained[0], tmp_path / "copy")
    source, canary = (folder / "network.py").read_text(), tmp_path / "canary"
    (folder / "network.py").write_text(f"{source}\nopen({str(canary)!r}, 'w').close()\n")
    image = str(pictures[0] / "0000.png")
    for asked in (["predict", str(folder), image], ["evaluate", str(folder)], ["export", str(folder)]):
        assert run(asked) == 2
        assert "if you trust it, name the file" in capsys.readouterr().err
    assert not canary.exists()
    assert run(["predict", str(folder / "network.py"), image]) == 0
    assert canary.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("std", ["wide"], "std: must be 1 numbers"),
        ("mean", [float("nan")], "mean: must be 1 numbers"),
        ("classes", ["one"], "classes: must be 10 names"),
        ("input_shape", [1, 8], "input_shape: must be three sizes"),
        ("fit", "stretch", "fit: must be one of"),
        ("training", {"epochs": "two"}, "training: epochs: must be of type int"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(trained, tmp_path, capsys, key, value, message):
    for name in ("network.py", "model.safetensors"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    about = json.loads((trained[0] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(about | {key: value}))
    assert run(["predict", str(tmp_path), "x.png"]) == 2
    assert f"config.json: {message}" in capsys.readouterr().err


def test_an_export_takes_over_no_file_from_outside_the_folder(trained, tmp_path, capsys):
    """A stranger's link would put a file of the user into a folder that is passed on."""
    folder = Path(shutil.copytree(trained[0], tmp_path / "given"))
    (tmp_path / "secret").write_text("secret")
    (folder / "training.json").unlink()
    (folder / "training.json").symlink_to(tmp_path / "secret")
    export = ["export", str(folder), "--format", "onnx", "--to", str(tmp_path / "out")]
    assert run(export) == 2
    assert "training.json: is a symbolic link" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (folder / "training.json").unlink()
    (folder / "training.json").write_text("{}")
    os.truncate(folder / "training.json", SIXTY_GB)
    assert run(export) == 2
    assert "training.json: is larger than 67,108,864 bytes" in capsys.readouterr().err


def test_weights_larger_than_those_of_the_network_are_refused_unread(trained, tmp_path):
    folder = Path(shutil.copytree(trained[0], tmp_path / "given"))
    os.truncate(folder / "model.safetensors", SIXTY_GB)
    with pytest.raises(NasError, match=r"model\.safetensors: is larger than \d\d,\d{3},\d{3} bytes"):
        open_folder(folder).network()


@pytest.fixture
def in_parts(tmp_path):
    """A network trained on a folder of three parts, and that folder."""
    data = tmp_path / "photos"
    for seed, part in enumerate(("train", "val", "test")):
        write_folder(data / part, ["ant", "bee"], count=4, size=(8, 8), seed=seed)
    genotype = nas.load_space("residual_vs_fractal").with_input((3, 8, 8), 2).sample(2)
    return Path(train(genotype, str(data), epochs=1, to=tmp_path / "out")["folder"]), data, genotype


def test_a_report_of_other_test_images_is_not_repeated(in_parts):
    folder, data, genotype = in_parts
    again = {"epochs": 1, "to": folder.parent, "resume": True}
    assert train(genotype, str(data), **again)["test_error"] >= 0
    (data / "test" / "ant" / "0.png").unlink()
    with pytest.raises(NasError, match="other data or settings"):
        train(genotype, str(data), **again)


def test_a_part_of_the_training_data_is_said_to_be(in_parts):
    folder, data, _ = in_parts
    assert nas.evaluate(folder, str(data / "train")).familiar
    assert nas.evaluate(folder, str(data)).familiar is False  # the test part


@pytest.mark.parametrize("option", ["limit=2", "test=0.2", "validation=0.3", "min_images=2"])
def test_options_that_split_a_training_are_refused_for_other_images(in_parts, tmp_path, option):
    folder, _, _ = in_parts
    write_folder(tmp_path / "other", ["ant", "bee"], count=5, size=(8, 8), seed=9)
    with pytest.raises(NasError, match=f"takes no .{option.partition('=')[0]}"):
        nas.evaluate(folder, f"{tmp_path / 'other'}?{option}")
