"""Folders that are replaced whole or not at all, permissions, and what killed processes leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.files import REPLACED, WORK, replace_folder, work_folder, write_atomic


@pytest.fixture
def shared_umask():
    """The umask of people who share folders with their group."""
    before = os.umask(0o002)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def replace(folder: Path, files: dict[str, str], private: str = "") -> None:
    with work_folder(folder.parent) as scratch:
        draft = scratch / folder.name
        draft.mkdir()
        for name, text in files.items():
            (draft / name).write_text(text)
        if private:
            (draft / private).chmod(0o600)
        replace_folder(draft, folder)


def test_the_permissions_of_a_file_follow_the_umask(tmp_path, shared_umask):
    write_atomic(tmp_path / "weights", b"1")
    assert mode(tmp_path / "weights") == 0o664


def test_a_folder_is_replaced_with_all_that_is_in_it(tmp_path, shared_umask):
    folder = tmp_path / "network"
    replace(folder, {"card": "old", "weights": "old"})
    replace(folder, {"card": "new"}, private="card")
    assert content(tmp_path) == {"network/card": "new"}
    assert (mode(folder), mode(folder / "card")) == (0o775, 0o664)
    assert os.listdir(tmp_path) == ["network"]


def test_the_place_of_a_folder_is_made(tmp_path):
    replace(tmp_path / "some" / "place" / "network", {"card": "new"})
    assert content(tmp_path) == {"some/place/network/card": "new"}


def test_a_folder_in_the_place_of_a_file_is_refused_and_the_file_stays(tmp_path):
    (tmp_path / "network").write_text("mine")
    with pytest.raises(OSError, match="network"):
        replace(tmp_path / "network", {"card": "new"})
    assert content(tmp_path) == {"network": "mine"}


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path):
    """As a kill between the two renames leaves it."""
    replace(tmp_path / "one", {"card": "old"})
    (tmp_path / "one").rename(tmp_path / f".one{REPLACED}")
    with work_folder(tmp_path):
        assert content(tmp_path) == {"one/card": "old"}


def test_a_folder_whose_replacement_fails_is_put_back_at_once(tmp_path, monkeypatch):
    replace(tmp_path / "one", {"card": "old"})
    rename = Path.rename

    def fails(path, target):
        if path.name == "one" and path.parent != tmp_path:  # the draft, in its work folder
            raise OSError("no space left")
        return rename(path, target)

    with work_folder(tmp_path) as scratch:
        (scratch / "one").mkdir()
        monkeypatch.setattr(Path, "rename", fails)
        with pytest.raises(OSError, match="no space left"):
            replace_folder(scratch / "one", tmp_path / "one")
        assert content(tmp_path) == {"one/card": "old"}


def test_a_folder_that_another_process_was_replacing_is_replaced(tmp_path):
    """That process was killed after our work folder was made, and left what it had moved away."""
    replace(tmp_path / "one", {"card": "old"})
    with work_folder(tmp_path) as scratch:
        (tmp_path / "one").rename(tmp_path / f".one{REPLACED}")
        (tmp_path / "one").mkdir()
        (scratch / "one").mkdir()
        (scratch / "one" / "card").write_text("new")
        replace_folder(scratch / "one", tmp_path / "one")
    assert content(tmp_path) == {"one/card": "new"}


def test_a_link_with_the_name_of_a_left_over_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in (f".one{REPLACED}", f"{WORK}0"):
        (tmp_path / name).symlink_to("mine")
    with work_folder(tmp_path):
        assert (tmp_path / f".one{REPLACED}").is_symlink()
        assert (tmp_path / f"{WORK}0").is_symlink()


HOLD = """
import sys, time
from pathlib import Path
from nas.files import work_folder
with work_folder(Path(sys.argv[1])) as scratch:
    (scratch / "half").write_text("written")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_only_work_folders_of_dead_processes_are_swept(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with work_folder(tmp_path):
            assert len(list(tmp_path.glob(f"{WORK}*"))) == 2
        process.kill()
        process.wait(10)
    with work_folder(tmp_path):
        assert len(list(tmp_path.glob(f"{WORK}*"))) == 1
    assert os.listdir(tmp_path) == []
