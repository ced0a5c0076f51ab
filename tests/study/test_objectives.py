"""An objective is one entry of a list: whatever shows objectives knows a new one from there."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from testing.histories import study

from nas.analysis.table import trial_table
from nas.analysis.text.pareto import pareto_dict, pareto_text
from nas.cli import run as nas_command
from nas.errors import NasError
from nas.study.history import History
from nas.study.objectives import OBJECTIVES, Objective, check_objectives, error_first, objective, plot_axes
from nas.visualization.plots.front import front_figure

OBJECTIVES_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "objectives.md"
OWN = "python:mine:sharpness"
BLOCKS = Objective(
    "block_count",
    "blocks",
    "blocks of the network",
    lambda trial: float(len(trial.genotype.module_types)),
    form=".0f",
    before_training=True,
)
NORM = Objective(
    "norm",
    "weight norm",
    "mean absolute weight",
    lambda trial: trial.measured.get("norm"),
    unit="‰",
    scale=1000,
    form=".1f",
    measure=lambda network, dataset: float(next(network.parameters()).abs().mean()),
)


@pytest.fixture
def listed(monkeypatch):
    """Two more objectives: one known before training, one measured after it."""
    for entry in (BLOCKS, NORM):
        monkeypatch.setitem(OBJECTIVES, entry.name, entry)


def test_a_new_entry_is_an_objective_of_studies_tables_and_plots(listed):
    names = check_objectives(["error", "block_count"])
    history = History(names)
    for trial in study(count=12, failing=()).trials:
        history.record(trial)
    blocks = [len(trial.genotype.module_types) for trial in history.trials]
    assert history.frame()["block_count"].tolist() == blocks
    found = pareto_dict(history)
    assert found["objectives"] == ["error", "block_count"]
    assert min(row["block_count"] for row in found["front"]) == min(blocks)
    assert "blocks" in pareto_text(history).splitlines()[0]
    axes = front_figure(trial_table(history), plot_axes(names)).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("blocks of the network", "validation error, %")
    assert axes.get_xscale() == "linear"


def test_a_function_of_the_users_own_needs_no_entry():
    own = objective(OWN)
    assert (own.label, own.text(-0.25), own.before_training) == ("mine:sharpness", "-0.25", False)
    assert own.read(study(count=1, failing=()).trials[0]) is None


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("error", 0.0123, "1.23 %"),
        ("flops", 40_600_000, "40.6M"),
        ("params", 890, "890"),
        ("params", 1000, "1k"),
        ("peak_memory", 262_144, "262k bytes"),
        ("latency", 0.0031, "3.1 ms"),
    ],
)
def test_values_are_shown_with_their_units(name, value, text):
    assert objective(name).text(value) == text


def test_what_each_objective_is():
    """Whether its values span orders of magnitude, and whether they are known before a training."""
    kinds = {name: (entry.logarithmic, entry.before_training) for name, entry in OBJECTIVES.items()}
    costs = dict.fromkeys(("flops", "params", "activations", "peak_memory"), (True, True))
    errors = dict.fromkeys(("error", "balanced_error"), (False, False))
    assert kinds == {**errors, **costs, "latency": (True, False)}


def test_a_figure_of_the_last_epoch_is_read():
    read = objective("balanced_error").read
    trial = study(count=1, failing=()).trials[0]
    rows = [{"val_balanced_error": 0.5}, {"val_balanced_error": 0.25}]
    assert read(replace(trial, curve=tuple(rows))) == 0.25
    for last in ({}, {"val_balanced_error": 1.5}, {"val_balanced_error": "low"}):
        assert read(replace(trial, curve=(rows[0], last))) is None
    assert read(trial) is None


def test_unknown_and_repeated_objectives_are_refused():
    with pytest.raises(NasError, match="unknown objective 'flop'") as caught:
        check_objectives(["error", "flop"])
    assert "flops" in caught.value.hint
    for names in ([], ["error", "error"]):
        with pytest.raises(NasError, match="one or more different"):
            check_objectives(names)
    assert error_first(["params", "error", "flops"]) == ["error", "flops", "params"]


def test_docs_list_every_objective_with_its_meaning():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", OBJECTIVES_PAGE.read_text(), re.MULTILINE))
    assert {name: rows.get(name) for name in OBJECTIVES} == {n: o.axis() for n, o in OBJECTIVES.items()}


@pytest.mark.slow
def test_a_new_entry_goes_through_every_command(listed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def nas(words):
        assert nas_command(words.split()) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    nas(
        "search --space residual_vs_fractal --data digits?limit=150 --trials 4 --epochs 1 --workers 0 "
        "--name r --objectives error,norm"
    )
    front = json.loads(nas("pareto r --json"))["front"]
    assert all(0 < row["norm"] < 1 for row in front)
    header, first, *_ = nas("pareto r").splitlines()
    assert "weight norm, ‰" in header
    assert f"{1000 * front[0]['norm']:.1f}" in first
    nas("pareto r --plot front.svg")
    assert "mean absolute weight, ‰" in (tmp_path / "front.svg").read_text()
    page = (tmp_path / nas("report r").strip()).read_text()
    assert "mean absolute weight, ‰" in page
    assert re.search(r"weight norm [\d.]+ ‰", page)
    assert "lowest weight norm" in page
    nas("analyze r")
    nas("compare r r")
    nas("pareto r --objectives block_count,error --plot blocks.svg")
    assert "blocks of the network" in (tmp_path / "blocks.svg").read_text()
