"""What a stranger sends is opened without running a line of theirs, and writes nowhere else."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from testing.paths import ROOT
from testing.stranger import KEPT, change_config, change_trial, copied

from nas.cli import run as nas
from nas.controller.search import search
from nas.data import load_recorded
from nas.errors import NasError, StorageError
from nas.study.run import open_run
from nas.study.tables import create_statement
from nas.training.checkpoint import save

CANARY = "import pathlib\npathlib.Path('canary').touch()\nraise SystemExit('trapped')\n"
READERS = [
    ("show", "run", "--trial", "4"),
    ("pareto", "run"),
    ("analyze", "run"),
    ("runs",),
    ("cost", "network.json"),
    ("show", "network.json"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A stranger's run, opened from within the stranger's folder, with traps for whoever imports."""
    monkeypatch.chdir(tmp_path)
    for name in ("trap.py", "sitecustomize.py", "torch.py", "nas.py", "network.py", "conftest.py"):
        (tmp_path / name).write_text(CANARY)
    return copied(tmp_path / "run")


def trapped(tmp_path):
    return (tmp_path / "canary").exists()


@pytest.mark.parametrize("command", READERS, ids=lambda command: " ".join(command))
def test_reading_runs_nothing(folder, tmp_path, command, capsys):
    change_config(folder, data="python:trap:load")
    genotype = open_run(folder.path).trial(4).genotype
    (tmp_path / "network.json").write_text(genotype.to_json())
    where = [] if command[0] == "cost" or command[-1] == "network.json" else ["--results-dir", "."]
    assert nas([*command, *where]) == 0, capsys.readouterr().err
    assert not trapped(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show run --trial 4", "pareto run --plot front.png"])
def test_modules_in_the_current_folder_are_not_imported(folder, tmp_path, command):
    script = ROOT / "cli.py"
    program = [sys.executable, str(script), *command.split(), "--results-dir", "."]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not trapped(tmp_path)


@pytest.mark.slow
def test_export_runs_only_what_it_has_generated_itself(folder, tmp_path, capsys):
    change_config(folder, data="python:trap:load")
    planted = tmp_path / "run" / "export" / "trial-4"
    planted.mkdir(parents=True)
    (planted / "network.py").write_text(CANARY)
    (planted / "torch.py").write_text(CANARY)
    command = ["export", "run", "--trial", "4", "--weights", "--results-dir", "."]
    assert nas(command) == 2
    assert "holds files of something else: torch.py" in capsys.readouterr().err
    assert (planted / "network.py").read_text() == CANARY
    (planted / "torch.py").unlink()
    assert nas(command) == 0
    assert "nn.Module" in (planted / "network.py").read_text()
    assert not trapped(tmp_path)


def test_code_named_in_a_file_runs_only_where_it_is_named_again(folder, tmp_path, capsys):
    change_config(folder, data="python:trap:load")
    with pytest.raises(NasError, match="if you trust it: --data python:trap:load"):
        load_recorded("python:trap:load")
    with pytest.raises(NasError, match="runs only where you name it too"):
        search(resume=True, name="run", results_dir=".", trials=9, workers=0)
    assert not trapped(tmp_path)


def test_objectives_named_in_a_file_run_only_where_they_are_named_again(folder, tmp_path):
    change_config(folder, objectives=["error", "python:trap:load"])
    with pytest.raises(NasError, match="if you trust it: --objectives error,python:trap:load"):
        search(resume=True, name="run", results_dir=".", trials=9, workers=0)
    assert not trapped(tmp_path)


def test_train_of_a_trial_asks_for_code_that_the_run_names(folder, tmp_path, capsys):
    change_config(folder, data="python:trap:load")
    assert nas(["train", "run", "--trial", "4", "--results-dir", "."]) == 2
    assert "runs only where you name it too" in capsys.readouterr().err
    assert not trapped(tmp_path)


EXPORT = '{"input_shape": [1, 8, 8], "num_classes": 10, %s}'


def test_train_of_a_file_says_that_it_runs_a_program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import pathlib\npathlib.Path('canary').touch()\n")
    assert nas(["train", "mine.py", "--data", "digits?limit=100"]) == 2
    printed = capsys.readouterr().err
    warning, error = "running mine.py: a source file is a program", "has no class of a network"
    assert printed.index(warning) < printed.index(error)
    assert trapped(tmp_path)


@pytest.mark.parametrize("about", [EXPORT % '"data": 1', EXPORT % '"split_seed": "x"', "[" * 100_000, "{"])
def test_what_stands_beside_a_source_is_checked(tmp_path, about, capsys):
    (tmp_path / "network.py").write_text("")
    (tmp_path / "config.json").write_text(about)
    assert nas(["train", str(tmp_path / "network.py"), "--data", "digits"]) == 2
    assert f"{tmp_path / 'config.json'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "link", ["study.db", "config.json", "space.yaml", ".lock", "weights", "export", "train"]
)
def test_a_link_in_a_run_folder_is_refused(folder, tmp_path, link, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = folder.path / link
    target = elsewhere / link
    if kept.exists():
        shutil.move(kept, target)
    else:
        target.mkdir() if link in ("export", "train") else target.write_text("precious")
    kept.symlink_to(target)
    before = sorted(path.relative_to(elsewhere) for path in elsewhere.rglob("*"))
    assert nas(["export", "run", "--trial", "4", "--results-dir", "."]) in (2, 3)
    assert nas(["search", "--resume", "--name", "run", "--results-dir", ".", "--trials", "9"]) in (2, 3)
    assert sorted(path.relative_to(elsewhere) for path in elsewhere.rglob("*")) == before
    assert link != ".lock" or target.read_text() == "precious"
    assert "symbolic link" in capsys.readouterr().err


@pytest.mark.parametrize(
    "place", ["weights/9.safetensors", "rungs/9.json", "export/trial-4", "train/trial-4"]
)
def test_a_link_in_a_folder_of_ours_is_refused(folder, tmp_path, place, capsys):
    (tmp_path / "elsewhere").mkdir()
    (folder.path / place).parent.mkdir(exist_ok=True)
    (folder.path / place).symlink_to(tmp_path / "elsewhere")
    assert nas(["pareto", "run", "--results-dir", "."]) == 2
    assert f"{place}: is a symbolic link" in capsys.readouterr().err


def test_a_link_in_the_place_of_a_draft_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "network.checkpoint.tmp").symlink_to(tmp_path / "precious")
    save(tmp_path / "network.checkpoint", {"epoch": 1})
    assert (tmp_path / "precious").read_text() == "precious"


