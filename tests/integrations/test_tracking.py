"""Trackers read back from what they wrote: local files, and nothing sent anywhere."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import run as command_line
from nas.controller.tracking import TRACKERS, Tracking
from nas.errors import NasError


class Recorder:
    """A tracker that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def start(self, run: Any) -> None:
        self.calls.append(("start", run.name))

    def epoch(self, number: int, row: Any) -> None:
        self.calls.append(("epoch", (number, row["epoch"])))

    def trial(self, trial: Any) -> None:
        self.calls.append(("trial", trial.number))

    def end(self) -> None:
        self.calls.append(("end", None))


class Failing(Recorder):
    def trial(self, trial: Any) -> None:
        raise OSError("the server is gone")


def search(folder: Path, *trackers: Any, **settings: Any) -> nas.study.run.Run:
    asked = {"trials": 2, "epochs": 2, "workers": 0, "name": "job", "results_dir": folder} | settings
    return nas.search("residual_vs_fractal", data="digits?limit=60", track=trackers, **asked)


@pytest.mark.slow
def test_a_tracker_gets_every_epoch_and_trial(tmp_path):
    tracker = Recorder()
    search(tmp_path, tracker)
    assert tracker.calls == [
        ("start", "job"),
        *(("epoch", (0, 1)), ("epoch", (0, 2)), ("trial", 0)),
        *(("epoch", (1, 1)), ("epoch", (1, 2)), ("trial", 1)),
        ("end", None),
    ]


@pytest.mark.slow
def test_a_tracker_that_fails_ends_no_search(tmp_path):
    failing, other = Failing(), Recorder()
    with pytest.warns(UserWarning, match="Failing failed and is dropped: OSError: the server is gone"):
        run = search(tmp_path, failing, other)
    assert len(run.study.complete) == 2
    assert ("end", None) not in failing.calls
    assert ("trial", 1) in other.calls


def test_an_unknown_tracker_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(NasError, match="did you mean 'tensorboard'"):
        search(tmp_path, "tensorbord")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_named_with_its_extra(name, monkeypatch):
    monkeypatch.setattr("nas.plugins.find_spec", lambda package: None)
    with pytest.raises(NasError, match=rf"pip install 'nas-modules\[{name}\]'"):
        Tracking([name])


def tensorboard_events(folder: Path) -> tuple[dict[str, dict[int, float]], set[str]]:
    """Scalars by tag and step, and the plugins that were written for, from the event files."""
    from tensorboardX.proto.event_pb2 import Event

    scalars: dict[str, dict[int, float]] = defaultdict(dict)
    plugins = set()
    for path in folder.glob("events.*"):
        data = path.read_bytes()
        while data:  # a record: length (8 bytes), its checksum (4), an event, its checksum (4)
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars[value.tag][event.step] = value.simple_value
                plugins.add(value.metadata.plugin_data.plugin_name)
    return scalars, plugins


@pytest.mark.slow
def test_tensorboard_holds_curves_and_decisions(tmp_path):
    run = search(tmp_path, "tensorboard")
    for trial in run.study.trials:
        scalars, plugins = tensorboard_events(run.folder / "tensorboard" / f"trial-{trial.number:04}")
        curve = {row["epoch"]: row["val_error"] for row in trial.curve}
        assert scalars["val_error"] == pytest.approx(curve)
        assert list(scalars["error"].values()) == pytest.approx([trial.error])
        assert "hparams" in plugins


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_holds_a_run_for_each_trial_below_that_of_the_search(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="pip install 'nas-modules[mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = search(tmp_path, "mlflow", trials=1)
    run = search(tmp_path, "mlflow", resume=True, trials=2)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("residual_vs_fractal")
    kept = {logged.info.run_name: logged for logged in client.search_runs([experiment.experiment_id])}
    assert set(kept) == {"job", "trial-0", "trial-1"}
    assert kept["job"].data.params["recipe.epochs"] == "2"
    for trial in run.study.trials:
        logged = kept[f"trial-{trial.number}"]
        assert logged.data.tags["mlflow.parentRunId"] == kept["job"].info.run_id
        assert logged.data.metrics["error"] == trial.error
        assert logged.data.params["stage1.depth"] == str(trial.decisions["stage1.depth"])
        history = client.get_metric_history(logged.info.run_id, "val_error")
        assert [(point.step, point.value) for point in history] == [
            (row["epoch"], row["val_error"]) for row in trial.curve
        ]
    assert {logged.info.status for logged in kept.values()} == {"FINISHED"}


@pytest.mark.slow
def test_a_run_with_the_links_that_wandb_leaves_is_opened_analysed_and_resumed(tmp_path, capsys):
    run = search(tmp_path)
    session = run.folder / "wandb" / "offline-run-20260101_000000-abcdefgh"
    (session / "logs").mkdir(parents=True)
    (session / "logs" / "debug.log").write_text("")
    (session.parent / "latest-run").symlink_to(session.name)
    (session.parent / "debug.log").symlink_to(session / "logs" / "debug.log")
    (session.parent / "debug-internal.log").symlink_to(session / "logs" / "gone.log")
    usable(run.folder)
    capsys.readouterr()


def usable(folder: Path) -> None:
    """Open, analyse and resume a run of two trials."""
    assert len(nas.open_run(folder).study.complete) == 2
    assert command_line(["analyze", "job", "--results-dir", str(folder.parent)]) == 0
    assert len(search(folder.parent, resume=True, trials=3).study.complete) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wandb_keeps_its_files_in_the_run_folder_when_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="pip install 'nas-modules[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = search(tmp_path, "wandb")
    files = list((run.folder / "wandb").glob("offline-run-*/*.wandb"))
    contents = b"".join(path.read_bytes() for path in files)
    assert len(files) == 2
    for trial in run.study.trials:
        shown = (trial.digest, repr(trial.error), f"trial-{trial.number}", *map(str, trial.decisions))
        assert all(text.encode() in contents for text in shown)
    usable(run.folder)
