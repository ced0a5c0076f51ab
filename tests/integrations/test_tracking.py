"""Trackers read back from what they wrote: local files, and nothing sent anywhere."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from testing.tensorboard import read_events

import nas
from nas.cli import run as command_line
from nas.controller.signals import Interrupted
from nas.controller.tracking import TRACKERS, Tracking
from nas.errors import NasError
from nas.integrations.mlflow import PATIENCE


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

    def end(self, how: str) -> None:
        self.calls.append(("end", how))


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
        ("end", "finished"),
    ]


@pytest.mark.slow
def test_a_tracker_that_fails_ends_no_search(tmp_path):
    failing, other = Failing(), Recorder()
    with pytest.warns(UserWarning, match="Failing failed and is dropped: OSError: the server is gone"):
        run = search(tmp_path, failing, other)
    assert len(run.study.complete) == 2
    assert "end" not in dict(failing.calls)
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


@pytest.mark.slow
def test_tensorboard_holds_curves_and_decisions(tmp_path):
    run = search(tmp_path, "tensorboard")
    usable(run.folder)
    for trial in run.study.trials:
        scalars, plugins = read_events(run.folder / "tensorboard" / f"trial-{trial.number:04}")
        curve = {row["epoch"]: row["val_error"] for row in trial.curve}
        assert scalars["val_error"] == pytest.approx(curve)
        assert list(scalars["error"].values()) == pytest.approx([trial.error])
        assert "hparams" in plugins


class Stopper(Recorder):
    """Stops the search as Ctrl-C does, in the first epoch of trial 3."""

    def epoch(self, number: int, row: Any) -> None:
        super().epoch(number, row)
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_a_tracker_is_told_of_an_interruption_and_one_that_cannot_start_is_dropped(tmp_path):
    class Unreachable(Recorder):
        def start(self, run: Any) -> None:
            raise ConnectionError("no answer\nand a long story")

    stopper, unreachable = Stopper(), Unreachable()
    with (
        pytest.raises(Interrupted),
        pytest.warns(
            UserWarning, match="Unreachable failed and is dropped: ConnectionError: no answer$"
        ) as warned,
    ):
        search(tmp_path, unreachable, stopper, trials=6, epochs=1)
    assert stopper.calls[-1] == ("end", "interrupted")
    assert (len(warned), unreachable.calls) == (1, [])


def settings_of(client: Any, experiment: str) -> dict[str, Any]:
    found = client.get_experiment_by_name(experiment)
    return {logged.info.run_name: logged for logged in client.search_runs([found.experiment_id])}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_holds_a_run_for_each_trial_below_that_of_the_search(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="pip install 'nas-modules[mlflow]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ours")
    client = mlflow.MlflowClient()
    with pytest.raises(Interrupted):
        search(tmp_path, "mlflow", Stopper(), trials=6, epochs=None, fidelity=(1, 2))
    kept = settings_of(client, "ours")
    assert kept["job"].info.status == kept["trial-3"].info.status == "KILLED"
    run = search(tmp_path, "mlflow", resume=True, trials=6, epochs=None)
    kept = settings_of(client, "ours")
    assert set(kept) == {"job", *(f"trial-{number}" for number in range(6))}
    states = [trial.state for trial in run.study.trials]
    assert "stopped" in states
    assert kept["job"].data.params["recipe.epochs"] == "2"
    assert kept["job"].data.metrics["trials_stopped"] == states.count("stopped")
    assert kept["job"].data.metrics["best_error"] == run.best().error
    assert ("best_expected_error" in kept["job"].data.metrics) == (run.expected() is not None)
    for trial in run.study.trials:
        logged = kept[f"trial-{trial.number}"]
        assert logged.data.tags["mlflow.parentRunId"] == kept["job"].info.run_id
        assert logged.data.tags["state"] == trial.state
        assert logged.data.metrics["error"] == trial.error
        assert logged.data.params["stage1.depth"] == str(trial.decisions["stage1.depth"])
        history = client.get_metric_history(logged.info.run_id, "val_error")
        assert {(point.step, point.value) for point in history} >= {
            (row["epoch"], row["val_error"]) for row in trial.curve
        }
    assert {logged.info.status for logged in kept.values()} == {"FINISHED"}
    files = [file.path for file in client.list_artifacts(kept["job"].info.run_id)]
    assert files == ["best.py", "front.json", "report.html"]
    code = Path(client.download_artifacts(kept["job"].info.run_id, "best.py", str(tmp_path)))
    assert re.search(r"^class \w*Net\d+\(nn.Module\):$", code.read_text(), re.MULTILINE)
    usable(run.folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_dead_mlflow_server_costs_seconds_and_one_warning(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="pip install 'nas-modules[mlflow]'")
    for name in PATIENCE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.warns(UserWarning, match="MLflow failed and is dropped") as warned:
        run = search(tmp_path, "mlflow")
    assert len(run.study.complete) == 2
    assert [str(entry.message).count("MLflow") for entry in warned] == [1]
    assert time.monotonic() - start < 30


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
    """Open, analyse and resume a run."""
    run = nas.open_run(folder)
    trials = len(run.study.trials)
    assert command_line(["analyze", "job", "--results-dir", str(folder.parent)]) == 0
    resumed = search(folder.parent, resume=True, trials=trials + 1, epochs=None)
    assert len(resumed.study.trials) == trials + 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wandb_keeps_its_files_in_the_run_folder_when_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="pip install 'nas-modules[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = search(tmp_path, "wandb")
    files = list((run.folder / "wandb").glob("offline-run-*/*.wandb"))
    contents = b"".join(path.read_bytes() for path in files)
    assert len(files) == 3
    for trial in run.study.trials:
        shown = (trial.digest, repr(trial.error), f"trial-{trial.number}", *map(str, trial.decisions))
        assert all(text.encode() in contents for text in shown)
    usable(run.folder)
    search(tmp_path, "wandb", resume=True, trials=4, epochs=None)
    sessions = {path.name for path in (run.folder / "wandb").glob("offline-run-*/*.wandb")}
    assert len(sessions) == 4  # the search is resumed in its run
    usable(run.folder)


def logged_metrics(folder: Path, name: str) -> list[str]:
    with closing(sqlite3.connect(folder / "nas.db")) as connection:
        query = "SELECT metrics FROM metrics WHERE run_name = ? ORDER BY step"
        return [text for (text,) in connection.execute(query, (name,))]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trackio_holds_the_curve_of_each_trial(tmp_path, trackio_folder):
    trackio = pytest.importorskip("trackio", reason="pip install 'nas-modules[trackio]'")
    run = search(tmp_path, "trackio")
    kept = {logged.name: logged for logged in trackio.Api().runs("nas")}
    assert set(kept) == {"job-search", "job-trial-0", "job-trial-1"}
    for trial in run.study.trials:
        assert kept[f"job-trial-{trial.number}"].config["digest"] == trial.digest
        rows = [json.loads(text) for text in logged_metrics(trackio_folder, f"job-trial-{trial.number}")]
        errors = [row["val_error"] for row in rows if "val_error" in row]
        assert errors == [row["val_error"] for row in trial.curve]
        assert rows[-1]["error"] == trial.error
    usable(run.folder)
