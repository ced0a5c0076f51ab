"""Searches whose trainings pause at rungs and go on, also after they were interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from testing.paths import ROOT
from testing.rungs import RUNGS, RungEvaluator

from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig, prepare
from nas.controller.loop import run_search
from nas.controller.signals import Interrupted, Stop
from nas.data import load_data
from nas.errors import NasError, StorageError
from nas.pareto import front
from nas.schedulers import make_scheduler
from nas.schedulers.successive_halving import MIN_TRIALS
from nas.searchers import make_searcher
from nas.searchers.base import Searcher
from nas.space.load import load_space
from nas.study.history import History
from nas.study.run import open_run
from nas.study.study import Study
from nas.study.trial import Proposal
from nas.training.candidate import train_candidate
from nas.training.recipe import Recipe, staged
from nas.training.task import Task


@pytest.fixture(scope="module")
def space():
    return load_space("residual_vs_fractal")


def search(
    space, folder, *, study=None, evaluator=None, searcher="evolution", trials=40, share=0.2, **options
):
    study = History() if study is None else study
    if isinstance(searcher, str):
        searcher = make_searcher(searcher, study.objectives)
    run_search(
        SearchConfig(space, searcher, Recipe(epochs=RUNGS[-1]), trials, seed=7, uniform_share=share),
        study,
        evaluator or RungEvaluator(),
        scheduler=make_scheduler(RUNGS, study, space, folder=folder / "rungs"),
        **options,
    )
    return study


class TestSearch:
    @pytest.mark.slow
    @pytest.mark.parametrize("searcher", ["random", "evolution", "optuna:tpe"])
    def test_most_trials_stop_and_most_of_the_front_goes_on(self, space, tmp_path, searcher):
        evaluator = RungEvaluator()
        study = search(space, tmp_path, evaluator=evaluator, searcher=searcher)
        assert sorted(trial.number for trial in study.trials) == list(range(40))
        states = Counter((trial.state, trial.epochs) for trial in study.trials)
        assert set(states) == {("stopped", 1), ("stopped", 3), ("complete", 9)}
        assert 40 // 9 <= states["complete", 9] < 20
        assert all([r["epoch"] for r in t.curve] == list(range(1, t.epochs + 1)) for t in study.trials)
        assert len(set(evaluator.executed)) == len(evaluator.executed)
        for epochs in RUNGS[:-1]:
            came = [trial for trial in study.trials if trial.epochs >= epochs]
            points = [(trial.curve[epochs - 1]["val_error"], trial.flops) for trial in came]
            going = [came[at].epochs > epochs for at in front(points)]
            assert sum(going) > len(going) / 2  # of the rest not as much is expected
        assert not study.paused
        assert not study.pending
        assert not list((tmp_path / "rungs").iterdir())

    @pytest.mark.parametrize("objectives", [("error",), ("error", "flops", "params")])
    def test_most_of_the_front_of_other_objectives_goes_on_too(self, space, tmp_path, objectives):
        study = search(space, tmp_path, study=History(objectives), searcher="random")
        for epochs in RUNGS[:-1]:
            came = [trial for trial in study.trials if trial.epochs >= epochs]
            points = [(t.curve[epochs - 1]["val_error"], *t.values(objectives[1:])) for t in came]
            going = [came[at].epochs > epochs for at in front(points)]
            assert sum(going) > len(going) / 2  # of the rest not as much is expected
        assert sum(trial.complete for trial in study.trials) < 20

    def test_a_proposal_chosen_by_results_is_not_uniform(self, space, tmp_path):
        study = search(space, tmp_path, searcher="random", trials=30, share=0.2)
        uniform = {trial.number for trial in study.trials if trial.proposal.uniform}
        assert {trial.proposal.proposer for trial in study.trials} == {"random"}
        assert set(range(MIN_TRIALS)) <= uniform
        assert uniform - set(range(MIN_TRIALS + 3)) <= set(range(4, 30, 5))
        assert all((t.proposal.log_probability is None) != t.proposal.uniform for t in study.trials)

    def test_events_tell_of_rungs(self, space, tmp_path):
        events = []
        evaluator = RungEvaluator()
        callbacks = Callbacks(on_event=events.append)
        study = search(space, tmp_path, trials=12, evaluator=evaluator, callbacks=callbacks)
        assert evaluator.most == 3  # no more at once than it has slots
        rungs = [event for event in events if event.kind == "rung"]
        assert {event.row["epoch"] for event in rungs} == {1, 3}
        assert [event.progress.done for event in rungs][-1] == 12
        assert list((tmp_path / "rungs").iterdir()) == []  # each trial was recorded
        for progress in (event.progress for event in rungs):
            assert (progress.remaining is None) == (progress.done == 12 and progress.running > 0)
        assert len(rungs) == sum(1 + (trial.epochs > 1) for trial in study.trials)

    def test_a_trial_that_fails_at_a_rung_is_a_failure(self, space, tmp_path):
        def fails(task):
            return task.part.done == 1 and task.number % 2 == 0

        study = search(space, tmp_path, evaluator=RungEvaluator(fails=fails))
        failed = [trial for trial in study.trials if trial.state == "failed"]
        assert {(trial.reason, trial.epochs, len(trial.curve)) for trial in failed} == {("diverged", 9, 2)}

    def test_an_equal_network_waits_for_the_result_of_the_other(self, space, tmp_path):
        class Twice(Searcher):
            name = "twice"

            def __init__(self):
                pass

            def ask(self, space, history, *, number, **request):
                return [Proposal(space.sample(number // 2), self.name)]

        study = search(space, tmp_path, searcher=Twice(), trials=12, share=0)
        by_number = {trial.number: trial for trial in study.trials}
        copies = [trial for trial in study.trials if trial.duplicate_of is not None]
        assert len(copies) == 6
        for copy in copies:
            origin = by_number[copy.duplicate_of]
            assert (copy.state, copy.error, copy.epochs) == (origin.state, origin.error, origin.epochs)
        assert {copy.state for copy in copies} == {"stopped", "complete"}

    def test_a_longer_search_leaves_stopped_trials_as_they_are(self, space, tmp_path):
        study = search(space, tmp_path)
        stopped = {trial.number for trial in study.trials if trial.state == "stopped"}
        evaluator = RungEvaluator()
        search(space, tmp_path, study=study, trials=60, evaluator=evaluator)
        assert not stopped & {number for number, _, _ in evaluator.executed}
        assert sum(until == 3 for _, _, until in evaluator.executed) < 20


class Killed(BaseException):
    """Ends a process between two lines."""


class TestDurability:
    @pytest.mark.slow
    @pytest.mark.parametrize("ended", [1, 9, 25, 43])
    def test_after_a_kill_only_the_running_trial_is_trained_again(self, space, tmp_path, ended):
        (tmp_path / "whole").mkdir()
        whole = search(space, tmp_path / "whole", evaluator=RungEvaluator(slots=1))
        domains = {path: list(options) for path, options in space.domains().items()}
        count = iter(range(1, 1000))

        def kill(task):
            if next(count) == ended:
                raise Killed

        path = tmp_path / "study.db"
        first = RungEvaluator(slots=1, after=kill)
        objectives = ("error", "flops")
        with Study.create(path, objectives=objectives, domains=domains) as study, pytest.raises(Killed):
            search(space, tmp_path, study=study, evaluator=first)
        (tmp_path / "rungs" / "99-1.checkpoint").write_bytes(b"of a kill before its record was written")
        second = RungEvaluator(slots=1)
        with Study.open(path) as study:
            search(space, tmp_path, study=study, evaluator=second)
            assert first.executed[-1] == second.executed[0]
            again = Counter(first.executed[:-1] + second.executed)
            assert set(again.values()) == {1}
            found = {(t.number, t.digest, t.state, t.epochs, t.error) for t in study.trials}
        assert found == {(t.number, t.digest, t.state, t.epochs, t.error) for t in whole.trials}
        assert not list((tmp_path / "rungs").iterdir())

    def test_ctrl_c_lets_running_trials_reach_their_rung(self, space, tmp_path):
        stop, study = Stop(), History()
        evaluator = RungEvaluator(after=lambda task: stop.request() if task.number == 11 else None)
        with pytest.raises(Interrupted):
            search(space, tmp_path, study=study, evaluator=evaluator, stop=stop)
        assert not evaluator.tasks
        records = {path.stem for path in (tmp_path / "rungs").glob("*.json")}
        states = {path.stem for path in (tmp_path / "rungs").glob("*.checkpoint")}
        assert records == {name.partition("-")[0] for name in states}
        resumed = RungEvaluator()
        search(space, tmp_path, study=study, evaluator=resumed)
        assert len(study.trials) == 40
        assert not set(evaluator.executed) & set(resumed.executed)

    def interrupted(self, space, folder):
        stop = Stop()
        evaluator = RungEvaluator(after=lambda task: stop.request() if task.number == 5 else None)
        with pytest.raises(Interrupted):
            search(space, folder, evaluator=evaluator, stop=stop)
        return sorted((folder / "rungs").glob("*.json"))

    def test_a_record_that_was_changed_is_refused(self, space, tmp_path):
        path = self.interrupted(space, tmp_path)[0]
        held = json.loads(path.read_text())
        path.write_text(json.dumps(held | {"curve": "[]"}))
        with pytest.raises(StorageError, match="changed by hand"):
            search(space, tmp_path)
        path.write_text("{}")
        with pytest.raises(StorageError, match="cannot be read"):
            search(space, tmp_path)

    def test_a_record_of_another_trial_is_refused(self, space, tmp_path):
        paths = self.interrupted(space, tmp_path)
        paths[0].write_bytes(paths[1].read_bytes())
        with pytest.raises(StorageError, match="is of trial"):
            search(space, tmp_path)


class TestSettings:
    def test_the_last_rung_replaces_the_epochs(self, space):
        config, dataset = prepare(space, fidelity=(1, 2))
        assert (config.recipe.epochs, config.run_config(dataset).fidelity) == (2, (1, 2))
        assert prepare(space)[0].fidelity == ()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"searcher": "paired"}, "paired compares equal trainings"),
            ({"searcher": "balanced"}, "balanced compares equal trainings"),
            ({"recipe": {"epochs": 5}}, "the last rung is 9 epochs, but epochs is 5"),
            ({"objectives": ("flops", "params")}, "promotes by error"),
        ],
    )
    def test_settings_that_exclude_halving_are_refused(self, space, settings, message):
        with pytest.raises(NasError, match=message):
            prepare(space, fidelity=RUNGS, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a search on digits, on Ray, and what the command said."""
    results = tmp_path_factory.mktemp("results")
    arguments = ["search", "--space", "plain_vs_residual", "--data", "digits?limit=300", "--trials", "9"]
    settings = ["--fidelity", "1,2,4", "--searcher", "random", "--recipe", "precision=float32"]
    place = ["--workers", "2", "--name", "rungs", "--results-dir", results]
    return nas_command(*arguments, *settings, *place), results / "rungs"


