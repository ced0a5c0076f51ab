"""The front by expected errors: what one training's luck may decide, and what it may not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from testing.configs import make_config
from testing.histories import study

from nas.analysis.text.pareto import pareto_dict, pareto_text
from nas.controller.reseed import _members
from nas.study.expected import MIN_TRAININGS, expected, memberships
from nas.study.front import pareto_front
from nas.study.history import History
from nas.study.run import Run
from nas.study.run_folder import RunFolder

NAMES = ("error", "flops")


def smooth(count=24, noise=0.002, lucky=None, gain=0.05):
    """A history whose errors follow from FLOPs but for noise; that of trial `lucky` is lower by `gain`."""
    history, rng = History(), np.random.default_rng(1)
    for trial in study(count, failing=()).trials:
        error = 0.9 - 0.05 * np.log(trial.flops) + noise * rng.standard_normal()
        history.record(replace(trial, error=float(error - gain * (trial.number == lucky))))
    return history


def make_run(history, folder):
    return Run(RunFolder(folder), make_config(trials=len(history.trials)), history)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of which trial 5 was lucky, so that it is alone on the front of measured errors of its size."""
    return make_run(smooth(lucky=5), tmp_path_factory.mktemp("run"))


def test_a_lucky_training_is_pulled_back_towards_its_kin(run):
    known, lucky = run.expected(), run.study.by_number(5)
    others = [trial for trial in run.study.networks if trial.number != 5]
    gaps = [abs(known.of(trial.digest).value - trial.error) for trial in others]
    assert known.of(lucky.digest).value > lucky.error + 0.01
    assert np.median(gaps) < 0.005
    assert all(known.of(t.digest).low <= known.of(t.digest).value <= known.of(t.digest).high for t in others)


def test_front_knee_and_best_are_chosen_by_expected_errors(run):
    known = run.expected()
    values = {trial.digest: (known.of(trial.digest).value, trial.flops) for trial in run.study.networks}
    front = run.front()
    for trial in run.study.networks:
        beaten = any(
            e <= values[trial.digest][0] and f <= values[trial.digest][1] and (e, f) != values[trial.digest]
            for e, f in values.values()
        )
        assert (trial in front) is not beaten
    assert run.best() is front[0] is min(front, key=lambda trial: values[trial.digest])
    assert run.knee() in front
    assert run.measured_front() != front
    assert run.study.by_number(5) in run.measured_front()


def test_few_trainings_fall_back_to_measured_errors_and_say_so(tmp_path):
    few = make_run(smooth(MIN_TRAININGS - 1), tmp_path)
    assert few.expected() is None
    assert few.front() == few.measured_front() != []
    text = pareto_text(few.study, expected=few.expected())
    assert (
        f"Chosen by measured error: a model of the error needs {MIN_TRAININGS} trainings, and there are 9"
        in text
    )
    assert make_run(smooth(MIN_TRAININGS), tmp_path).expected() is not None


def test_objectives_without_the_error_have_no_model(run):
    assert run.expected(("flops", "params")) is None
    assert run.front(("flops", "params")) == run.measured_front(("flops", "params"))


def test_further_trainings_decide():
    history = smooth(lucky=5)
    lucky = history.by_number(5)
    before = expected(history, NAMES).of(lucky.digest)
    again = [replace(lucky, number=100 + i, seed=100 + i, error=lucky.error + 0.05) for i in range(6)]
    after = expected(history, NAMES, again).of(lucky.digest)
    assert after.value > before.value
    assert abs(after.value - (lucky.error + 0.05)) < 0.02


def test_membership_is_the_probability_of_a_place_on_the_front():
    points = np.array([(0.1, 5.0), (0.2, 2.0), (0.2, 2.0), (0.9, 9.0), (0.101, 6.0)])
    found = memberships(points, np.array([0.001, 0.01, 0.01, 0.01, 0.001]))
    assert found[0] == 1.0
    assert found[1] + found[2] == 1.0
    assert abs(found[1] - 0.5) < 0.06
    assert found[3] == 0.0
    assert abs(found[4] - 0.24) < 0.05  # P(N(0.001, 0.001 * sqrt(2)) < 0)


def test_retraining_goes_where_membership_is_uncertain(run):
    known, chosen = run.expected(), _members(run, None, None)
    doubts = {trial.number: abs(known.membership(trial.digest) - 0.5) for trial in run.study.networks}
    assert chosen
    assert all(0.05 < known.membership(trial.digest) < 0.95 for trial in chosen)
    others = [doubts[number] for number in doubts if number not in {trial.number for trial in chosen}]
    assert max(doubts[trial.number] for trial in chosen) <= min(others)


def test_the_screen_names_both_fronts_and_what_decides(tmp_path):
    run = make_run(smooth(noise=0.1), tmp_path)
    text = pareto_text(run.study, width=500, expected=run.expected(), decide="nas pareto r --reseed 3")
    assert "Chosen by expected error, with 95 % intervals: a model of 24 trainings" in text
    measured, chosen = ({trial.number for trial in front} for front in (run.measured_front(), run.front()))
    numbers = ", ".join(map(str, pareto_dict(run.study)["measured_front"]))
    assert (
        f"the front would hold trials {numbers} (*: not on this one). To decide: nas pareto r --reseed 3"
        in text
    )
    only = {int(line.split()[1]) for line in text.splitlines() if line.startswith("* ")}
    assert only == measured - chosen != set()


def test_json_says_by_what_the_front_was_chosen(run):
    chosen, measured = pareto_dict(run.study, expected=run.expected()), pareto_dict(run.study)
    assert (chosen["chosen_by"], measured["chosen_by"]) == ("expected_error", "measured_error")
    assert {row["trial"] for row in chosen["front"]} == {trial.number for trial in run.front()}
    assert chosen["measured_front"] == [row["trial"] for row in measured["front"]]
    assert chosen["knee"] == run.knee().number
    for row in chosen["front"]:
        assert row["expected_low"] <= row["expected_error"] <= row["expected_high"]
        assert 0 < row["membership"] <= 1


def test_the_table_of_python_holds_expected_errors(run):
    table = pareto_front(run)
    assert list(table["number"]) == [trial.number for trial in run.front()]
    assert list(table["expected_error"]) == sorted(table["expected_error"])
    assert table["membership"].between(0, 1).all()
