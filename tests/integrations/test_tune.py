"""Ray Tune on search spaces of nas: proposals, training and records, and the example with ASHA."""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
from ray import tune
from testing.paths import ROOT

import nas
from nas.analysis.analyze import STOPPED
from nas.analysis.table import trial_table
from nas.analysis.text.pareto import pareto_text
from nas.errors import NasError
from nas.integrations import ray_trainable as trainable
from nas.integrations.ray_trainable import DECISIONS, SEED, curve, read_checkpoint, train_decisions
from nas.integrations.ray_tune import tune_run
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.study.trial import Proposal, Trial

EXAMPLE = ROOT / "examples" / "tune_asha.py"
DATA = "digits?limit=60"


def new_run(folder: Path, **settings: Any) -> Any:
    asked = {"data": DATA, "epochs": 2, "trials": 4, "name": "job", "results_dir": folder}
    return tune_run("residual_vs_fractal", **(asked | settings))


def test_the_searcher_proposes_as_a_search_does(tmp_path):
    ours = new_run(tmp_path, seed=3)
    proposals = [ours.searcher.suggest(f"id{number}") for number in range(6)]
    history = nas.study.study.History(("error", "flops"))
    for number, proposed in enumerate(proposals):
        expected = propose(
            make_searcher("hypervolume", ("error", "flops")), ours.space, history, seed=3, number=number
        )
        history.mark_running(number, expected.genotype.digest)
        assert proposed[DECISIONS] == ours.space.decisions(expected.genotype)
    assert len({proposed[SEED] for proposed in proposals}) == 6


def test_a_restored_searcher_knows_what_is_in_flight(tmp_path):
    ours = new_run(tmp_path)
    for number in range(3):
        ours.searcher.suggest(f"id{number}")
    ours.searcher.save(str(tmp_path / "state"))
    searcher, recorder = pickle.loads(pickle.dumps((ours.searcher, ours.recorder)))
    assert searcher.run is recorder.run
    searcher.restore(str(tmp_path / "state"))
    assert searcher.run.proposed == ours.proposed
    assert searcher.run.study.pending == ours.study.pending
    assert searcher.suggest("id3") == ours.searcher.suggest("id3")


def test_configurations_hold_the_recipe_of_a_candidate(tmp_path):
    text = nas.load_space("residual_vs_fractal").to_yaml() + "recipe: {lr: [0.1, 0.2]}\n"
    (tmp_path / "joint.yaml").write_text(text)
    ours = tune_run(tmp_path / "joint.yaml", data=DATA, trials=4, name="job", results_dir=tmp_path)
    configs = [ours.searcher.suggest(f"id{number}") for number in range(6)]
    assert {config[DECISIONS]["recipe.lr"] for config in configs} == {0.1, 0.2}
    ours.searcher.save(str(tmp_path / "state"))
    searcher = pickle.loads(pickle.dumps(ours.searcher))
    searcher.restore(str(tmp_path / "state"))
    assert searcher.run.proposed == ours.proposed
    assert searcher.run.study.pending == ours.study.pending
    for config, (_, proposal) in zip(configs, ours.proposed.values(), strict=True):
        assert trainable.genotype_of(ours.space, config) == proposal.genotype
    with pytest.raises(NasError, match="is a decision of the space"):
        train_decisions({**configs[0], "lr": 0.3}, space=ours.space, dataset=ours.dataset, recipe=ours.recipe)


def test_a_design_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(NasError, match="paired plans equal trainings"):
        new_run(tmp_path, searcher="paired")
    assert not list(tmp_path.iterdir())


