"""`nas doctor`: its checks and its self-test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.cli import _doctor_checks as doctor
from nas.cli import run
from nas.training.loop import hardware_precision


def test_checks_cover_what_a_search_needs(tmp_path: Path) -> None:
    checks = {check.name: check for check in doctor.checks(tmp_path / "results")}
    assert {"versions", "CPU cores", "memory", "results folder", "precision"} <= checks.keys()
    assert "torch 2." in checks["versions"].detail
    assert checks["precision"].detail.split(",")[0] == hardware_precision(doctor._device())
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


@pytest.mark.slow
def test_the_self_test_trains_on_every_worker(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["self_test"]
    assert measured["candidates"] == 2 * measured["workers"]
    assert measured["candidates_an_hour"] > 0
