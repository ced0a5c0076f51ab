"""Equal seeds give equal searches, and a replay proposes the same again."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from testing.paths import ROOT
from testing.small_spaces import LARGER
from testing.stranger import change_trial, copied

import nas
from nas.cli import run as nas_command
from nas.controller.begin import write_run
from nas.controller.config import SearchConfig, prepare
from nas.controller.loop import run_search
from nas.controller.replay import replay
from nas.schedulers import make_scheduler
from nas.searchers import make_searcher
from nas.searchers.base import propose
from nas.space.load import parse_space
from nas.study import run_folder
from nas.study.history import History
from nas.study.run import Run
from nas.study.run_folder import RunFolder
from nas.study.study import Study
from nas.study.trial import HistorySnapshot, Trial
from nas.training.task import Result, Task

SPACE = "residual_vs_fractal"
TRIALS = 22
RUNGS = (1, 2, 4)


class Shuffled:
    """Evaluator of four slots whose trainings end in random order; raises after `ends` results."""

    slots = 4

    def __init__(self, seed: int, ends: int) -> None:
        self.rng, self.left = np.random.default_rng(seed), ends
        self.tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def wait(self, timeout: float | None = None, **callbacks: object) -> list[Result]:
        if not self.left:
            raise MemoryError  # the driver is lost, with the trainings in progress
        self.left -= 1
        task = self.tasks.pop(int(self.rng.integers(len(self.tasks))))
        errors = np.random.default_rng(task.seed).random(RUNGS[-1])
        if task.part is None:
            failed = task.number % 7 == 3
            outcome = {"state": "failed", "reason": "diverged"} if failed else {"error": float(errors[0])}
            return [Result(task.number, **{"state": "complete", **outcome})]
        done, until = task.part.done, task.part.until
        rows = tuple({"epoch": at + 1, "val_error": float(errors[at])} for at in range(done, until))
        if task.number % 7 == 3 and done:
            return [Result(task.number, "failed", "diverged", curve=rows[:1])]
        if until == RUNGS[-1]:
            return [Result(task.number, "complete", error=float(errors[-1]), curve=rows)]
        return [Result(task.number, "stopped", error=rows[-1]["val_error"], curve=rows, checkpoint=b"state")]

    def drain(self) -> None:
        pass

    def close(self) -> None:
        self.tasks.clear()


def finished(folder: Path, searcher: str, ends: int = 1000, **settings: Any) -> Run:
    """Return a run whose driver was lost after every `ends` results, resumed until done."""
    space = parse_space(LARGER, "small.yaml")
    settings |= {"data": "digits?limit=60", "trials": TRIALS, "searcher": searcher, "seed": 5}
    files = run_folder.create_run(folder, space.name, "run")
    write_run(files, *prepare(space, **settings))
    for session in range(100):
        try:
            with Study.open(files.database) as study:
                fill(files, study, prepare(space, **settings)[0], Shuffled(session, ends))
        except MemoryError:
            continue
        return nas.open_run(files.path)
    raise AssertionError("the run does not end")


def fill(files: RunFolder, study: Study, config: SearchConfig, evaluator: Shuffled) -> None:
    """Search as a new driver, whose searcher has kept nothing."""
    scheduler = make_scheduler(config.fidelity, study, config.space, folder=files.rungs)
    run_search(config, study, evaluator, scheduler=scheduler)


def check_replay(run: Run, searcher: str) -> None:
    """Hypervolume reads the networks in training, and some were lost with their driver."""
    replayed = replay(run)
    assert replayed.differs is None
    assert replayed.same + len(replayed.unknown) == TRIALS
    assert len(replayed.unknown) <= (6 if searcher == "hypervolume" else 0)


@pytest.mark.parametrize(
    "searcher",
    [
        "random",
        "evolution",
        "hypervolume",
        "optuna:tpe",
        "optuna:nsgaii",
        "optuna:nsgaiii",
        "paired",
        "balanced",
    ],
)
def test_proposals_to_several_workers_are_replayed(tmp_path: Path, searcher: str) -> None:
    with (run := finished(tmp_path, searcher, 8)).study as study:
        numbers = [trial.number for trial in study.trials]
        assert numbers != sorted(numbers) == list(range(TRIALS))
        known = [trial.proposal.snapshot for trial in study.trials]
        assert max(len(snapshot.pending) for snapshot in known if snapshot) == Shuffled.slots - 1
        check_replay(run, searcher)


@pytest.mark.parametrize(
    "searcher",
    [
        "evolution",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("hypervolume", "random", "optuna:tpe")),
    ],
)
def test_proposals_between_rungs_are_replayed(tmp_path: Path, searcher: str) -> None:
    with (run := finished(tmp_path, searcher, 8, fidelity=RUNGS)).study as study:
        assert {trial.state for trial in study.trials} == {"complete", "stopped", "failed"}
        places = sorted(place for trial in study.trials for place in trial.rung_order)
        assert places == list(range(1, len(places) + 1))
        assert any(trial.proposal.snapshot.rung_results for trial in study.trials)
        check_replay(run, searcher)


def test_rung_results_change_what_evolution_proposes(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    with (run := finished(tmp_path, "evolution", 8, fidelity=RUNGS)).study as study:
        study._trials = [replace(trial, rung_order=()) for trial in study.trials]
        assert replay(run).differs is not None


def test_a_search_that_measures_latency_at_rungs_is_not_replayed(tmp_path: Path) -> None:
    """Only the latency of the last rung is recorded."""
    history = History(("error", "latency"))
    space = parse_space(LARGER, "small.yaml").with_input((1, 8, 8), 10)
    searcher = make_searcher("random", history.objectives)
    first = propose(searcher, space, history, seed=0, number=0)
    assert first is not None
    assert first.snapshot == HistorySnapshot(0)
    history.mark_running(0, first.genotype.digest)
    waiting = Trial(
        number=0,
        proposal=first,
        state="stopped",
        cost=nas.cost(nas.expand(first.genotype, (1, 8, 8))),
        decisions={},
        seed=0,
        epochs=1,
        error=0.5,
        rung_order=(1,),
    )
    history.pause(waiting)
    second = propose(searcher, space, history, seed=0, number=1)
    assert second is not None
    assert second.snapshot is None


def test_warm_starts_are_replayed(tmp_path: Path) -> None:
    with (run := finished(tmp_path, "evolution", 8, seed_with=("resnet20", "fractalnet20"))).study:
        assert run.trial(0).proposal.proposer == "seed:resnet20"
        assert replay(run).same == TRIALS


def test_the_first_difference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(tmp_path, "evolution")
    run.study.close()
    config = run_folder.read_config(run.files)
    versions = {**config.versions, "numpy": "1.0"}
    run_folder.write_config(run.files, config.model_copy(update={"seed": 6, "versions": versions}))
    assert nas_command(["replay", str(run.folder), "--json"]) == 2
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["same"] == 0
    assert document["differs"]["trial"] == 0
    assert document["differs"]["recorded"] != document["differs"]["proposed"]
    assert "trial 0 is proposed differently" in err
    assert f"numpy 1.0 (now {np.__version__})" in err
    run_folder.write_config(run.files, config.model_copy(update={"seed": 6}))
    assert nas_command(["replay", str(run.folder)]) == 2
    assert "rules may change within a version" in capsys.readouterr().err


def test_a_difference_in_the_middle_is_found(tmp_path: Path) -> None:
    with (run := finished(tmp_path, "evolution")).study as study:
        at = 15
        other = study.trials[at]
        proposal = replace(other.proposal, network=study.trials[at - 1].genotype)
        study._trials[at] = replace(other, proposal=proposal)
        replayed = replay(run)
        assert replayed.differs is not None
        assert replayed.differs.number == other.number
        assert 0 < replayed.same < TRIALS


@pytest.mark.parametrize("ends", [4, 5])
def test_proposals_made_beside_a_lost_network_are_unknown(tmp_path: Path, ends: int) -> None:
    """The hypervolume searcher reads the networks in training, and a snapshot holds only their digests."""
    replayed = replay(finished(tmp_path, "hypervolume", ends=ends))
    assert replayed.differs is None
    assert replayed.unknown
    assert replayed.same + len(replayed.unknown) == TRIALS


def test_a_run_without_snapshots_cannot_be_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(tmp_path / "run")
    for row in range(1, 9):
        change_trial(folder, lambda columns: columns["details"].pop("snapshot"), row)
    assert nas_command(["replay", str(folder.path)]) == 2
    assert "8 of 8 trials do not record the" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_of_one_worker_give_the_same_search(tmp_path: Path) -> None:
    line = f"search --space {SPACE} --data digits?limit=150 --epochs 1 --trials 13 --workers 1 --seed 3"
    runs = []
    for name in ("one", "two"):
        words = [*line.split(), "--name", name, "--results-dir", str(tmp_path)]
        subprocess.run(
            [sys.executable, "cli.py", *words], check=True, cwd=ROOT, capture_output=True, timeout=300
        )
        with nas.open_run(name, tmp_path).study as study:
            runs.append([(t.genotype, t.proposal, t.seed, t.error, figures(t.curve)) for t in study.trials])
        assert nas_command(["replay", name, "--results-dir", str(tmp_path)]) == 0
    assert runs[0] == runs[1]
    assert len(runs[0]) == 13


def figures(curve: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in curve]
