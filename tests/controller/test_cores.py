"""The number of workers by default follows what this process may use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nas.controller.evaluators.cores import quotas

ON_ONE_CORE = """
import os
from nas.cli import main

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
main()
"""


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/", {"cpu.max": "max 100000\n"}, []),
        ("0::/job/step", {"job/cpu.max": "400000 100000\n", "job/step/cpu.max": "max 100000\n"}, [4.0]),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "25000\n"}, [2.0]),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
        ("4:cpuset:/", {"cpu.max": "100000 100000\n"}, []),
        ("0::/", {"cpu.max": "what\n"}, []),
    ],
)
def test_quotas_of_cgroups(line: str, files: dict[str, str], expected: list[float], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "proc").write_text(f"9:pids:/\n{line}\n")
    assert list(quotas(tmp_path / "proc", tmp_path)) == expected


def test_no_cgroups_no_quotas(tmp_path: Path) -> None:
    assert list(quotas(tmp_path / "absent", tmp_path)) == []


def on_one_core(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-c", ON_ONE_CORE, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no affinity")
def test_one_core_by_affinity_is_one_worker(tmp_path: Path) -> None:
    options = ["search", "--space", "residual_vs_fractal", "--data", "digits?limit=150", "--epochs", "1"]
    options += ["--trials", "1", "--json"]
    assert json.loads(on_one_core(*options, "--dry-run", folder=tmp_path))["workers"] == 1
    checks = json.loads(on_one_core("doctor", "--quick", "--json", folder=tmp_path))["checks"]
    assert next(check["detail"] for check in checks if check["name"] == "CPU cores").startswith("1 usable")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no affinity")
def test_a_private_ray_has_one_slot_on_one_core(tmp_path: Path) -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from nas.controller.evaluators.ray_cluster import Devices, end_ray, fitting_workers, start_ray\n"
        "start_ray(); print(fitting_workers(Devices())); end_ray()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
