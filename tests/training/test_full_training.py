"""Full training of one network: its schedule, its time, its recipe, and what a kill leaves of it."""

import json
import os
import subprocess
import sys
import warnings

import pytest
from safetensors.torch import load_file
from testing.paths import ROOT
from testing.small_network import SOURCE

from nas.cli import run as nas_command
from nas.data import load_data
from nas.errors import NasError
from nas.training import time_budget
from nas.training.final import Files, choose_recipe, load_network, train_fully
from nas.training.loop import evaluate
from nas.training.recipe import Recipe, full_recipe
from nas.visualization.plots.curve import plot_curve

DATA = "digits?limit=150"


def train(source, data, *, epochs=None, recipe=None, time=None, resume=False, **calls):
    """A full training of a source, whose folder is not published."""
    dataset = load_data(data)
    chosen = choose_recipe(source, dataset, epochs=epochs, fields=recipe, time=time, resume=resume)
    return train_fully(source, dataset, chosen, resume=resume, **calls)


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "network.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def slow_epochs(monkeypatch):
    """Let every epoch seem to take two seconds."""
    monkeypatch.setattr(time_budget, "epoch_seconds", lambda *_: 2.0)


class TestRecipe:
    def test_fields_are_set_and_reported(self, network):
        seen = []
        report = train(
            network,
            DATA,
            epochs=2,
            recipe={"mixup": 0.3, "class_weights": {"3": 2}},
            on_start=lambda dataset, recipe: seen.append((dataset.name, recipe.mixup, recipe.epochs)),
        )
        assert seen == [("digits", 0.3, 2)]
        assert report["recipe"]["class_weights"] == {"3": 2.0}
        assert (report["recipe"]["mixup"], report["epoch"], len(report["curve"])) == (0.3, 2, 2)
        for part in ("val", "test"):
            errors = report[f"{part}_class_errors"]
            assert list(errors) == list("0123456789")
            assert report[f"{part}_balanced_error"] == pytest.approx(sum(errors.values()) / 10)

    def test_figures_are_of_the_epoch_that_patience_keeps(self, network):
        dataset = load_data(DATA)
        recipe = Recipe(epochs=40, batch_size=16, lr=1.0, warm_up=0, patience=2, pad=0, flip=False)
        report = train_fully(network, dataset, recipe)
        errors = [row["val_error"] for row in report["curve"]]
        assert len(errors) < 40
        assert report["epoch"] == 1 + errors.index(min(errors)) == len(errors) - 2
        assert report["val_error"] == min(errors)

    def test_figures_are_those_of_the_weights_where_an_earlier_epoch_is_kept(self, network):
        """The curve's figures, but for its end, are in bfloat16; the exported network computes in float32."""
        dataset = load_data(DATA)
        fields = {"batch_size": 16, "lr": 1.0, "warm_up": 0, "patience": 2, "pad": 0, "flip": False}
        report = train_fully(network, dataset, Recipe(epochs=40, precision="bfloat16", **fields))
        assert report["epoch"] < len(report["curve"])
        trained = load_network(network, dataset)
        trained.load_state_dict(load_file(Files(network).weights))
        score = evaluate(trained, dataset.val_images, dataset.val_labels, dataset)
        assert (report["val_error"], report["val_loss"]) == pytest.approx((score.error, score.loss), rel=1e-5)

    def test_weights_are_averaged_over_a_share_of_the_steps_whatever_the_batch(self, network):
        dataset = load_data("digits")
        for size in (64, 256, 512):
            chosen = choose_recipe(network, dataset, epochs=100, fields={"batch_size": size})
            steps = 100 * len(dataset.train_labels) / size
            assert chosen.ema == pytest.approx(1 - 1 / (0.02 * steps), abs=1e-4)

    def test_two_numbers_of_epochs_are_refused(self, network):
        with pytest.raises(NasError, match="3 in the recipe, and 1 beside it"):
            train(network, DATA, epochs=1, recipe={"epochs": 3})

    def test_what_the_data_do_not_allow_is_refused_at_once(self, network):
        for fields, message in (
            ({"class_weights": {"cat": 2}}, "unknown class 'cat'"),
            ({"mix": 0.2}, "unknown field 'mix'"),
            ({"mixup": 11}, "must be from 0 to 10, not 11"),
        ):
            with pytest.raises(NasError, match=message):
                train(network, DATA, recipe=fields)
        assert not Files(network).checkpoint.exists()


