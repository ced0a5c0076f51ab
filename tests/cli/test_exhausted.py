"""A space with fewer networks than trials: every command says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from testing.paths import ROOT

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

BRIEFLY = """\
from nas.cli import main
from nas.space import tight
tight.PATIENT, tight.DRAWS, tight.STEPS = 0.0, 200, 20
main()
"""
"""The command line, which gives up sooner than it would."""


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


@pytest.mark.slow
def test_a_large_space_in_which_nothing_fits_says_so_and_how_near_it_comes(search: list[str]) -> None:
    stages = "  - {depth: [1, 2, 3, 4], width: [4, 8, 12, 16, 20]}\n" * 8
    text = FOUR.replace("  - {depth: [1, 2], width: 4}\n", stages) + "constraints: {flops: {max: 100}}\n"
    Path("four.yaml").write_text(text)
    search = [sys.executable, "-c", BRIEFLY, *search, "--trials", "2"]
    done = subprocess.run(search, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    said, refused, *hints = done.stderr.splitlines()
    assert re.fullmatch(
        r"warning: four: few of \de\+\d+ genotypes meet the constraints; looking for .*", said
    )
    assert refused == "error: four: no network satisfies the constraints: 0 of 200 random draws fit"
    assert re.search(r"flops at most 100: met by 0.0% of random draws, the nearest has [\d,]+", hints[0])
    assert done.stdout == ""
    assert not Path("results").exists()