PATHS = ["../../escaped", "/escaped", "x/../../escaped", -1, 1.5, 2**70, [], {}]


@pytest.mark.parametrize("value", PATHS, ids=repr)
@pytest.mark.parametrize("column", ["number", "duplicate_of", "parent", "epochs", "seed", "flops"])
def test_numbers_of_trials_are_numbers(folder, column, value):
    """Files are named after them."""
    change_trial(folder, lambda columns: columns.update({column: value}))
    with pytest.raises(StorageError, match=f"{column} cannot be"):
        open_run(folder.path)


@pytest.mark.parametrize("value", [*PATHS[:-2], True, None, [], {}], ids=repr)
def test_numbers_in_the_details_of_a_trial_are_numbers(folder, value):
    change_trial(folder, lambda columns: columns["details"].update(retries=value))
    with pytest.raises(StorageError, match="retries cannot be"):
        open_run(folder.path)


@pytest.mark.parametrize("types", ["", "plain+", "+", 3], ids=repr)
def test_module_types_are_names_and_at_least_one(folder, types):
    change_trial(folder, lambda columns: columns.update(module_types=types))
    with pytest.raises(StorageError, match="module_types cannot be"):
        open_run(folder.path)


def test_details_hold_nothing_that_is_not_known(folder):
    change_trial(folder, lambda columns: columns["details"].update(colour="red"))
    with pytest.raises(StorageError, match="colour cannot be 'red'"):
        open_run(folder.path)


