"""The degradation example: what it trains, writes and says."""

import csv
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "degradation.py"
NETWORKS = ["plain20", "plain56", "resnet20", "resnet56"]


def test_the_sentence_says_which_way_a_pair_came_out():
    sentence = runpy.run_path(str(EXAMPLE))["sentence"]
    curves = {
        "a": [{"train_error": 0.5, "val_error": 0.5}],
        "b": [{"train_error": 0.75, "val_error": 0.25}],
    }
    assert sentence(curves, "a", "b") == (
        "Beside a, b has a higher training error (75.00% against 50.00%) and a lower validation error "
        "(25.00% against 50.00%)."
    )
    assert sentence(curves | {"b": []}, "a", "b") == "a and b are not compared: one diverged."


@pytest.mark.slow
def test_the_example_trains_four_networks_and_writes_their_curves(tmp_path):
    command = [sys.executable, str(EXAMPLE), "--data", "digits?limit=150", "--epochs", "1", "--to", "new"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = list(csv.DictReader((tmp_path / "new" / "curves.csv").read_text().splitlines()))
    assert [(row["network"], row["epoch"]) for row in rows] == [(name, "1") for name in NETWORKS]
    assert all(0 <= float(row[key]) <= 1 for row in rows for key in ("train_error", "val_error"))
    assert (tmp_path / "new" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [*NETWORKS, "Beside", "Beside"]
