"""Runs in folders where nothing may be written, and places whose names are signs of URLs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from testing.privileges import without_override
from testing.stranger import copied
from testing.trials import SPACE, a_trial

import nas
from nas.cli import run as command_line
from nas.errors import StorageError
from nas.study.run import open_run
from nas.study.study import Study


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """The kept run in a results folder without permission to write."""
    monkeypatch.chdir(tmp_path)
    folder = copied(tmp_path / "results" / "run").path
    places = [*folder.rglob("*"), folder, folder.parent]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    with without_override():
        yield folder
    for place in reversed(places):
        place.chmod(0o755)


@pytest.mark.parametrize("command", ["pareto run", "show run --trial 4"])
def test_a_run_is_read_where_nothing_can_be_written(read_only, command, capsys):
    before = sorted(read_only.iterdir())
    assert command_line(command.split()) == 0
    assert capsys.readouterr().out
    assert sorted(read_only.iterdir()) == before


def test_a_read_only_run_is_listed(read_only, capsys):
    assert command_line(["runs", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["name"], row["complete"]) == ("run", 8)


@pytest.mark.parametrize(
    ("command", "way_out"),
    [
        ("export run --best", "choose another --to"),
        ("search --resume --name run --workers 0", "no permission to write is needed"),
    ],
)
def test_a_command_that_writes_there_says_so(read_only, command, way_out, capsys):
    assert command_line(command.split()) == 6
    error = capsys.readouterr().err
    assert "ermission denied" in error
    assert way_out in error


def test_a_trial_is_not_recorded_there_and_says_why(read_only):
    with open_run("run").study as study, pytest.raises(StorageError, match="readonly database"):
        study.record(a_trial(8, decisions={}))


def killed_writer(tmp_path):
    """A folder as a killed search leaves it: its trials are in the WAL file."""
    with Study.create(
        tmp_path / "live.db", objectives=["error"], domains={k: list(v) for k, v in SPACE.domains().items()}
    ) as study:
        study.record(a_trial(0))
        folder = tmp_path / "killed"
        folder.mkdir()
        for name in ("live.db", "live.db-wal"):
            shutil.copy(tmp_path / name, folder)
    return folder


def test_trials_in_a_wal_file_that_cannot_be_read_are_not_left_out(tmp_path):
    folder = killed_writer(tmp_path)
    folder.chmod(0o555)
    with without_override(), pytest.raises(StorageError, match="copy the folder to a place where you can"):
        Study.open(folder / "live.db")
    folder.chmod(0o755)
    with Study.open(folder / "live.db") as study:
        assert [trial.number for trial in study.trials] == [0]


def test_a_live_run_of_somebody_else_is_read(tmp_path):
    domains = {path: list(options) for path, options in SPACE.domains().items()}
    folder = tmp_path / "theirs"
    folder.mkdir()
    with Study.create(folder / "study.db", objectives=["error"], domains=domains) as study:
        study.record(a_trial(0))
        folder.chmod(0o555)
        for file in folder.iterdir():
            file.chmod(0o444)
        with without_override(), Study.open(folder / "study.db") as reader:
            assert [trial.number for trial in reader.trials] == [0]
        folder.chmod(0o755)
        study.record(a_trial(1))


STRANGE = "a?mode=memory#b%41 &c=d"


def test_places_with_signs_of_urls_in_their_names(tmp_path, monkeypatch, capsys):
    """A search, its data, an export and a plugin: nothing lands in a folder of another name."""
    (tmp_path / STRANGE).mkdir()
    monkeypatch.chdir(tmp_path / STRANGE)
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    images = rng.integers(0, 255, (60, 8, 8), dtype=np.uint8)
    np.savez("images%20#.npz", x_train=images, y_train=labels)
    (tmp_path / STRANGE / "my#plugin?.py").write_text("LOADED = True\n")
    settings = f"--data npz:{tmp_path / STRANGE}/images%20#.npz --trials 2 --epochs 1 --workers 0 --name run"
    plugin = ["--plugin", "my#plugin?.py"]
    asked = ["--results-dir", "res?ults#"]
    search = ["search", "--space", "plain_vs_residual", *_split(settings), *asked, *plugin]
    assert command_line(search) == 0, capsys.readouterr().err
    assert command_line(["pareto", "run", *asked]) == 0
    assert command_line(["runs", *asked]) == 0
    assert "run" in capsys.readouterr().out
    with (run := nas.open_run("run", "res?ults#")).study:
        assert len(run.study.trials) == 2
    found = {path.name for path in (tmp_path / STRANGE).iterdir()} - {"__pycache__"}
    assert found == {"images%20#.npz", "my#plugin?.py", "res?ults#"}
    assert os.listdir(tmp_path) == [STRANGE]


def _split(text):
    """Split at the options, as the paths hold spaces."""
    return [word for part in text.split(" --") for word in f"--{part.removeprefix('--')}".split(" ", 1)]


def test_a_read_only_place_with_signs_of_urls(tmp_path):
    folder = copied(tmp_path / STRANGE).path
    folder.chmod(0o555)
    (folder / "study.db").chmod(0o444)
    with without_override(), open_run(folder).study as study:
        assert len(study.trials) == 8
    folder.chmod(0o755)


def test_a_database_is_made_with_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o002)
    try:
        with Study.create(tmp_path / "study.db", objectives=["error"], domains={"a": [1]}) as study:
            study.connect()
            with closing(sqlite3.connect(tmp_path / "study.db")) as other:
                other.execute("SELECT count(*) FROM trials")
                modes = {path.stat().st_mode & 0o777 for path in tmp_path.glob("study.db*")}
    finally:
        os.umask(before)
    assert modes == {0o664}