def test_a_decision_that_the_space_does_not_have_is_refused(folder):
    change_trial(folder, lambda columns: columns["details"]["decisions"].update({"stage1.depth": [1]}))
    with pytest.raises(StorageError, match="unhashable"):
        open_run(folder.path)
    change_trial(folder, lambda columns: columns["details"]["decisions"].update({"stage1.depth": 99}))
    with pytest.raises(StorageError, match="99 is not an option"):
        open_run(folder.path)


SLOW = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n)"


def redefined(old, new):
    """Statements that put a table of another definition in the place of trials."""
    return f"""
        CREATE TABLE copied AS SELECT * FROM trials; DROP TABLE trials;
        {create_statement("trials", "sqlite").replace(old, new)};
        INSERT INTO trials SELECT * FROM copied; DROP TABLE copied;
    """


@pytest.mark.parametrize(
    "program",
    [
        "CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM studies; END",
        "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n",
        "CREATE VIRTUAL TABLE v USING fts5(x)",
        "CREATE INDEX i ON trials (abs(number))",
        "CREATE INDEX i ON trials (number) WHERE length(digest) > 3",
        f"ALTER TABLE trials RENAME TO real; CREATE VIEW trials AS SELECT * FROM real WHERE {SLOW}",
        "ALTER TABLE trials ADD COLUMN g TEXT GENERATED ALWAYS AS (upper(digest)) VIRTUAL",
        redefined("reason TEXT NOT NULL", "reason TEXT NOT NULL CHECK (length(reason) < 99)"),
        redefined("digest TEXT NOT NULL", "digest TEXT NOT NULL COLLATE NOCASE"),
        redefined("parent BIGINT", "parent BIGINT DEFAULT (abs(7))"),
        "CREATE TABLE more (x)",
        "DROP TABLE trials",
    ],
)
def test_a_database_with_a_program_in_it_is_refused(folder, program):
    open_run(folder.path)
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.executescript(program)
        connection.commit()
    with pytest.raises(StorageError, match=r"not one that this program makes|lacks a table"):
        open_run(folder.path)


@pytest.mark.parametrize(
    "program",
    [
        "UPDATE trials SET details = zeroblob(20000000) WHERE number = 3",
        "UPDATE trials SET curve = CAST(zeroblob(20000000) AS TEXT) WHERE number = 3",
        "UPDATE studies SET meta = printf('[%.*c]', 20000000, '1')",
    ],
)
def test_a_huge_value_is_refused_unread(folder, program):
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.executescript(program)
    with pytest.raises(StorageError, match="too big"):
        open_run(folder.path)


def test_a_huge_database_is_refused_unread(folder):
    """A file of 60 GB that takes no space: to check it would take minutes."""
    os.truncate(folder.database, 60 * 10**9)
    with pytest.raises(StorageError, match="larger than 4,294,967,296 bytes"):
        open_run(folder.path)


@pytest.mark.parametrize(
    "changes",
    [
        {"space": "../x"},
        {"space": "x\n"},
        {"data": "digits\x1b[2J"},
        {"data": ["digits"]},
        {"seed": -1},
        {"trials": True},
        {"trials": 0},
        {"input_shape": [1, 8]},
        {"input_shape": [1, 10**9, 8]},
        {"num_classes": 0},
        {"recipe": {"epochs": 10**9}},
        {"recipe": {"__class__": 1}},
        {"recipe": []},
        {"classes": [[]]},
        {"versions": {"nas": "\0"}},
        {"objectives": None},
        {"later": 1},
        {"recipe": {"epochs": 1, "flip": "yes"}},
        {"mean": [float("nan")]},
    ],
    ids=repr,
)
def test_a_config_that_no_run_writes_is_refused(folder, changes):
    change_config(folder, **changes)
    with pytest.raises(StorageError) as caught:
        open_run(folder.path)
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "space.yaml"])
def test_a_pipe_in_the_place_of_a_file_does_not_hang(folder, name):
    (folder.path / name).unlink()
    os.mkfifo(folder.path / name)
    with pytest.raises(NasError):
        _ = open_run(folder.path).space


