"""Plain Optuna over our spaces: trials, samplers, pruners and importances; its dashboard on our files."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings

import optuna
import pytest
from testing.paths import ROOT

import nas
from nas.space.space import parse_space, space_names

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
def test_a_run_is_an_optuna_study(run):
    """Another sampler can go on from its trials, in memory; the file stays as it is."""
    recorded = optuna.load_study(study_name=run.name, storage=f"sqlite:///{run.files.database}")
    assert recorded.metric_names == ["error", "flops"]
    assert {trial.number for trial in recorded.best_trials} == {trial.number for trial in run.front()}
    study = optuna.create_study(directions=recorded.directions, sampler=optuna.samplers.TPESampler(seed=0))
    study.add_trials(recorded.trials)
    assert run.space.suggest(study.ask()) in run.space


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Some regimes for parameter")
def test_optuna_dashboard_reads_a_run(run):
    dashboard = pytest.importorskip("optuna_dashboard", reason="pip install optuna-dashboard")
    app = dashboard.wsgi(f"sqlite:///{run.files.database}")

    def get(path):
        environment = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO()}
        environment |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.errors": sys.stderr}
        environment |= {"wsgi.url_scheme": "http", "QUERY_STRING": "after=0"}
        said = []
        body = b"".join(app(environment, lambda status, headers, exc_info=None: said.append(status)))
        assert said == ["200 OK"], path
        return json.loads(body)

    (study,) = get("/api/studies")["study_summaries"]
    assert study["study_name"] == run.name
    shown = get(f"/api/studies/{study['study_id']}")
    assert shown["objective_names"] == ["error", "flops"]
    assert {trial["number"]: trial["values"] for trial in shown["trials"]} == {
        trial.number: list(trial.values(("error", "flops"))) for trial in run.study.trials
    }
    assert get(f"/api/studies/{study['study_id']}/param_importances")["param_importances"]


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