def test_a_stopped_trial_is_recorded_and_on_no_front(tmp_path):
    ours = new_run(tmp_path)
    genotypes = [ours.space.sample(seed) for seed in range(2)]
    figures = nas.cost(nas.expand(genotypes[0], (1, 8, 8)))
    common = {"cost": figures, "seed": 0, "curve": ({"epoch": 1, "val_error": 0.1},)}
    for number, (state, error) in enumerate((("stopped", 0.1), ("complete", 0.2))):
        proposal, decisions = Proposal(genotypes[number], "tune"), ours.space.decisions(genotypes[number])
        ours.study.record(
            Trial(
                number=number,
                state=state,
                error=error,
                proposal=proposal,
                decisions=decisions,
                epochs=1,
                **common,
            )
        )
    reopened = nas.open_run(ours.folder).study
    assert list(reopened.trials) == list(ours.study.trials)
    assert [trial.number for trial in reopened.front()] == [1]
    assert reopened.frame()["state"].tolist() == ["stopped", "complete"]
    assert [trial.state for trial in reopened.trials] == ["stopped", "complete"]


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Tune's session without Tune: reports with a copy of their checkpoints, and one to start from."""
    reports: list[tuple[dict[str, Any], Path]] = []
    given: list[Path] = []

    def report(row, checkpoint=None):
        kept = tmp_path / f"checkpoint{len(reports)}"
        shutil.copytree(checkpoint.path, kept)
        reports.append((row, kept))

    monkeypatch.setattr(tune, "report", report)
    monkeypatch.setattr(
        tune, "get_checkpoint", lambda: tune.Checkpoint.from_directory(str(given[-1])) if given else None
    )
    monkeypatch.setattr(trainable.ray, "get_gpu_ids", list)
    return reports, given


@pytest.mark.slow
def test_a_trial_continues_the_checkpoint_of_another_with_its_own_recipe(tmp_path, session):
    """As population based training asks of it."""
    reports, given = session
    ours = new_run(tmp_path)
    shared = {"space": ours.space, "dataset": ours.dataset, "recipe": ours.recipe}
    config = ours.searcher.suggest("first")
    train_decisions({**config, "lr": 0.1}, **shared)
    (first, halfway), (second, _) = reports
    assert [first["epoch"], second["epoch"]] == [1, 2]
    assert first["flops"] == nas.cost(nas.expand(ours.proposed["first"][1].genotype, (1, 8, 8))).flops
    given.append(halfway)
    train_decisions({**config, SEED: 7, "lr": 0.4, "weight_decay": 0.01}, **shared)
    third, last = reports[2]
    assert third["epoch"] == 2
    state = read_checkpoint(tune.Checkpoint.from_directory(str(last)))
    rows = curve(state, ["lr", "weight_decay"])
    assert [(row["epoch"], row["lr"], row["weight_decay"]) for row in rows] == [
        (1, 0.1, 5e-4),
        (2, 0.4, 0.01),
    ]
    assert rows[0]["val_loss"] == first["val_loss"]
    assert {group["weight_decay"] for group in state["optimizer"]["param_groups"]} == {0.01, 0.0}
    given[:] = [halfway]
    train_decisions({**config, "lr": 0.1}, **shared)
    assert reports[3][0]["val_loss"] == second["val_loss"]  # the same recipe goes on as if never stopped


@pytest.mark.slow
def test_a_checkpoint_of_other_hardware_keeps_its_precision(tmp_path, session, monkeypatch):
    reports, given = session
    run = new_run(tmp_path)
    shared = {"space": run.space, "dataset": run.dataset, "recipe": replace(run.recipe, precision="auto")}
    config = run.searcher.suggest("first")
    monkeypatch.setattr("nas.training.precision.hardware_precision", lambda device: "bfloat16")
    train_decisions(config, **shared)
    given.append(reports[0][1])
    monkeypatch.setattr("nas.training.precision.hardware_precision", lambda device: "float32")
    train_decisions({**config, "lr": 0.4}, **shared)
    states = [read_checkpoint(tune.Checkpoint.from_directory(str(place))) for _, place in reports]
    assert [state["identity"]["precision"] for state in states] == ["bfloat16"] * 3


