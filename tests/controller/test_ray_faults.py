"""What a user sees when parts of Ray fail: one sentence, and the way on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from testing.paths import ROOT
from testing.small_spaces import TINY

from nas.study.run import open_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves log files open
]


def below(pid: int) -> list[int]:
    """Return all processes below `pid`."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [grand for child in map(int, children) for grand in [child, *below(child)]]


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_search_whose_raylet_is_killed_ends_in_one_sentence(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ["search", "--space", "tiny.yaml", "--data", "digits?limit=200", "--epochs", "40"]
    command = [sys.executable, "-m", "nas", *words, "--workers", "1", "--name", "lost", "--trials", "50"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as search:
        shown = []
        while "1/50" not in "".join(shown):
            shown.append(search.stderr.readline())
            assert shown[-1], shown
        [raylet] = [pid for pid in below(search.pid) if name(pid) == "raylet"]
        os.kill(raylet, signal.SIGKILL)
        output, errors = search.communicate(timeout=120)
    assert search.returncode == 6
    lines = [line for line in errors.splitlines() if "/50 " not in line]
    assert len(lines) == 2, errors
    assert re.fullmatch(
        r"error: Ray at \S+: Ray has ended, its raylet no longer answers \(Connection refused\)", lines[0]
    )
    assert lines[1] == "  continue with: nas search --resume --name lost"
    assert output == ""
    assert len(open_run("lost", tmp_path / "results").study.trials) >= 1


STARTED_AGAIN = """
import subprocess, sys
import psutil, ray
from nas.controller.evaluators.ray_cluster import end_ray, start_ray

init, left = ray.init, []

def late_at_first(*arguments, **settings):
    if left:
        return init(*arguments, **settings)
    left.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))  # no name yet
    raise Exception("The current node timed out during startup.")

ray.init = late_at_first
print(start_ray(workers=1), ray.cluster_resources()["CPU"], psutil.pid_exists(left[0].pid))
end_ray()
"""


def test_a_ray_that_does_not_start_in_time_is_started_again(tmp_path):
    command = [sys.executable, "-c", STARTED_AGAIN]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "True 1.0 False\n", done.stderr
