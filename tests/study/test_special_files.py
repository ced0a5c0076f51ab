"""Pipes, sockets, devices, links and enormous files in the place of a run's files are refused at once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from testing.paths import ROOT
from testing.stranger import copied
from testing.trials import SPACE, a_trial

from nas.cli import run as nas
from nas.data import load_data
from nas.errors import NasError, StorageError
from nas.files import read_bytes, read_text
from nas.schedulers.rung_store import RungStore
from nas.study.run import open_run
from nas.training import checkpoint
from nas.training.final import load_network
from nas.training.fine_tuning import FineTuning
from nas.training.profile import profile_writer

SIXTY_GB = 60 * 10**9


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return copied(tmp_path / "run")


def put_pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


READ_PIPE = """
import sys
from nas.errors import NasError
from nas.schedulers.rung_store import RungStore
from nas.study.run import open_run
from nas.training.profile import profile_writer
try:
    run = open_run("./run")
    run.space, run.profile, run.reseeded, run.weights(run.trial(6))
    with profile_writer(run.files.profile):
        pass
except NasError as error:
    sys.exit(str(error))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "space.yaml",
        "profile.jsonl",
        "weights/6.safetensors",
        "reseeded.db",
        "study.db",
        "study.db-journal",
        "study.db-wal",
    ],
)
def test_a_pipe_in_a_run_is_refused_at_once(folder, tmp_path, name):
    put_pipe(folder.path / name)
    program = [sys.executable, "-c", READ_PIPE]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "is not a plain file" in done.stderr
    assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["cost a.json", "show a.json", "compare a.json a.json"])
def test_a_pipe_in_place_of_a_network_is_refused_at_once(tmp_path, command):
    put_pipe(tmp_path / "a.json")
    program = [sys.executable, str(ROOT / "cli.py"), *command.split()]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a.json: is not a plain file" in done.stderr


