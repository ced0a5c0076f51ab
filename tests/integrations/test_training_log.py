"""`nas train --track`: what trackers hold of a full training, read back from what they wrote."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager

import pytest
from testing.tensorboard import read_events

from nas.cli import run
from nas.integrations import training_log
from nas.integrations.training_log import TrainingLog

SOURCE = """
from torch import Tensor, nn

class Network(nn.Module):
    def __init__(self, num_classes: int = 10, in_chans: int = 1) -> None:
        super().__init__()
        self.head = nn.Linear(in_chans * 64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))
"""


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "chosen" / "network.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    return path


def train(path, *options):
    words = ["train", str(path), "--data", "digits?limit=100", "--to", str(path.parent), *options]
    assert run([*words, "--epochs", "2", "--device", "cpu"]) == 0
    return json.loads((path.parent / "network" / "training.json").read_text())


@pytest.mark.slow
def test_tensorboard_holds_the_curve_and_the_test_figures(network):
    report = train(network, "--track", "tensorboard", "--recipe", "class_weights.3=2")
    scalars, plugins = read_events(network.parent / "tensorboard" / "network")
    curve = {row["epoch"]: row["val_error"] for row in report["curve"]}
    assert scalars["val_error"] == pytest.approx(curve)
    assert scalars["test_error"] == {2: pytest.approx(report["test_error"])}
    assert "text" in plugins


def test_a_tracker_that_fails_ends_no_training(tmp_path, monkeypatch):
    @contextmanager
    def failing(name, folder, settings):
        def log(values, step):
            raise OSError("the server is gone")

        yield log

    monkeypatch.setitem(training_log._LOGS, "tensorboard", failing)
    message = "tensorboard failed and is dropped: OSError: the server is gone"
    with TrainingLog(["tensorboard"]) as log:
        log.start("x", tmp_path, {})
        with pytest.warns(UserWarning, match=message):
            log.epoch({"epoch": 1, "val_error": 0.5})
        log.epoch({"epoch": 2, "val_error": 0.5})  # without another warning, which would be an error
        log.figures({"curve": [{}, {}], "test_error": 0.5})


def test_an_error_of_the_training_passes_through(tmp_path):
    def fail():
        with TrainingLog(["tensorboard"]) as log:
            log.start("x", tmp_path, {})
            raise ValueError("of the training")

    with pytest.raises(ValueError, match="of the training"):
        fail()


def test_an_unknown_tracker_is_refused_before_anything_is_written(network, capsys):
    assert run(["train", str(network), "--data", "digits?limit=100", "--track", "tensorbored"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err
    assert [path.name for path in network.parent.iterdir()] == ["network.py"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_holds_settings_and_curve(network, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="pip install 'nas-modules[mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    report = train(network, "--track", "mlflow")
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("nas").experiment_id])
    assert (found.info.run_name, found.info.status) == ("network", "FINISHED")
    assert found.data.params["epochs"] == "2"
    history = client.get_metric_history(found.info.run_id, "val_error")
    assert {m.step: m.value for m in history} == {row["epoch"]: row["val_error"] for row in report["curve"]}


@pytest.mark.slow
def test_wandb_keeps_its_files_in_the_folder_when_offline(network, monkeypatch):
    pytest.importorskip("wandb", reason="pip install 'nas-modules[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(network, "--track", "wandb")
    assert list((network.parent / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trackio_holds_the_curve(network, trackio_folder):
    pytest.importorskip("trackio", reason="pip install 'nas-modules[trackio]'")
    report = train(network, "--track", "trackio")
    (file,) = trackio_folder.rglob("nas*.db")
    with closing(sqlite3.connect(file)) as database:
        logged = [json.loads(row) for (row,) in database.execute("SELECT metrics FROM metrics ORDER BY step")]
    assert [row["val_error"] for row in logged if "val_error" in row] == [
        row["val_error"] for row in report["curve"]
    ]
