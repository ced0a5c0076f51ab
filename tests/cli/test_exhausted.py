"""A space with fewer networks than trials: every command says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.cli import run

FOUR = """\
name: four
vary: network
stem: {type: conv, width: 4}
modules: {residual: {shortcut: [A, B]}}
stages:
  - {depth: [1, 2], width: 4}
head: {type: pool}
"""
"""4 genotypes, 2 networks: without a change of width no shortcut is projected."""


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "four.yaml").write_text(FOUR)
    monkeypatch.chdir(tmp_path)
    options = "--space four.yaml --data digits?limit=100 --epochs 1 --workers 0 --name few"
    return ["search", *options.split()]


def test_a_dry_run_counts_networks(search: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*search, "--trials", "6", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "four: 4 genotypes (2 networks), 2 decisions" in shown
    assert "the search ends when all are tried, before 6 candidates" in shown
    assert run([*search, "--trials", "2", "--dry-run"]) == 0
    assert "the search ends" not in capsys.readouterr().out
    assert run([*search, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["networks"] == 2


@pytest.mark.slow
def test_an_exhausted_space_is_named_at_the_end_in_json_and_in_runs(
    search: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*search, "--trials", "6"]) == 0
    ended = "The search ended after 2 of 6 trials: the space holds 2 networks; all were tried."
    assert ended in capsys.readouterr().out
    assert run(["runs"]) == 0
    assert "6 (exhausted)" in capsys.readouterr().out
    assert run(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["exhausted"] is True
    assert run(["search", "--resume", "--workers", "0", "--trials", "7", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["exhausted"], document["networks"]) == (True, 2)
    assert run(["search", "--resume", "--workers", "0", "--trials", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["exhausted"], document["networks"]) == (False, None)