class TestTime:
    def test_as_many_epochs_as_fit_are_trained(self, network, slow_epochs):
        report = train(network, DATA, time=7)
        assert report["recipe"]["epochs"] == len(report["curve"]) == 3  # 95 % of 7 s
        again = train(network, DATA, time=100, resume=True)
        assert again == report

    def test_a_resumed_training_keeps_its_epochs(self, network, slow_epochs):
        class Stop(Exception):
            pass

        def stop(row):
            raise Stop

        with pytest.raises(Stop):
            train(network, DATA, time=7, on_epoch=stop)
        assert len(train(network, DATA, time=2.2, resume=True)["curve"]) == 3

    def test_time_never_lengthens_a_schedule(self, network, slow_epochs):
        assert len(train(network, DATA, epochs=2, time=1000)["curve"]) == 2

    def test_a_time_without_an_epoch_is_refused(self, network, slow_epochs):
        with pytest.raises(NasError, match=r"one epoch takes about 0:02, and 0:02 are given"):
            train(network, DATA, time=2)
        with pytest.raises(NasError, match="must be above 0 seconds, not -1"):
            train(network, DATA, time=-1)

    def test_an_epoch_is_measured(self, network):
        dataset = load_data(DATA)
        recipe = full_recipe(dataset)
        seconds = time_budget.epoch_seconds(load_network(network, dataset), dataset, recipe, "cpu")
        assert 0 < seconds < 60


class TestCommand:
    @pytest.mark.slow
    def test_progress_and_curve(self, network, capsys):
        words = ["train", str(network), "--data", DATA, "--epochs", "3", "--recipe", "patience=9,flip=true"]
        assert nas_command([*words, "--time", "1h30m"]) == 0
        out, err = capsys.readouterr()
        assert "training    3 epochs of 90 images of digits" in err
        assert "augmented   shifted by up to 1 pixel, mirrored left-right at random; not for text" in err
        assert "patience of 9 epochs" in err
        assert "epoch   3/3" in err
        assert "0:00 left" in err
        picture = network.parent / "trained" / "network" / "curve.png"
        assert "trained/network/curve.png" in out
        assert picture.read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("given", ["2", "h", "", "1h2x", "0m", "-1h", "30m1h", "²h"])
    def test_a_time_that_is_none(self, network, given, capsys):
        assert nas_command(["train", str(network), "--data", DATA, "--time", given]) == 2
        assert "is not a time; write it as 2h, 90m or 1h30m" in capsys.readouterr().err

    @pytest.mark.parametrize("command", ["search", "train"])
    def test_help_lists_the_fields_of_a_recipe(self, command, capsys):
        assert nas_command([command, "--recipe", "help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        named = [line.split()[0] for line in lines if line and not line.startswith(" ")]
        assert named[1:] == list(Recipe.__dataclass_fields__)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("class_weights.cat=2", "unknown class 'cat'"),
            ("class_weights.3=2,class_weights.3=4", "'class_weights.3' is given twice"),
            ("class_weights=balanced,class_weights.3=4", "'class_weights.3' is given twice"),
            ("class_weights.=2", "is not a setting"),
            ("lr.x=2", "must be a number, not {'x': 2}"),
            ("patience=3", "candidates are compared after equal epochs"),
        ],
    )
    def test_fields_of_a_search_that_are_none(self, given, message, capsys):
        words = ["search", "--space", "residual_vs_fractal", "--data", DATA, "--dry-run", "--recipe", given]
        assert nas_command(words) == 2
        assert message in capsys.readouterr().err

    def test_weights_of_classes_with_commas_and_dots(self):
        from nas.cli._options import Fields

        parsed = Fields().convert(r"class_weights.a\, b.c=2,class_weights.x=y=.5,lr=0.1", None, None)
        assert parsed == {"class_weights": {"a, b.c": 2, "x=y": 0.5}, "lr": 0.1}


