"""One training on several devices through Ray Train: its figures, the loss of a device, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psutil
import pytest
from testing.paths import ROOT
from testing.small_network import SOURCE

import nas
from nas.cli import run as nas_command
from nas.controller.evaluators.cores import usable_cores
from nas.data import load_data
from nas.errors import NasError
from nas.training.recipe import Recipe, check_batch

DATA = "digits?limit=150"
EPOCHS = 12
"""More than a command on a busy machine trains before it is killed."""
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


def start_and_kill(network):
    """Start `nas train` on two devices, and kill it with SIGKILL after an epoch."""
    words = ["--devices=2", "--device=cpu", "--sync-batch-norm", f"--epochs={EPOCHS}", "--data", DATA]
    fields = ",".join(f"{name}={value}" for name, value in RECIPE.items())
    command = [sys.executable, "-m", "nas", "train", network.name, *words, "--recipe", fields]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as training:
        said = []
        while not (said and said[-1].startswith("epoch")):
            said.append(training.stderr.readline())
            assert said[-1], said
        devices = devices_of(psutil.Process(training.pid))
        training.kill()
    assert len(devices) == 2
    assert not psutil.wait_procs(devices, timeout=60)[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Train imports Ray Data
@pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
def test_a_training_that_is_killed_and_loses_a_device_equals_one_on_one_device(network, tmp_path):
    start_and_kill(network)
    killed, epochs = [], []

    def kill(row):
        epochs.append(row["epoch"])
        if len(epochs) == 2 and not killed:
            killed.append(devices_of(psutil.Process())[-1])
            killed[0].kill()

    settings = {"epochs": EPOCHS, "recipe": RECIPE, "device": "cpu"}
    alone = nas.train(network, DATA, to=tmp_path / "alone", **settings)
    on_two = {"devices": 2, "sync_batch_norm": True, "resume": True}
    shared = nas.train(network, DATA, on_epoch=kill, **on_two, **settings)
    assert killed
    assert 1 not in epochs  # which the command has trained
    assert len(shared["curve"]) == EPOCHS
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
