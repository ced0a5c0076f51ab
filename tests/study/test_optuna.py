"""Plain Optuna over our spaces: trials, samplers, pruners and importances; our runs as its studies."""

from __future__ import annotations

import subprocess
import sys
import warnings

import optuna
import pytest
from testing.paths import ROOT
from testing.trials import OBJECTIVE_NAMES, SPACE, a_trial

import nas
from nas.space.load import parse_space, space_names
from nas.study.optuna_study import to_optuna
from nas.study.study import Study

SAMPLERS = ("Random", "TPE", "NSGAII", "NSGAIII", "GP", "BruteForce")


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("name", space_names())
def test_a_trial_with_the_decisions_of_a_genotype_suggests_it(name):
    space = nas.load_space(name)
    for seed in range(3):
        genotype = space.sample(seed)
        trial = optuna.trial.FixedTrial(space.decisions(genotype))
        assert space.suggest(trial) == genotype


def test_a_trial_that_breaks_the_constraints_is_pruned():
    space = nas.load_space("residual_vs_fractal")
    text = space.to_yaml().replace("max: 100000000", "max: 10")
    assert text != space.to_yaml()
    tight = parse_space(text, "tight")
    study = optuna.create_study()
    study.optimize(lambda trial: tight.suggest(trial) and 0.0, n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 3
    with pytest.raises(optuna.TrialPruned, match=r"flops .* is above 10"):
        tight.suggest(study.ask())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches_a_space(sampler):
    """Two objectives that need no training; what a study holds builds the network again."""
    space = nas.load_space("basic_vs_bottleneck")

    def objective(trial):
        figures = nas.cost(nas.expand(space.suggest(trial), space.input_shape, space.num_classes))
        trial.set_user_attr("params", figures.params)
        return figures.flops, -figures.params

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        seeded = getattr(optuna.samplers, f"{sampler}Sampler")(seed=0)
        study = optuna.create_study(directions=["minimize"] * 2, sampler=seeded)
        study.optimize(objective, n_trials=12)
    complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert len(complete) >= 4
    for trial in complete:
        genotype = space.suggest(optuna.trial.FixedTrial(trial.params))
        assert nas.cost(nas.expand(genotype)).params == trial.user_attrs["params"]


@pytest.mark.filterwarnings("ignore:Some regimes for parameter")
def test_importances_find_the_decision_that_alone_decides():
    space = nas.load_space("residual_vs_fractal")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    width = {48: 0.0, 64: 1.0}

    def objective(trial):
        space.suggest(trial)
        return width[trial.params["stage3.width"]]

    study.optimize(objective, n_trials=40)
    importances = optuna.importance.get_param_importances(study)
    assert next(iter(importances)) == "stage3.width"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return nas.search(
        "residual_vs_fractal",
        data="digits?limit=80",
        trials=4,
        epochs=1,
        workers=0,
        results_dir=tmp_path_factory.mktemp("results"),
    )


@pytest.mark.slow
def test_a_run_as_an_optuna_study(run):
    """Another sampler can go on from its trials, in memory; the file stays as it is."""
    before = run.files.database.read_bytes()
    converted = run.to_optuna()
    assert converted.study_name == run.name
    assert converted.metric_names == ["error", "flops"]
    assert {trial.number for trial in converted.best_trials} == {trial.number for trial in run.front()}
    study = optuna.create_study(directions=converted.directions, sampler=optuna.samplers.TPESampler(seed=0))
    study.add_trials(converted.trials)
    assert run.space.suggest(study.ask()) in run.space
    assert run.files.database.read_bytes() == before


def test_every_trial_is_converted(tmp_path):
    """Also failed and stopped ones; the order is that of the numbers."""
    curve = ({"epoch": 1, "val_error": 0.75}, {"epoch": 2, "val_error": 0.5})
    trials = [
        a_trial(0, curve=curve),
        a_trial(2, reason="oom", message="out of memory", curve=()),
        a_trial(1, state="stopped", error=0.75, curve=curve[:1]),
    ]
    path = tmp_path / "study.db"
    with Study.create(path, objectives=OBJECTIVE_NAMES, domains=SPACE.domains()) as study:
        for trial in trials:
            study.record(trial)
        converted = to_optuna(study, "mine")
    assert converted.directions == [optuna.study.StudyDirection.MINIMIZE] * 2
    by_number = {trial.number: trial for trial in trials}
    for made in converted.trials:
        trial = by_number[made.number]
        assert made.params == trial.decisions
        assert made.user_attrs["digest"] == trial.digest
        assert made.user_attrs["number"] == trial.number
        assert made.user_attrs["flops"] == trial.flops
        assert made.duration.total_seconds() == pytest.approx(trial.duration)
        for name, distribution in made.distributions.items():
            assert distribution.choices == tuple(SPACE.domains()[name])
    complete, stopped, failed = converted.trials
    assert [made.state.name for made in converted.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert complete.values == [trials[0].error, trials[0].flops]
    assert complete.intermediate_values == {1: 0.75, 2: 0.5}
    assert stopped.intermediate_values == {1: 0.75}
    assert (failed.user_attrs["reason"], failed.user_attrs["message"]) == ("oom", "out of memory")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PedAnovaImportanceEvaluator computes")
def test_optuna_measures_importance(tmp_path):
    with Study.create(tmp_path / "study.db", objectives=OBJECTIVE_NAMES, domains=SPACE.domains()) as study:
        for number in range(20):
            study.record(a_trial(number))
        found = optuna.importance.get_param_importances(
            to_optuna(study, "mine"),
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
            target=lambda trial: trial.values[0],
        )
    assert found
    assert set(found) <= set(SPACE.domains())


@pytest.mark.slow
def test_the_example_searches_prunes_and_ranks(tmp_path):
    command = [sys.executable, str(ROOT / "examples" / "plain_optuna.py")]
    options = ["--data", "digits?limit=100", "--trials", "6", "--epochs", "2"]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout
    assert "validation error" in done.stdout
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'plain_optuna.db'}")
    assert len(study.trials) == 6
    assert all(trial.intermediate_values for trial in study.trials if trial.state.name == "COMPLETE")
