"""`nas doctor`: its checks and its self-test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli import _doctor_checks as doctor
from nas.cli import main, run
from nas.training.precision import default_device, hardware_precision


def test_checks_cover_what_a_search_needs(tmp_path: Path) -> None:
    checks = {check.name: check for check in doctor.checks(tmp_path / "results")}
    assert {"versions", "CPU cores", "memory", "results folder", "precision"} <= checks.keys()
    assert "torch 2." in checks["versions"].detail
    assert checks["precision"].detail.split(",")[0] == hardware_precision(default_device())
    assert checks["results folder"].state == "ok"
    assert not (tmp_path / "results").exists()


def test_little_disk_space_and_memory_give_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_DISK", 1 << 60)
    monkeypatch.setattr(doctor, "LEAST_MEMORY", 1 << 60)
    states = {check.name: check.state for check in doctor.checks(tmp_path)}
    assert states["results folder"] == states["memory"] == "warning"


def test_a_results_folder_under_a_file_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["doctor", "--quick", "--results-dir", str(tmp_path / "file" / "results")]) == 2
    assert "is not a folder" in capsys.readouterr().out


MACOS = """
import os, sys

missing = "sched_getaffinity sched_setaffinity posix_fallocate memfd_create pidfd_open eventfd"
for name in missing.split():
    if hasattr(os, name):
        delattr(os, name)
sysconf = os.sysconf


def without_free_pages(name):
    if name == "SC_AVPHYS_PAGES":
        raise ValueError("unrecognized configuration name")
    return sysconf(name)


os.sysconf = without_free_pages
from nas.cli import main

main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "doctor --quick",
        "search --space residual_vs_fractal --data digits?limit=150 --trials 1 --epochs 1 --workers 0",
    ],
)
def test_what_the_os_module_of_macos_lacks_is_not_needed(arguments: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MACOS, *arguments.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("CPU cores" if "doctor" in arguments else "Pareto front") in done.stdout


def test_windows_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        main(["spaces"])
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "error: nas does not run on Windows\n  use it in WSL, on Linux\n")


@pytest.mark.slow
def test_the_self_test_trains_on_every_worker(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["self_test"]
    assert measured["candidates"] == 2 * measured["workers"]
    assert measured["candidates_an_hour"] > 0
