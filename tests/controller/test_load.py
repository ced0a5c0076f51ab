"""The short form of benchmarks/load.py: deaths, divergences and a hang, all accounted for."""

from __future__ import annotations

import json
import runpy

import pytest
from testing.paths import ROOT

from nas.cli import run as nas_command

pytestmark = pytest.mark.slow

BENCHMARK = ROOT / "benchmarks" / "load.py"


def test_each_trial_has_its_outcome_and_the_run_can_be_read(tmp_path, capsys):
    benchmark = runpy.run_path(str(BENCHMARK))
    figures = benchmark["load"](tmp_path, 100)
    assert {name: figures[name] for name in ("complete", "diverged", "timeout", "dies")} == {
        "complete": 97,
        "diverged": 1,
        "timeout": 1,
        "dies": 1,
    }
    capsys.readouterr()
    assert nas_command(["pareto", str(tmp_path / "load"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == 2
    kept = {int(path.stem) for path in (tmp_path / "load" / "weights").iterdir()}
    assert {member["trial"] for member in found["front"]} <= kept
