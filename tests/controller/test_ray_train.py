"""One training on several devices through Ray Train: its figures, the loss of a device, refusals."""

from __future__ import annotations

import json

import psutil
import pytest
from testing.small_network import SOURCE

import nas
from nas.cli import run as nas_command
from nas.controller.evaluators.cores import usable_cores
from nas.data import load_data
from nas.errors import NasError
from nas.training.recipe import Recipe, check_batch

DATA = "digits?limit=150"
RECIPE = {"batch_size": 15, "lr": 0.05, "precision": "float32", "mixup": 0.3}


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "network.py"
    path.write_text(SOURCE)
    return path


def devices_of(process):
    """Return the processes that train, among those that a process has started."""
    children = process.children(recursive=True)
    return [child for child in children if "RayTrainWorker" in "".join(child.cmdline())]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Train imports Ray Data
@pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
def test_a_training_that_loses_a_device_equals_one_on_one_device(network, tmp_path):
    killed = []

    def kill(row):
        if row["epoch"] == 2 and not killed:
            killed.append(devices_of(psutil.Process())[-1])
            killed[0].kill()

    settings = {"epochs": 4, "recipe": RECIPE, "device": "cpu"}
    alone = nas.train(network, DATA, to=tmp_path / "alone", **settings)
    shared = nas.train(network, DATA, devices=2, sync_batch_norm=True, on_epoch=kill, **settings)
    assert killed
    assert len(shared["curve"]) == 4
    for row, expected in zip(shared["curve"], alone["curve"], strict=True):
        assert row == pytest.approx(expected, abs=1e-4)
    assert shared["test_loss"] == pytest.approx(alone["test_loss"], abs=1e-4)
    about = json.loads((tmp_path / "trained" / "network" / "config.json").read_text())
    assert about["training"]["devices"] == {
        **{"devices": 2, "device": "cpu", "backend": "gloo"},
        **{"batch": 15, "batch_per_device": 8, "sync_batch_norm": True},
    }


def test_what_cannot_be_shared_is_refused_at_once(network, capsys):
    there = usable_cores()
    for words, message in (
        ([f"--devices={there + 1}", "--device=cpu"], f"{there + 1} devices (cpu) are asked for"),
        (["--devices=2", "--device=cuda:1"], "device: must be cpu or cuda with several devices, not cuda:1"),
        (["--devices=2", "--time=1h"], "time: is measured on one device"),
        (["--sync-batch-norm"], "sync-batch-norm: is a setting of --devices, with more than one"),
        (["--ray-address=auto"], "ray-address: is a setting of --devices, with more than one"),
    ):
        assert nas_command(["train", str(network), "--data", DATA, *words]) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in network.parent.iterdir()] == ["network.py"]


def test_a_batch_needs_an_image_for_each_device():
    with pytest.raises(NasError, match="a batch has 2 images, fewer than the 3 devices"):
        check_batch(Recipe(batch_size=2), load_data(DATA), 3)
