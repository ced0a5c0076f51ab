"""Balanced error and the errors of single classes, from a search to the record and the screen."""

import json
import shlex
from dataclasses import replace

import pytest
from testing.trials import a_trial

import nas
from nas.cli import run as nas_command
from nas.cli._options import Fields
from nas.reports.reproduce import search_command
from nas.study.objectives import objective
from nas.study.trial_json import from_attributes, to_attributes
from nas.training.recipe import Recipe, adjusted


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rare")
    found = nas.search(
        "residual_vs_fractal",
        data="digits?limit=150",
        trials=2,
        epochs=1,
        objectives=("balanced_error", "flops"),
        recipe={"class_weights": "balanced", "sampling": "balanced"},
        workers=0,
        name="rare",
        results_dir=folder,
    )
    found.study.close()
    return folder


def test_a_search_minimises_and_records_them(searched):
    run = nas.open_run("rare", searched)
    trial = run.study.complete[0]
    assert len(trial.class_errors) == 10
    assert trial.objective("balanced_error") == pytest.approx(sum(trial.class_errors) / 10)
    assert run.trials["balanced_error"].tolist() == [t.objective("balanced_error") for t in run.study.trials]
    assert set(nas.pareto_front(run)["balanced_error"]) <= set(run.trials["balanced_error"])
    assert run.config.recipe.sampling == "balanced"


def test_show_lists_them_the_worst_first(searched, capsys):
    errors = nas.open_run("rare", searched).trial(0).class_errors
    where = ["show", "rare", "--trial", "0", "--results-dir", str(searched)]
    assert nas_command(where) == 0
    lines = capsys.readouterr().out.split("worst first:")[1].split("\n")[2:12]
    shown = [(line.split()[0], line.split()[1]) for line in lines]
    assert [error for _, error in shown] == [f"{error:.2%}" for error in sorted(errors, reverse=True)]
    assert all(f"{errors[int(name)]:.2%}" == error for name, error in shown)
    assert nas_command([*where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["class_errors"] == dict(zip("0123456789", errors, strict=True))


def test_a_record_keeps_them_and_refuses_what_is_none():
    trial = replace(a_trial(0), class_errors=(0.25, None, 1.0))
    attributes = to_attributes(trial)
    assert from_attributes(attributes).class_errors == trial.class_errors
    assert "class_errors" not in to_attributes(replace(trial, class_errors=()))
    for wrong in ([1.5], ["a"], [-0.1], 3, [0.5] * 1001):
        with pytest.raises(ValueError, match="class_errors"):
            from_attributes({**attributes, "class_errors": wrong})


@pytest.mark.parametrize("value", [None, "0.1", 7.0, True, float("nan")])
def test_a_curve_without_a_balanced_error_has_none(value):
    row = {"epoch": 1, "val_error": 0.2} | ({} if value is None else {"val_balanced_error": value})
    trial = replace(a_trial(0), curve=(row,))
    assert objective("balanced_error").read(trial) is None
    assert objective("balanced_error").read(replace(trial, curve=())) is None
    good = replace(trial, curve=({"val_balanced_error": 0.125},))
    assert objective("balanced_error").read(good) == 0.125
    assert objective("balanced_error").text(0.125) == "12.50 %"


@pytest.mark.parametrize("weights", ["balanced", {"3": 2.0, "a, b=c.d": 0.5}])
def test_the_command_of_a_report_sets_the_same_recipe(searched, weights):
    run = nas.open_run("rare", searched)
    recipe = replace(run.config.recipe, class_weights=weights)
    words = shlex.split(search_command(replace(run, config=run.config.model_copy(update={"recipe": recipe}))))
    given = Fields().convert(words[words.index("--recipe") + 1], None, None)
    assert adjusted(Recipe(epochs=recipe.epochs), given) == recipe
