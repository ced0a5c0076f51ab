"""Every view of a run works with any objectives, and says what to do without a complete trial."""

from __future__ import annotations

import json
import re

import pytest
from testing.small_spaces import TINY

import nas
from nas.cli import run as command
from nas.errors import AllTrialsFailedError
from nas.study.objectives import plot_axes

FUNCTIONS = """
def saturation(network, dataset):
    return -float(sum(p.detach().abs().mean() for p in network.parameters()))


def broken(network, dataset):
    raise RuntimeError("no such layer")
"""
LABEL = "own_objectives:saturation"
OWN = f"python:{LABEL}"
RUNS = {
    "own": ("error", OWN),
    "costly": ("flops", OWN),
    "alone": (OWN,),
    "timed": ("error", "latency"),
    "many": ("latency", "params", OWN),
}


class Interrupted(BaseException):
    pass


def interrupt(*_):
    raise Interrupted


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of several objectives, one whose trials all failed, and one that was stopped at once."""
    path = tmp_path_factory.mktemp("runs")
    (path / "tiny.yaml").write_text(TINY)
    (path / "own_objectives.py").write_text(FUNCTIONS)
    settings = {"data": "digits?limit=200", "workers": 0, "trials": 3, "epochs": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.syspath_prepend(path)
        for name, objectives in RUNS.items():
            trials = {"trials": 6 if name == "timed" else 3}
            nas.search("tiny.yaml", name=name, objectives=objectives, **settings | trials)
        failing = ("error", "python:own_objectives:broken")
        with pytest.raises(AllTrialsFailedError):
            nas.search("tiny.yaml", name="failed", objectives=failing, **settings)
        with pytest.raises(Interrupted):
            nas.search("tiny.yaml", name="empty", on_start=interrupt, **settings)
    return path


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "axes"),
    [
        ("own", (LABEL, "validation error, %")),
        ("costly", ("FLOPs (multiply-adds of conv and linear layers)", LABEL)),
        ("alone", ("FLOPs (multiply-adds of conv and linear layers)", LABEL)),
        ("timed", ("inference latency at batch 1, ms", "validation error, %")),
        ("many", ("inference latency at batch 1, ms", LABEL)),
    ],
)
def test_front_and_report_have_axes_of_the_objectives(run, axes, here, capsys):
    from nas.analysis.overview import overview
    from nas.visualization.plots.figures import draw_all

    assert command(["pareto", run, "--plot", f"{run}.svg"]) == 0
    assert (here / f"{run}.svg").stat().st_size > 1000
    assert command(["report", run, "--json"]) == 0
    opened = nas.open_run(run)
    with opened.study:
        shown = draw_all(overview([opened]))["front"].figure.axes[0]
    assert (shown.get_xlabel(), shown.get_ylabel()) == axes
    points = [path for collection in shown.collections for path in collection.get_offsets().tolist()]
    limits = shown.get_xlim(), shown.get_ylim()
    assert len(points) >= 3
    for point in points:
        for value, (low, high) in zip(point, limits, strict=True):
            assert low < value < high, "a point is outside the picture, or was lost on a logarithmic axis"
    page = (here / "results" / run / "report.html").read_text()
    assert "nan" not in page[page.index('class="chart"') : page.index("</svg>", page.index('class="chart"'))]
    members = opened.front()
    if OWN in RUNS[run]:
        assert f"{LABEL} {members[0].measured[OWN]:.4g}" in page


def test_negative_values_of_a_front_have_four_digits(here, capsys):
    assert command(["pareto", "own"]) == 0
    text = capsys.readouterr().out
    for trial in nas.open_run("own").front():
        assert f"{trial.measured[OWN]:.4g}" in text


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_every_other_view_works(run, here, capsys):
    for words in (["analyze", run], ["show", run], ["compare", run, "timed", "--plot", "runs.svg"]):
        assert command(words) == 0
        assert "nan" not in capsys.readouterr().out
    for words in (["pareto", run], ["analyze", run], ["show", run], ["compare", run, run]):
        assert command([*words, "--json"]) == 0
        json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


@pytest.mark.slow
def test_runs_of_other_objectives_share_a_report(here, capsys):
    assert command(["report", "own", "timed"]) == 0
    page = (here / "results" / "own" / "report.html").read_text()
    assert re.search(r"networks are on the front of [^.]*FLOPs", page)


@pytest.mark.parametrize(
    "words",
    [
        ["pareto", "{run}", "--plot", "front.png"],
        ["report", "{run}"],
        ["report", "{run}", "--json"],
        ["analyze", "{run}"],
        ["analyze", "{run}", "--json"],
        ["analyze", "{run}", "--csv"],
        ["show", "{run}"],
        ["show", "{run}", "--json"],
        ["compare", "{run}", "{run}"],
        ["compare", "{run}", "{run}", "--json"],
    ],
)
@pytest.mark.parametrize(
    ("run", "state", "advice"),
    [
        ("failed", "3 failed: exception", "nas search --resume --name failed --trials 6 trains more"),
        ("empty", "none is recorded", "nas search --resume --name empty continues the search"),
    ],
)
def test_without_a_complete_trial_each_view_says_what_to_do(words, run, state, advice, here, capsys):
    assert command([word.format(run=run) for word in words]) == 3
    message = capsys.readouterr().err
    assert f"no trial is complete ({state})\n  {advice}" in message


def test_an_empty_front_is_a_front(here, capsys):
    assert command(["pareto", "failed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["front"] == []
    assert command(["pareto", "failed"]) == 0
    assert capsys.readouterr().out.startswith(
        "No trial is complete (3 failed: exception). nas search --resume"
    )


@pytest.mark.parametrize(
    ("objectives", "axes"),
    [
        (("error", "flops"), ("flops", "error")),
        (("error",), ("flops", "error")),
        (("flops",), ("flops", "error")),
        (("params",), ("flops", "params")),
        (("params", "error", "flops"), ("flops", "error")),
        (("error", "params", "latency"), ("params", "error")),
        ((), ("flops", "error")),
    ],
)
def test_the_axes_of_a_front_are_objectives_of_the_search(objectives, axes):
    assert plot_axes(objectives) == axes


@pytest.mark.slow
def test_further_seeds_run_code_only_where_the_user_names_it(here, capsys):
    assert command(["pareto", "results/own", "--reseed", "1", "--workers", "0"]) == 2
    said = capsys.readouterr().err
    assert "this code is named in a file, and runs only where you name it too" in " ".join(said.split())
    assert f"--objectives error,{OWN}" in said
    words = ["pareto", "results/own", "--reseed", "1", "--workers", "0", "--objectives", f"error,{OWN}"]
    assert command(words) == 0
    assert "1 epoch, 1 seed" in capsys.readouterr().out