def test_a_curve_is_drawn_for_masks_too(tmp_path):
    rows = [
        {"epoch": i, **{f"{p}_{n}": 0.5 / i for p in ("train", "val") for n in ("error", "loss")}}
        for i in range(1, 4)
    ]
    path = plot_curve(rows, tmp_path / "curve.svg", kept=2, task="segmentation")
    assert "1 - mIoU" in path.read_text()
    with pytest.raises(NasError, match=r"curve\.jpg"):
        plot_curve(rows, tmp_path / "curve.jpg")


KILLS = 10
KILLED = f"""
import json, os, random, signal, sys, time
from pathlib import Path
from nas.data import load_data
import safetensors.torch, torch
from nas.codegen import build
from nas.training import loop
from nas.training.final import Files, train_fully
from nas.training.recipe import full_recipe
from dataclasses import replace

whole, killed = (Path(name) for name in sys.argv[1:])
dataset = load_data({DATA!r})
recipe = replace(full_recipe(dataset, 60), ema=0.9, mixup=0.2, patience=55, batch_size=16)

torch.optim.SGD([torch.zeros(1)], lr=0.1)  # imports half of torch, which each process would do again

def start(source):
    if pid := os.fork():
        return pid
    train_fully(source, dataset, recipe, seed=1, resume=True)
    os._exit(0)

def written(path):
    return path.stat().st_mtime_ns if path.exists() else 0

began = time.monotonic()
assert os.waitpid(start(whole), 0)[1] == 0
epoch = (time.monotonic() - began) / 60  # seconds, so that ten kills fit into a training on any machine
kills = 0
for _ in range({KILLS}):
    pid, before, checkpoint = start(killed), 0, Files(killed).checkpoint
    for _ in range(random.randrange(3)):  # so many epochs, and a part of the next
        before = written(checkpoint)
        while written(checkpoint) == before:
            time.sleep(0.001)
    time.sleep(random.uniform(0, min(0.03, epoch)))
    os.kill(pid, signal.SIGKILL)
    kills += os.waitpid(pid, 0)[1] == signal.SIGKILL
assert os.waitpid(start(killed), 0)[1] == 0
print(json.dumps(kills))
"""


@pytest.mark.slow
def test_a_training_resumed_after_ten_kills_is_the_same_to_the_bit(tmp_path):
    """Every start is a process of its own, forked after torch was imported, and killed at a random moment."""
    sources = [tmp_path / name / "network.py" for name in ("whole", "killed")]
    for source in sources:
        source.parent.mkdir()
        source.write_text(SOURCE)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, sources)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == KILLS
    whole, killed = (Files(source) for source in sources)
    assert whole.weights.read_bytes() == killed.weights.read_bytes()
    assert json.loads(whole.report.read_text()) == json.loads(killed.report.read_text())
    assert len(json.loads(whole.report.read_text())["curve"]) > KILLS


STATEFUL = """
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self, num_classes: int = 10, in_chans: int = 1):
        super().__init__()
        self.{place}
        self.head = nn.Linear(64 * in_chans, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        if self.training:
            self.mean = self.mean + 5
        return self.head(x - self.mean)
"""


@pytest.mark.parametrize(
    ("place", "said"), [("mean = torch.zeros(64)", 1), ('register_buffer("mean", torch.zeros(64))', 0)]
)
def test_what_the_weights_do_not_hold_is_said(tmp_path, place, said):
    source = tmp_path / "network.py"
    source.write_text(STATEFUL.replace("{place}", place))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(source, "digits?limit=60", epochs=1)
    texts = [str(warning.message) for warning in caught]
    assert sum("its weights give other scores in a new network" in text for text in texts) == said
