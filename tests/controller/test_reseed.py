"""Networks of a front trained again with further seeds: real trainings, recorded once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import run as nas_command
from nas.controller.reseed import reseed, training_seed
from nas.controller.signals import Interrupted
from nas.errors import LockedError, NasError, NotFoundError
from nas.study import run_folder

SPACE = """
name: tiny
description: One block of two types.
stem: {type: conv, width: 2}
modules:
  residual: {}
  plain: {}
stages:
  - {depth: [1, 2], width: [2, 4]}
head: {type: pool}
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with a finished run of four trials."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    run = nas.search(
        tmp_path / "tiny.yaml",
        data="digits?limit=150",
        epochs=1,
        trials=4,
        workers=0,
        name="first",
        results_dir=tmp_path / "results",
    )
    run.study.close()
    return tmp_path / "results"


def again(results: Path, seeds: int, **settings: Any) -> Any:
    run = reseed("first", seeds, results_dir=results, **{"workers": 0} | settings)
    run.study.close()
    return run


def test_each_network_is_trained_once_per_seed_beside_the_search(results: Path) -> None:
    before = (results / "first" / "study.db").read_bytes(), (results / "first" / "config.json").read_bytes()
    with nas.open_run("first", results).study as study:
        front = {trial.digest for trial in study.front()}
        trials = len(study.trials)
    first = again(results, 2)
    recorded = first.reseeded
    pairs = [(trial.digest, trial.seed) for trial in recorded]
    seeds = {training_seed(first, repeat) for repeat in range(2)}
    assert sorted(pairs) == sorted((digest, seed) for digest in front for seed in seeds)
    assert {trial.seed for trial in first.study.trials}.isdisjoint(seeds)

    told: list[Any] = []
    again(results, 2, on_start=lambda *args: told.append(args))
    assert told == []
    more = again(results, 3).reseeded
    assert len(more) == 3 * len(front)
    assert more[: len(pairs)] == recorded
    longer = again(results, 1, epochs=2).reseeded
    assert longer[: len(more)] == more
    assert [trial.epochs for trial in longer[len(more) :]] == [2] * len(front)

    after = (results / "first" / "study.db").read_bytes(), (results / "first" / "config.json").read_bytes()
    assert before == after
    resumed = nas.search(name="first", results_dir=results, resume=True, trials=trials, workers=0)
    with resumed.study:
        assert len(resumed.study.trials) == trials


def test_equal_seeds_give_equal_errors(results: Path, tmp_path: Path) -> None:
    found = [trial.error for trial in again(results, 1).reseeded]
    (results / "first" / "reseeded.db").unlink()
    assert [trial.error for trial in again(results, 1).reseeded] == found


def test_ctrl_c_loses_nothing_and_the_same_command_continues(results: Path) -> None:
    done: list[int] = []

    def stop_after_the_first(trial: Any, progress: Any) -> None:
        import signal

        done.append(trial.number)
        if len(done) == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        again(results, 3, on_trial=stop_after_the_first)
    assert caught.value.exit_code == 130
    assert "the same command continues" in str(caught.value)
    with nas.open_run("first", results).study:
        recorded = nas.open_run("first", results).reseeded
    assert len(recorded) == len(done) >= 1
    missing: list[Any] = []
    whole = again(results, 3, on_start=lambda found, *_: missing.extend(found))
    assert len(whole.reseeded) == len(recorded) + len(missing)
    assert len({(trial.digest, trial.seed) for trial in whole.reseeded}) == len(whole.reseeded)


def test_trials_are_named_or_refused(results: Path) -> None:
    chosen = again(results, 1, trials=[3]).reseeded
    assert [trial.proposal.design["trial"] for trial in chosen] == [3]
    with pytest.raises(NotFoundError, match="no trial 99"):
        again(results, 1, trials=[99])
    with pytest.raises(NasError, match="at least 1"):
        again(results, 0)


def test_other_data_are_refused(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.data import load_data

    monkeypatch.setattr("nas.data.load_recorded", lambda name, seed: load_data("digits?limit=160", seed=seed))
    with pytest.raises(NasError, match="not those of the search"):
        again(results, 1)
    assert not (results / "first" / "reseeded.db").exists()


def test_a_run_that_another_process_writes_is_refused(results: Path) -> None:
    with run_folder.lock_run(run_folder.find_run("first", results)), pytest.raises(LockedError):
        again(results, 1)


@pytest.mark.slow
def test_the_command_trains_shows_marks_and_draws(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = ["pareto", "first", "--results-dir", str(results)]
    assert nas_command([*plain, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reseeded"] == []
    plot = results / "front.png"
    assert nas_command([*plain, "--reseed", "2", "--workers", "0", "--plot", str(plot)]) == 0
    shown = capsys.readouterr()
    assert "1 epoch, 2 seeds" in shown.out
    assert "on front" in shown.out
    assert "trainings of" in shown.err
    assert plot.stat().st_size > 1000
    assert nas_command([*plain, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (budget,) = found["reseeded"]
    assert {m["trial"] for m in budget["members"]} == {row["trial"] for row in found["front"]}
    assert all(m["low"] <= m["mean"] <= m["high"] for m in budget["members"])
    assert nas_command([*plain, "--reseed", "1", "--workers", "0", "--epochs", "2"]) == 0
    assert "Rank correlation of errors between 1 and 2 epochs" in capsys.readouterr().out.replace("\n", " ")


def test_epochs_without_reseed_are_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert nas_command(["pareto", "first", "--results-dir", str(results), "--epochs", "2"]) == 2
    assert "--reseed K" in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_record_the_same_errors_as_this_process(results: Path) -> None:
    alone = {(t.digest, t.seed): t.error for t in again(results, 2).reseeded}
    (results / "first" / "reseeded.db").unlink()
    assert {(t.digest, t.seed): t.error for t in again(results, 2, workers=2).reseeded} == alone