def ended(name: str, config: dict[str, Any], folder: Path, **last: Any) -> Any:
    """What the recorder reads of a trial of Tune."""
    checkpoint = tune.Checkpoint.from_directory(str(folder))
    return SimpleNamespace(
        trial_id=name,
        config=config,
        checkpoint=checkpoint,
        last_result={"time_total_s": 2.0, **last},
        get_pickled_error=lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    )


@pytest.mark.slow
def test_a_trial_is_recorded_once(tmp_path, session):
    reports, _ = session
    ours = new_run(tmp_path)
    config = ours.searcher.suggest("first")
    train_decisions(config, space=ours.space, dataset=ours.dataset, recipe=ours.recipe)
    (_, halfway), (_, last) = reports
    number, proposal = ours.proposed["first"]
    for _ in range(2):  # as after a restore
        ours.recorder.on_trial_complete(0, [], ended("first", config, last))
    (trial,) = ours.study.trials
    assert (trial.number, trial.proposal, trial.state, trial.duration) == (number, proposal, "complete", 2.0)
    assert safetensors.torch.load(nas.open_run(ours.folder).weights(trial)).keys()
    ours.recorder.on_trial_complete(0, [], ended("of another searcher", config, halfway))
    ours.recorder.on_trial_complete(0, [], ended("other", config, halfway, diverged=True, epoch=2))
    ours.recorder.on_trial_error(0, [], ended("last", config, halfway))
    ours.recorder.on_trial_complete(0, [], ended("of its own rate", {**config, "lr": 0.03}, last))
    assert [trial.recipe for trial in ours.study.trials] == [{}] * 4 + [{"lr": 0.03}]
    assert trial_table(nas.open_run(ours.folder).study)["recipe_by_type"].tolist() == [False] * 4 + [True]
    outcomes = [(trial.state, trial.reason, trial.epochs) for trial in ours.study.trials[:4]]
    assert outcomes[1:] == [("stopped", "", 1), ("failed", "diverged", 1), ("failed", "oom", 1)]
    assert {trial.proposal.proposer for trial in ours.study.trials[1:]} == {"tune"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objectives": ("error", "latency")}, "latency is not measured here"),
        ({"trails": 5}, "trails"),
        ({"fidelity": (1, 2)}, "fidelity"),
        ({"seconds": 5.0}, "seconds"),
    ],
)
def test_settings_without_an_effect_are_refused(tmp_path, settings, message):
    with pytest.raises((NasError, TypeError), match=message):
        new_run(tmp_path, **settings)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The run of the example and what it printed."""
    folder = tmp_path_factory.mktemp("asha")
    options = ["--data", "digits?limit=400", "--epochs", "6", "--name", "asha", "--cpus", "2"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=os.environ | {"RAY_AUTH_TOKEN": secrets.token_hex(32)},  # else Ray writes one to the home folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return nas.open_run(folder / "results" / "asha"), done.stdout


@pytest.mark.slow
def test_asha_fills_a_run_folder_that_nas_reads(example, tmp_path):
    run, output = example
    assert f"best: trial {run.best().number}" in output
    assert len(run.study.trials) == 12
    full = [trial for trial in run.study.trials if trial.epochs == 6]
    stopped = [trial for trial in run.study.trials if trial.epochs < 6]
    assert {trial.state for trial in full} == {"complete"}
    assert {trial.state for trial in stopped} == {"stopped"}
    assert all(len(trial.curve) == trial.epochs for trial in run.study.trials)
    assert {trial.number for trial in run.front()} <= {trial.number for trial in full}
    analysis = nas.analyze(run)
    assert analysis.networks == len(full)
    assert STOPPED in analysis.notes
    assert [comparison.sample for comparison in analysis.comparisons] == ["networks that the search visited"]
    assert f"{len(stopped)} trials stopped early" in pareto_text(run.study)
    (exported,) = nas.export(run, [run.best()], tmp_path / "exported", weights=True)
    assert exported.weights
