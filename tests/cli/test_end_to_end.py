"""A search on Ray, interrupted and resumed without it, and what it prints at the end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from testing.paths import ROOT

pytestmark = pytest.mark.slow

PROGRAM = [sys.executable, str(ROOT / "cli.py")]
SEARCH = "search --space residual_vs_fractal --data digits?limit=200 --trials 6 --epochs 1 --workers 2"
PATIENCE = 240


def nas(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *shlex.split(line)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def interrupt_after_a_trial(folder: Path) -> tuple[int, str]:
    """Start the search, press Ctrl-C once a trial is recorded; its exit code and its stderr."""
    with subprocess.Popen(
        [*PROGRAM, *SEARCH.split(), "--name", "job"],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.lstrip().startswith("1/6"):
                os.kill(process.pid, signal.SIGINT)
        return process.wait(PATIENCE), "".join(lines)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int, str]:
    """The folder, the output of the resumed search, and how the first attempt ended."""
    folder = tmp_path_factory.mktemp("job")
    code, stderr = interrupt_after_a_trial(folder)
    resumed = nas("search --resume --name job --workers 0", folder)
    assert resumed.returncode == 0, resumed.stderr
    return folder, resumed.stdout, code, stderr


def test_ctrl_c_exits_with_130_and_prints_how_to_continue(job: tuple[Path, str, int, str]) -> None:
    _, _, code, stderr = job
    assert code == 130
    assert "continue with: nas search --resume --name job" in stderr
    assert re.search("finishing ([12] candidates?|what has begun); Ctrl-C again stops now\n", stderr)
    assert "Traceback" not in stderr


def test_the_resumed_run_has_every_trial_once(job: tuple[Path, str, int, str]) -> None:
    folder = job[0]
    rows = json.loads(nas("runs --json", folder).stdout)["runs"]
    assert [(row["complete"], row["failed"]) for row in rows] == [(6, 0)]


def test_the_output_ends_with_front_ranking_and_commands(job: tuple[Path, str, int, str]) -> None:
    out = job[1]
    assert out.index("Pareto front") < out.index("What it says about module types") < out.index("Next")
    assert re.search("^[A-DX] = ", out, re.M)
    assert "results/job" in out


def test_a_killed_driver_loses_no_recorded_trial(tmp_path: Path) -> None:
    arguments = [*PROGRAM, *SEARCH.split(), "--name", "job", "--workers", "0"]
    with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.lstrip().startswith("2/6"):
                process.kill()
    before = json.loads(nas("runs --json", tmp_path).stdout)["runs"][0]["complete"]
    assert before >= 2
    resumed = nas("search --resume --workers 0 --json", tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["analysis"]["trials"] == 6
