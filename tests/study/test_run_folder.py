"""Run folders: names, lock, atomic writes."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from testing.configs import make_config
from testing.disk import Disk
from testing.paths import FIXTURES
from testing.stranger import change_config, copied

from nas.cli import run as nas
from nas.errors import LockedError, NasError, NotFoundError, StorageError
from nas.files import DRAFT, write_atomic
from nas.study.run_config import VERSION
from nas.study.run_folder import (
    NAME,
    create_run,
    find_run,
    list_runs,
    lock_run,
    read_config,
    removed_on_failure,
    write_config,
)
from nas.study.tables import SCHEMA_VERSION, checksum

HELPER = """
import sys, time
from pathlib import Path
from nas.study.run_folder import RunFolder, lock_run
with lock_run(RunFolder(Path(sys.argv[1]))):
    print("locked", flush=True)
    time.sleep(60)
"""


def made(root, name):
    folder = create_run(root, "space", name)
    write_config(folder, make_config(layout=1))
    return folder


def test_a_new_name_holds_space_and_time(tmp_path):
    first, second = create_run(tmp_path, "plain_vs_residual"), create_run(tmp_path, "plain_vs_residual")
    assert re.fullmatch(r"plain_vs_residual-\d{8}-\d{6}-[0-9a-f]{4}", first.name)
    assert first.name != second.name
    assert first.weights.is_dir()


@settings(deadline=None)
@given(st.text(max_size=200))
def test_every_name_of_a_space_gives_a_valid_run_name(space_name):
    from nas.study.run_folder import _new_name

    assert NAME.fullmatch(_new_name(space_name))


def test_an_existing_run_is_refused_with_a_hint_at_resume(tmp_path):
    made(tmp_path, "mine")
    (tmp_path / "notes").mkdir()
    for name, way_out in (("mine", "--resume"), ("notes", "another --name")):
        with pytest.raises(NasError, match="exists already") as caught:
            create_run(tmp_path, "space", name)
        assert way_out in caught.value.hint
        assert caught.value.exit_code == 2


BAD_NAMES = ["../x", "/x", "a/b", "a\0b", ".", "..", "...", "", "ä", "a b", "a\n", "x" * 65, "x" * 300, "-\\"]


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name])
def test_bad_names_are_refused(tmp_path, name):
    root = tmp_path / "results"
    with pytest.raises(NasError, match="bad name"):
        create_run(root, "space", name)
    assert not root.exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_run_is_found_by_a_bad_name(tmp_path, name):
    made(tmp_path, "run")
    with pytest.raises(NasError):
        find_run(name, tmp_path / "run" / "weights")


def test_a_symbolic_link_is_refused(tmp_path):
    outside = made(tmp_path / "elsewhere", "run")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "link").symlink_to(outside.path)
    with pytest.raises(NasError, match="symbolic link"):
        create_run(tmp_path / "results", "space", "link")
    with pytest.raises(NasError, match="symbolic link"):
        find_run("link", tmp_path / "results")
    assert list_runs(tmp_path / "results") == []


def test_a_results_folder_under_a_file_fails(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "results"):
        with pytest.raises(StorageError) as caught:
            create_run(root, "space", "run")
        assert "--results-dir" in caught.value.hint


def test_runs_are_found_by_name_and_by_path(tmp_path):
    runs = [made(tmp_path, name) for name in ("alpha", "beta")]
    create_run(tmp_path, "space", "unfinished")
    assert list_runs(tmp_path) == runs
    assert find_run("beta", tmp_path) == runs[1]
    assert find_run(str(tmp_path / "beta"), "nowhere").path == runs[1].path.resolve()
    assert list_runs(tmp_path / "nowhere") == []


def test_an_unknown_run_is_refused_with_the_closest_name(tmp_path):
    made(tmp_path, "alpha")
    with pytest.raises(NotFoundError) as caught:
        find_run("alhpa", tmp_path)
    assert "did you mean 'alpha'" in caught.value.hint
    with pytest.raises(NotFoundError, match="did you mean 'latest'"):
        find_run("latst", tmp_path)
    with pytest.raises(NotFoundError, match="is not the folder of a run"):
        find_run(str(tmp_path / "weights"), tmp_path)
    with pytest.raises(NotFoundError) as caught:
        find_run("alpha", tmp_path / "empty")
    assert "nas search" in caught.value.hint


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path):
    folder = create_run(tmp_path, "space", "run")
    command = [sys.executable, "-c", HELPER, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "locked\n"
            with pytest.raises(LockedError, match=f"process {process.pid}") as caught, lock_run(folder):
                pass
            assert caught.value.exit_code == 5
        finally:
            process.kill()
    with lock_run(folder):
        assert (folder.path / ".holder").read_text().startswith(f"process {os.getpid()} ")
    assert not (folder.path / ".holder").exists()


@pytest.mark.parametrize("space", ["s" * 200, "a space/with signs", "..", "---"])
def test_the_name_of_a_new_run_is_one_that_is_accepted(tmp_path, space):
    folder = create_run(tmp_path, space)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,43}-\d{8}-\d{6}-[0-9a-f]{4}", folder.name)
    assert create_run(tmp_path, space, folder.name[1:]).name == folder.name[1:]


def test_unfinished_files_of_a_killed_search_are_removed(tmp_path):
    folder = create_run(tmp_path, "space", "run")
    folder.rungs.mkdir()
    for place in (folder.path, folder.weights, folder.rungs):
        (place / f".file.0123{DRAFT}").write_text("half")
        (place / "file").write_text("whole")
    with lock_run(folder):
        for place in (folder.path, folder.weights, folder.rungs):
            assert not (place / f".file.0123{DRAFT}").exists()
            assert (place / "file").read_text() == "whole"


def test_config_round_trip_and_checksum(tmp_path):
    folder = create_run(tmp_path, "space", "run")
    config = make_config(classes=("ä", "b"))
    write_config(folder, config)
    assert read_config(folder) == config
    raw = folder.config.read_bytes()
    refused = 0
    for at in range(len(raw)):
        for damaged in (raw[:at], raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]):
            folder.config.write_bytes(damaged)
            try:
                assert read_config(folder) == config  # only white space changed
            except StorageError:
                refused += 1
    assert refused > 1.8 * len(raw)
    folder.config.unlink()
    with pytest.raises(NotFoundError):
        read_config(folder)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    write_atomic(path, "old")
    process = multiprocessing.get_context("spawn").Process(target=fill_the_disk, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 6
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def fill_the_disk(path):
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        write_atomic(path, "x" * 5000)
    except StorageError as error:
        sys.exit(error.exit_code)


def test_bytes_are_written_as_they_are(tmp_path):
    write_atomic(tmp_path / "file", b"\0\xff")
    assert (tmp_path / "file").read_bytes() == b"\0\xff"
    with pytest.raises(StorageError):
        write_atomic(tmp_path / "nowhere" / "file", b"")


def test_config_is_plain_json(tmp_path):
    folder = made(tmp_path, "run")
    assert json.loads(folder.config.read_text())["schema"] == 1


@pytest.mark.parametrize(
    "command", ["pareto {}", "replay {}", "search --resume --name new --results-dir {}/.."]
)
def test_a_folder_of_a_newer_program_is_refused_with_what_it_needs(tmp_path, capsys, command):
    folder = copied(tmp_path / "new")
    change_config(folder, schema=VERSION + 1, versions={"nas": "7.8"})
    assert nas(command.format(folder.path).split()) == 2
    message = capsys.readouterr().err
    assert f"has layout {VERSION + 1}, and this program reads layout {VERSION}" in message
    assert "it was written by nas 7.8; install that or a newer one" in message


def test_a_database_of_a_newer_program_is_refused_with_what_to_do(tmp_path, capsys):
    folder = copied(tmp_path / "new")
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        columns = "name, schema_version, objectives, domains, meta"
        values = list(connection.execute(f"SELECT {columns} FROM studies").fetchone())
        values[1] = SCHEMA_VERSION + 1
        connection.execute(
            "UPDATE studies SET schema_version = ?, checksum = ?", (values[1], checksum(values))
        )
    assert nas(["pareto", str(folder.path)]) == 6
    assert f"has schema version {SCHEMA_VERSION + 1}" in (message := capsys.readouterr().err)
    assert "another version of nas wrote it" in message


def test_a_genotype_of_another_version(tmp_path, capsys):
    held = json.loads((FIXTURES / "genotype-v1.json").read_text())
    path = tmp_path / "network.json"
    path.write_text(json.dumps(held))
    assert nas(["cost", str(path)]) == 0
    path.write_text(json.dumps(held | {"version": 2}))
    assert nas(["cost", str(path)]) == 2
    assert "unknown version 2" in (message := capsys.readouterr().err)
    assert "a newer file needs a newer program" in message


def fail(files, *, begun):
    with removed_on_failure(files) as keep:
        if begun:
            keep()
        raise RuntimeError


@pytest.mark.parametrize("begun", [True, False])
def test_a_folder_is_kept_from_the_first_training_on(tmp_path, begun):
    files = create_run(tmp_path, "space", "run")
    with pytest.raises(RuntimeError):
        fail(files, begun=begun)
    assert files.path.exists() is begun


def test_the_name_of_a_new_folder_is_on_disk_when_it_is_returned(tmp_path):
    with Disk(tmp_path).watched() as disk:
        files = create_run(tmp_path, "space", "run")
    made = disk.operations.index(("mkdir", files.path))
    assert ("sync", tmp_path) in disk.operations[made:]