def test_what_is_no_plain_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # paths of sockets are short
    (tmp_path / "folder").mkdir()
    put_pipe(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    before = len(os.listdir("/dev/fd"))
    for path in (tmp_path / "folder", tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero")):
        with pytest.raises(StorageError, match="is not a plain file") as caught:
            read_bytes(path, 100)
        assert caught.value.where == str(path)
    assert len(os.listdir("/dev/fd")) == before


def test_links_are_followed_only_where_it_is_said(tmp_path):
    (tmp_path / "text").write_text("network")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    assert read_text(tmp_path / "link") == "network"
    with pytest.raises(StorageError, match="is a symbolic link"):
        read_text(tmp_path / "link", links=False)


def test_a_file_at_the_bound_is_read_and_one_above_is_not(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert read_bytes(tmp_path / "a", 100) == b"x" * 100
    with pytest.raises(NasError, match="is larger than 99 bytes"):
        read_bytes(tmp_path / "a", 99)


def test_weights_larger_than_those_of_the_network_are_refused_unread(folder):
    run = open_run(folder.path)
    kept = run.weights(run.trial(6))
    assert len(kept) == 27024
    os.truncate(folder.weights / "6.safetensors", SIXTY_GB)
    started = time.monotonic()
    with pytest.raises(StorageError, match=r"6\.safetensors: is larger than 16,8\d\d,\d\d\d bytes"):
        run.weights(run.trial(6))
    assert time.monotonic() - started < 2


def test_a_record_cannot_raise_the_bound_of_its_weights(folder):
    """The figure is counted from the network, whatever the record says of it."""
    run = open_run(folder.path)
    trial = run.trial(6)
    os.truncate(folder.weights / "6.safetensors", SIXTY_GB)
    with pytest.raises(StorageError, match="is larger than"):
        run.weights(replace(trial, cost=replace(trial.cost, params=2**62)))


def test_a_network_nested_without_end_is_refused(tmp_path, capsys):
    deep = tmp_path / "deep.json"
    deep.write_text('{"version":1,"stem":' + "[" * 100_000 + "]" * 100_000 + "}")
    for command in (["show"], ["cost"], ["compare", str(deep)]):
        assert nas([*command, str(deep)]) == 2
        assert f"{deep}: not valid JSON: maximum recursion depth" in capsys.readouterr().err


def dense_network(nodes):
    """A chain in which every node also reads all before it."""
    names = ["stem", *(f"n{i}" for i in range(nodes))]
    module = {"type": "plain", "width": 4}
    rows = [
        {"name": name, "inputs": names[max(1, i - 60) if i > 1 else 0 : i], "join": "add", "module": module}
        for i, name in enumerate(names)
        if i
    ]
    head = {"type": "pool"}
    return {"version": 1, "stem": {"type": "conv", "width": 4}, "nodes": rows, "head": head}


@pytest.mark.parametrize("closed", [[], ["--closed"]], ids=["open", "closed"])
def test_a_picture_of_a_large_network_is_refused_with_the_figure(tmp_path, closed, capsys):
    dense = tmp_path / "dense.json"
    dense.write_text(json.dumps(dense_network(150)))
    assert nas(["show", str(dense), "--plot", str(tmp_path / "a.svg"), *closed]) == 2
    told = capsys.readouterr().err
    assert "layers and arrows, and a picture at most 2,000" in told
    assert not (tmp_path / "a.svg").exists()
    assert nas(["show", str(dense), "--plot", str(tmp_path / "a.dot")]) == 0
    assert (tmp_path / "a.dot").read_text().count(" -> ") > 3000


def test_the_profile_of_a_pipe_is_not_written(tmp_path):
    put_pipe(tmp_path / "profile.jsonl")
    with pytest.raises(StorageError, match="is not a plain file"), profile_writer(tmp_path / "profile.jsonl"):
        pass


def test_pipes_and_enormous_states_among_paused_trials_are_refused(tmp_path):
    trial = a_trial(3, state="stopped", epochs=1)
    store = RungStore(tmp_path, (1, 4), SPACE)
    store.write(trial, b"state")
    assert store.checkpoint(3) == b"state"
    os.truncate(tmp_path / "3-1.checkpoint", SIXTY_GB)
    with pytest.raises(StorageError, match=r"is larger than 17,179,869,184 bytes"):
        store.checkpoint(3)
    put_pipe(tmp_path / "3.json")
    with pytest.raises(StorageError, match=r"3\.json: is not a plain file"):
        store.read()


def test_the_files_of_a_trial_are_deleted_where_some_are_gone(tmp_path):
    store = RungStore(tmp_path, (1, 4), SPACE)
    store.write(a_trial(3, state="stopped", epochs=1), b"state")
    (tmp_path / "3-1.checkpoint").unlink()
    assert store.checkpoint(3) is None
    store.delete(3)
    store.delete(4)
    assert list(tmp_path.iterdir()) == []


def test_a_link_among_paused_trials_is_not_followed(tmp_path):
    store = RungStore(tmp_path, (1, 4), SPACE)
    store.write(a_trial(3, state="stopped", epochs=1), b"state")
    (tmp_path / "3-1.checkpoint").rename(tmp_path / "elsewhere")
    (tmp_path / "3-1.checkpoint").symlink_to("elsewhere")
    with pytest.raises(StorageError, match="is a symbolic link"):
        store.checkpoint(3)


def test_a_pipe_in_place_of_a_training_is_refused_at_once(tmp_path):
    put_pipe(tmp_path / "pipe")
    with pytest.raises(StorageError, match="the checkpoint is damaged"):
        checkpoint.load(tmp_path / "pipe")
    with pytest.raises(NasError, match="is not a plain file"):
        FineTuning(tmp_path / "pipe").identity()
    with pytest.raises(NasError, match="is not a plain file"):
        load_network(tmp_path / "pipe", load_data("digits?limit=100"))
