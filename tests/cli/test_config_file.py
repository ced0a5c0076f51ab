"""Options from a file, the file that repeats a run, and a budget in time."""

from __future__ import annotations

import json

import pytest
import yaml
from testing.small_spaces import TINY

import nas
from nas.cli import run as command

SEARCH = "search --data digits?limit=60 --epochs 1 --workers 0"


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_of_a_run_repeats_it(here, capsys):
    words = [*SEARCH.split(), "--space", "tiny.yaml", "--recipe", "lr=0.1,class_weights.3=2.5", "--seed", "5"]
    assert command([*words, "--trials", "3", "--name", "a"]) == 0
    (here / "tiny.yaml").unlink()
    assert command(["search", "--config", "results/a/search.yaml", "--name", "b", "--workers", "0"]) == 0
    with (a := nas.open_run("a")).study, (b := nas.open_run("b")).study:
        assert a.config == b.config
        assert a.config.recipe.class_weights == {"3": 2.5}
        shown = [[(trial.digest, trial.error, trial.seed) for trial in run.study.trials] for run in (a, b)]
        assert shown[0] == shown[1]
        assert len(shown[0]) == 3
    assert "nas search --config search.yaml" in (here / "results/a/search.yaml").read_text()


def test_the_file_follows_the_run(here):
    assert command([*SEARCH.split(), "--space", "tiny.yaml", "--trials", "1", "--name", "a"]) == 0
    assert command(["search", "--resume", "--name", "a", "--trials", "2", "--workers", "0"]) == 0
    assert yaml.safe_load((here / "results/a/search.yaml").read_text())["trials"] == 2


def test_an_option_of_the_command_line_comes_before_the_file(here, capsys):
    (here / "s.yaml").write_text(
        "space: tiny.yaml\ndata: digits?limit=60\ntrials: 2\nepochs: 1\nobjectives: [error, params]\n"
        "recipe: {lr: 0.05}\n"
    )
    assert command(["search", "--config", "s.yaml", "--trials", "7", "--dry-run", "--json"]) == 0
    config = json.loads(capsys.readouterr().out)["config"]
    assert (config["trials"], config["objectives"]) == (7, ["error", "params"])
    assert (config["recipe"]["lr"], config["recipe"]["epochs"]) == (0.05, 1)
    both = ["search", "--config", "s.yaml", "--dry-run", "--json", "--recipe"]
    for fields, rates in (("weight_decay=0.001", (0.05, 0.001)), ("lr=0.2,weight_decay=0.001", (0.2, 0.001))):
        assert command([*both, fields]) == 0
        recipe = json.loads(capsys.readouterr().out)["config"]["recipe"]
        assert (recipe["lr"], recipe["weight_decay"]) == rates


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("space: tiny.yaml\ntrails: 3\n", "s.yaml:2: no option 'trails'\n  did you mean 'trials'?"),
        ("resume: true\n", "s.yaml:1: no option 'resume'"),
        ("- 3\n", "s.yaml: holds no options"),
        ("trials: many\nspace: tiny.yaml\n", "'many' is not a valid int"),
        ("space: tiny.yaml\ntrials:\n", "s.yaml:2: has no value"),
        ("space: tiny.yaml\ndata: python:os:getcwd\n", "this code is named in a file"),
        ("space: tiny.yaml\nobjectives: [error, python:os:getcwd]\n", "this code is named in a file"),
        ("space: {name: x}\n", "space of --config"),
    ],
)
def test_a_file_that_is_wrong_is_refused(text, said, here, capsys):
    (here / "s.yaml").write_text(text)
    assert command(["search", "--config", "s.yaml"]) == 2
    assert said in capsys.readouterr().err
    assert not (here / "results").exists()


def test_a_file_that_is_missing_is_named(here, capsys):
    assert command(["search", "--config", "none.yaml"]) != 0
    assert "none.yaml" in capsys.readouterr().err


def test_the_objectives_are_listed(capsys):
    assert command(["search", "--objectives", "help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["objective", "unit", "known", "meaning"]
    assert any(line.startswith("latency") and " ms " in line for line in lines)


def test_a_search_ends_with_its_time_and_records_how_many_trials_it_took(here, capsys):
    words = [*SEARCH.split(), "--space", "tiny.yaml", "--time", "1s", "--name", "timed"]
    assert command(words) == 0
    streams = capsys.readouterr()
    with (timed := nas.open_run("timed")).study:
        trials = len(timed.study.trials)
        assert 1 <= trials == timed.config.trials < 1000
    assert "as many candidates as fit in 0:01" in streams.err
    assert f"\n{trials:>2}  #" in streams.err
    assert command(["search", "--resume", "--name", "timed", "--workers", "0"]) == 0
    assert f"All {trials} trials are recorded already" in capsys.readouterr().out


def test_the_file_of_a_run_that_searched_the_recipe_repeats_it(here):
    (here / "tiny.yaml").write_text(TINY + "recipe: {lr: [0.05, 0.1]}\n")
    words = [*SEARCH.split(), "--space", "tiny.yaml", "--trials", "2", "--name", "a"]
    assert command(words) == 0
    assert command(["search", "--config", "results/a/search.yaml", "--name", "b", "--workers", "0"]) == 0
    with (a := nas.open_run("a")).study, (b := nas.open_run("b")).study:
        assert a.config == b.config
        assert [trial.error for trial in a.study.trials] == [trial.error for trial in b.study.trials]


def test_a_search_that_time_limits_is_resumed_with_a_limit(here, capsys):
    class Stopped(Exception):
        pass

    def stop(trial, progress):
        raise Stopped

    settings = {"data": "digits?limit=60", "epochs": 1, "workers": 0, "name": "a", "results_dir": "results"}
    with pytest.raises(Stopped):
        nas.search("tiny.yaml", seconds=3600, on_trial=stop, **settings)
    assert "trials" not in yaml.safe_load((here / "results/a/search.yaml").read_text())
    assert command(["search", "--resume", "--name", "a", "--workers", "0"]) == 2
    assert "was limited by time" in capsys.readouterr().err
    assert command(["search", "--resume", "--name", "a", "--workers", "0", "--trials", "2"]) == 0


def test_two_numbers_of_epochs_are_refused(here, capsys):
    assert command([*SEARCH.split(), "--space", "tiny.yaml", "--recipe", "epochs=3"]) == 2
    assert "epochs: 3 in the recipe, and 1 beside it" in capsys.readouterr().err


def test_the_plan_of_a_search_takes_no_longer_than_its_limits(here, capsys):
    for limit, most in ((["--time", "7s"], 7), (["--trials", "100000"], 60)):
        assert command([*SEARCH.split(), "--space", "tiny.yaml", *limit, "--dry-run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["seconds"] <= most
    assert command([*SEARCH.split(), "--space", "tiny.yaml", "--time", "7s", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "the search ends when all are tried\n" in out
    assert "as many candidates as fit in 0:07" in out