@pytest.mark.slow
class TestCommand:
    def test_the_summary_has_the_rank_correlations_of_rungs(self, finished):
        done, folder = finished
        assert done.returncode == 0, done.stderr
        assert "Agreement of the errors at two rungs" in done.stdout
        assert "9 candidates on digits?limit=300, 1 to 4 epochs (rungs 1, 2, 4) each" in done.stderr
        assert "stopped early" in done.stdout
        document = json.loads(nas_command("analyze", folder, "--json").stdout)
        with open_run(folder).study as study:
            came = Counter(trial.epochs for trial in study.trials)
        assert came[1] + came[2] + came[4] == 9
        networks = {(each["epochs"], each["longer"]): each["networks"] for each in document["rungs"]}
        assert networks == {(1, 2): came[2] + came[4], (2, 4): came[4], (1, 4): came[4]}
        assert not list((folder / "rungs").iterdir())

    def test_training_from_rung_to_rung_equals_training_in_one_go(self, finished):
        run = open_run(finished[1])
        with run.study:
            trial = run.best()
            recipe = staged(run.config.recipe, run.config.fidelity)
            dataset = load_data(run.config.data)
            whole = train_candidate(Task(trial.number, trial.genotype, trial.seed), dataset, recipe)
            assert whole.curve == trial.curve
            assert whole.weights == run.weights(trial)

    def test_resume_with_other_rungs_is_refused(self, finished):
        _, folder = finished
        place = ["--name", folder.name, "--results-dir", folder.parent]
        done = nas_command("search", "--resume", *place, "--fidelity", "1,4")
        assert done.returncode == 2
        assert "fidelity: was 1, 2, 4, now 1, 4" in done.stderr


def nas_command(*arguments):
    program = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(program, capture_output=True, text=True, env=environment, timeout=300, check=False)
