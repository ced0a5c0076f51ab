"""The degradation experiment: what it trains, keeps, draws and says."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.cli import run
from nas.controller import degradation
from nas.controller.degradation import NETWORKS, Files, run_degradation, summary
from nas.data import load_data
from nas.errors import NasError, StorageError
from nas.training.recipe import Recipe
from nas.training.task import Result

RECIPE = Recipe(epochs=2)


class Scripted:
    """Evaluates at once; errors by network, or the reason to fail."""

    slots = 2

    def __init__(self, errors: dict[str, Any]) -> None:
        self.errors: dict[str, Any] = errors
        self.tasks: list[Any] = []
        self.trained: list[str] = []
        self.drawn: list[Path] = []

    def submit(self, task: Any) -> None:
        self.tasks.append(task)

    def wait(self, timeout: float | None = None, *, on_epoch: Any, **_: Any) -> list[Result]:
        task = self.tasks.pop(0)
        name = NETWORKS[task.number]
        self.trained.append(name)
        error = self.errors[name]
        if isinstance(error, str):
            return [Result(task.number, "failed", error, "as scripted")]
        losses = {"train_loss": 1.0, "val_loss": 1.0}
        row = {"epoch": 1, **losses, "train_error": error[0], "val_error": error[1]}
        on_epoch(task.number, row)
        return [Result(task.number, "complete", error=error[1], curve=(row, {**row, "epoch": 2}))]

    def close(self) -> None:
        self.tasks.clear()


ERRORS: dict[str, Any] = {
    "plain20": (0.5, 0.5),
    "plain56": (0.75, 0.5),
    "resnet20": (0.5, 0.5),
    "resnet56": (0.25, 0.625),
}


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_data("digits?limit=150")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(**changes: Any) -> Scripted:
        evaluator = Scripted(ERRORS | changes)
        monkeypatch.setattr(degradation, "_evaluator", lambda *_: evaluator)
        monkeypatch.setattr(
            "nas.visualization.plots.plot_curves", lambda *given: evaluator.drawn.append(given[2])
        )
        return evaluator

    return make


def test_every_network_is_trained_once_and_kept(digits: Any, tmp_path: Path, scripted: Any) -> None:
    evaluator, rows = scripted(), []
    document = run_degradation(digits, RECIPE, tmp_path, on_epoch=lambda name, row: rows.append(name))
    assert evaluator.trained == rows == list(NETWORKS)
    files = Files(tmp_path)
    assert json.loads(files.curves.read_text()) == json.loads(json.dumps(document))
    table = list(csv.DictReader(files.table.read_text().splitlines()))
    assert len(table) == 8
    assert table[2] | {"train_loss": "", "val_loss": ""} == {
        "network": "plain56",
        "epoch": "1",
        "train_loss": "",
        "train_error": "0.75",
        "val_loss": "",
        "val_error": "0.5",
    }
    assert evaluator.drawn == list(files.pictures)


def test_the_sentences_say_which_way_it_came_out(digits: Any, tmp_path: Path, scripted: Any) -> None:
    scripted()
    lines = summary(run_degradation(digits, RECIPE, tmp_path))
    assert lines[0] == f"After 2 epochs on {len(digits.train_labels)} images of digits:"
    assert lines[1] == (
        "Beside plain20, plain56 has a higher training error (75.00% against 50.00%) and an equal "
        "validation error (50.00% against 50.00%)."
    )
    assert lines[2].startswith(
        "Beside resnet20, resnet56 has a lower training error (25.00% against 50.00%) and a higher"
    )
    assert len(lines) == 4


def test_a_divergence_is_a_result(digits: Any, tmp_path: Path, scripted: Any) -> None:
    scripted(plain56="diverged")
    document = run_degradation(digits, RECIPE, tmp_path)
    assert document["networks"]["plain56"]["state"] == "diverged"
    assert summary(document)[1] == "plain56 diverged, so plain20 and plain56 are not compared."
    assert not scripted().trained


def test_what_failed_is_trained_again_and_nothing_else(digits: Any, tmp_path: Path, scripted: Any) -> None:
    scripted(resnet56="worker_lost")
    with pytest.raises(NasError, match=r"resnet56 \(worker_lost\)"):
        run_degradation(digits, RECIPE, tmp_path)
    again = scripted()
    assert len(run_degradation(digits, RECIPE, tmp_path)["networks"]) == 4
    assert again.trained == ["resnet56"]
    once_more = scripted()
    run_degradation(digits, RECIPE, tmp_path)
    assert once_more.trained == []


def test_another_experiment_is_refused(digits: Any, tmp_path: Path, scripted: Any) -> None:
    scripted()
    run_degradation(digits, RECIPE, tmp_path)
    with pytest.raises(NasError, match=r"recipe\.epochs: was 2, now 3"):
        run_degradation(digits, replace(RECIPE, epochs=3), tmp_path)
    with pytest.raises(NasError, match="seed: was 0, now 1"):
        run_degradation(digits, RECIPE, tmp_path, seed=1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}'])
def test_a_damaged_file_is_named(digits: Any, tmp_path: Path, scripted: Any, text: str) -> None:
    scripted()
    Files(tmp_path).curves.write_text(text)
    with pytest.raises(StorageError, match=r"curves\.json"):
        run_degradation(digits, RECIPE, tmp_path)


@pytest.mark.slow
def test_the_command_trains_draws_and_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", "degradation", "--data", "digits?limit=150", "--epochs", "1", "--to"]
    assert run([*arguments, str(tmp_path / "one"), "--workers", "0", "--json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert set(document["networks"]) == set(NETWORKS)
    assert all(0 <= n["curve"][0]["train_error"] <= 1 for n in document["networks"].values())
    assert printed.err.count("epoch   1/1") == 4
    assert all(picture.stat().st_size > 5000 for picture in Files(tmp_path / "one").pictures)
    assert run([*arguments, str(tmp_path / "one")]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("After 1 epoch on ")


def test_images_with_masks_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "study"
    arguments = ["study", "degradation", "--data", "shapes?limit=60", "--workers", "0", "--to", str(to)]
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert "shapes" in said
    assert "the images have masks" in said
    assert "such as cifar10" in said
    assert not to.exists()
