"""Values that no search measures are refused when a record is read; so are endless numbers in options."""

from __future__ import annotations

import gc
import json
import sqlite3
from contextlib import closing

import pytest
from testing.stranger import change_trial, copied
from testing.trials import a_trial

from nas.cli import run as nas
from nas.controller.planned_trial import PlannedTrial
from nas.errors import NasError, StorageError
from nas.study.run import open_run
from nas.study.study import Study
from nas.study.tables import STUDY_COLUMNS, checksum
from nas.training.task import Result

HALF = "\ud800"
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(autouse=True)
def no_collection():
    """A text nested without end is read up to the limit of recursion. Garbage of other tests that happened to
    be collected there had its finalizers fail, and the test with them."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def folder(tmp_path):
    return copied(tmp_path / "run")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("flops", 0),
        ("flops", "1" + "0" * 4000),
        ("flops", 10**30),
        ("params", 10**30),
        ("error", -5.0),
        ("error", 1.5),
        ("error", 1e30),
        ("error", float("inf")),
        ("duration", float("inf")),
        ("duration", 1e30),
        ("duration", -1.0),
        ("seed", 10**30),
        ("epochs", 10**30),
    ],
)
def test_a_figure_that_no_search_measures_is_refused(folder, column, value):
    change_trial(folder, lambda columns: columns.update({column: value}))
    with pytest.raises(StorageError, match=f"{column} cannot be") as caught:
        open_run(folder.path)
    assert "the row of trial_id 1" in str(caught.value)


@pytest.mark.parametrize(
    "details",
    [
        {"message": HALF},
        {"design": {HALF: 1}},
        {"design": {"column": [HALF]}},
        {"design": {"seed": 10**30}},
        {"measured": {HALF: 1.0}},
        {"latency": {"seconds": 10**30}},
        {"rung_order": [10**30]},
        {"snapshot": {"recorded": 10**30}},
    ],
    ids=ascii,
)
def test_details_of_half_characters_and_endless_numbers_are_refused(folder, details):
    change_trial(folder, lambda columns: columns["details"].update(details))
    with pytest.raises(StorageError, match="the row of trial_id 1 cannot be read") as caught:
        open_run(folder.path)
    str(caught.value).encode()  # the message can be printed


@pytest.mark.parametrize("row", [{"epoch": 10**30}, {HALF: 1}, {"note": [HALF]}], ids=ascii)
def test_a_curve_of_half_characters_and_endless_numbers_is_refused(folder, row):
    change_trial(folder, lambda columns: columns.update(curve=[row]))
    with pytest.raises(StorageError, match="the row of trial_id 1 cannot be read"):
        open_run(folder.path)


@pytest.mark.parametrize("column", ["curve", "details"])
def test_json_nested_without_end_is_refused(folder, column):
    change_trial(folder, lambda columns: columns.update({column: DEEP}))
    with pytest.raises(StorageError, match="the row of trial_id 1 cannot be read"):
        open_run(folder.path)


@pytest.mark.parametrize("meta", [DEEP, json.dumps({"seed": 10**30}), json.dumps({"seed": HALF})])
def test_the_row_of_a_study_is_bounded_too(folder, meta):
    names = [name for name in STUDY_COLUMNS if name != "checksum"]
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        connection.execute("UPDATE studies SET meta = ?", (meta,))
        values = connection.execute(f"SELECT {', '.join(names)} FROM studies").fetchone()
        connection.execute("UPDATE studies SET checksum = ?", (checksum(values),))
    with pytest.raises(StorageError, match="the study is damaged"):
        open_run(folder.path)


def test_module_types_unlike_those_of_the_network_are_refused(folder, capsys):
    change_trial(folder, lambda columns: columns.update(module_types="plain+fractal+dense"))
    with pytest.raises(StorageError, match="trial 0: its module types are not those of its network"):
        _ = open_run(folder.path).trial(0).genotype
    assert nas(["show", str(folder.path), "--trial", "0"]) == StorageError.exit_code
    assert "its module types are not those of its network" in capsys.readouterr().err


def test_what_could_not_be_read_back_is_not_recorded(tmp_path):
    trial = a_trial(0)
    path = tmp_path / "study.db"
    domains = {name: [value] for name, value in trial.decisions.items()}
    with Study.create(path, objectives=("error", "flops"), domains=domains) as study:
        for changes in (
            {"error": 1.5},
            {"duration": 1e30},
            {"message": HALF, "reason": "exception"},
            {"curve": ({"epoch": 10**30},)},
        ):
            with pytest.raises(NasError, match="cannot be recorded"):
                study.record(a_trial(0, **changes))
        study.record(trial)
    with Study.open(path) as study:
        assert list(study.trials) == [trial]


DIGITS = "1" * 5000


@pytest.mark.parametrize(
    "command",
    [
        f"search --trials {DIGITS}",
        f"search --epochs {DIGITS}",
        f"search --seed {DIGITS}",
        f"data digits?limit={DIGITS}",
        f"data digits?size={DIGITS}",
        f"data digits?size=8x{DIGITS}",
        f"data digits?val={DIGITS}",
        f"cost resnet20 --input 3x32x{DIGITS}",
        f"cost resnet20 --classes {DIGITS}",
        f"compare RUN:{DIGITS} RUN:1",
        f"compare RUN {DIGITS} 1",
        f"show RUN --trial {DIGITS}",
    ],
    ids=lambda command: command.replace(DIGITS, "N"),
)
def test_a_number_of_5000_digits_in_an_option_is_refused(folder, command, capsys):
    assert nas(command.replace("RUN", str(folder.path)).split()) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_failure_whose_message_is_not_unicode_is_recorded_with_escapes(tmp_path):
    trial = a_trial(0)
    planned = PlannedTrial(0, trial.proposal, trial.cost, trial.decisions, trial.seed)
    failed = planned.trial(Result(0, "failed", "exception", "no file image\udcff.png"), epochs=2)
    assert failed.message == "no file image\\udcff.png"
    domains = {name: [value] for name, value in trial.decisions.items()}
    with Study.create(tmp_path / "a.db", objectives=("error", "flops"), domains=domains) as study:
        study.record(failed)
    with Study.open(tmp_path / "a.db") as study:
        assert study.trials[0].message == "no file image\\udcff.png"
