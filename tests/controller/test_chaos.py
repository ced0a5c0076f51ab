"""The short form of benchmarks/chaos.py: three rounds of faults, each resumed; no trial hangs."""

from __future__ import annotations

import runpy

import pytest
from testing.paths import ROOT

pytestmark = pytest.mark.slow

BENCHMARK = ROOT / "benchmarks" / "chaos.py"


def test_three_rounds_of_faults_lose_and_repeat_nothing(tmp_path):
    benchmark = runpy.run_path(str(BENCHMARK))
    figures = benchmark["chaos"](tmp_path, rounds=3, trials=60, seed=1)
    assert figures["complete"] + figures["failed"] == 60
    assert figures["failed"] >= 2
    assert figures["executions"] > 60