def test_the_kept_run_opens_as_it_is():
    run = open_run(KEPT)
    with run.study:
        assert [trial.number for trial in run.study.trials] == list(range(8))
        assert [trial.number for trial in run.front()] == [6, 5]
        assert run.trial(6).genotype in run.space.with_input((1, 8, 8), 10)


CONTACTING = [
    "show run --trial 4",
    "pareto run",
    "pareto run --reseed 1",
    "analyze run",
    "report run",
    "replay run",
    "export run --best",
    "train run --trial 4",
    "compare run run",
    "search --resume --name run --workers 0",
]


@pytest.fixture
def listening():
    """A socket of a stranger that waits for passwords."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def contacted(server):
    return bool(select.select([server], [], [], 0)[0])


@pytest.mark.parametrize("own", [None, "postgresql://me@127.0.0.1:1/trials"], ids=["unnamed", "another"])
@pytest.mark.parametrize("command", CONTACTING)
def test_a_server_that_only_the_folder_names_is_not_contacted(
    command, own, folder, listening, monkeypatch, capsys
):
    port = listening.getsockname()[1]
    change_config(folder, storage=f"postgresql://bob@127.0.0.1:{port}/trials", study="run")
    before = folder.config.read_bytes()
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    monkeypatch.delenv("NAS_STORAGE", raising=False)
    if own:
        monkeypatch.setenv("NAS_STORAGE", own)
    assert nas([*command.split(), "--results-dir", "."]) == 2
    assert not contacted(listening)
    assert folder.config.read_bytes() == before
    told = capsys.readouterr().err
    assert f"postgresql://bob@127.0.0.1:{port}/trials" in told
    assert (own or "NAS_STORAGE=") in told


@pytest.mark.parametrize("own", ["postgresql://me@127.0.0.1:{}/mine", "postgresql://me@127.0.0.2:{}/trials"])
def test_a_server_is_the_same_by_host_port_and_database(own, folder, listening):
    port = listening.getsockname()[1]
    change_config(folder, storage=f"postgresql://bob@127.0.0.1:{port}/trials", study="run")
    with pytest.raises(NasError, match="you named postgresql://me@"):
        open_run(folder.path, storage=own.format(port))
    assert not contacted(listening)


def test_the_command_that_names_a_server_is_quoted(folder, monkeypatch):
    monkeypatch.delenv("NAS_STORAGE", raising=False)
    change_config(folder, storage="postgresql://bob@$(id)/trials", study="run")
    with pytest.raises(NasError, match="not contacted") as caught:
        open_run(folder.path)
    assert "NAS_STORAGE='postgresql://bob@$(id)/trials'" in caught.value.hint


def test_a_run_without_a_server_opens_by_no_url(folder):
    with pytest.raises(NasError, match="is a file in its folder"):
        open_run(folder.path, storage="postgresql://me@127.0.0.1:1/trials")


def test_runs_lists_what_the_folder_says_and_contacts_no_server(folder, listening, monkeypatch, capsys):
    url = f"postgresql://bob@127.0.0.1:{listening.getsockname()[1]}/trials"
    change_config(folder, storage=url, study="run")
    monkeypatch.setenv("NAS_STORAGE", url)
    assert nas(["runs", "--results-dir", ".", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["name"], row["storage"], row["complete"]) == ("run", url, None)
    assert nas(["runs", "--results-dir", "."]) == 0
    told = capsys.readouterr()
    assert "run" in told.out
    assert f"its trials are on {url}" in told.err
    assert not contacted(listening)
