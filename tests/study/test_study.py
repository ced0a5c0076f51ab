"""The record: what is written comes back, and damage is found."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from testing.paths import ROOT
from testing.toy_space import Toy, ToySpace, toy_trial
from testing.trials import OBJECTIVE_NAMES, SPACE, a_trial

from nas.errors import NasError, NotFoundError, StorageError
from nas.graph.cost import Cost
from nas.pareto import front
from nas.study.history import COLUMNS, History
from nas.study.objectives import OBJECTIVES
from nas.study.study import Study
from nas.study.trial import REASONS, Proposal
from nas.training.latency import Latency

LATENCY = Latency(2e-3, 1.9e-3, 2.3e-3, runs=50, batch=1, threads=1, device="cpu")


def a_study(path, trials=()):
    meta = {"seed": 1, "x": [None]}
    study = Study.create(path, objectives=OBJECTIVE_NAMES, domains=SPACE.domains(), meta=meta)
    for trial in trials:
        study.record(trial)
    return study


SOME = [
    a_trial(0),
    a_trial(2, reason="oom", message="out of memory\n'\"; DROP TABLE trials; --", curve=()),
    a_trial(1, retries=3, duplicate_of=0, proposal=Proposal(SPACE.sample(1), "evolution", parent=0)),
]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
floats = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**63) + 1, 2**63 - 1)
rows = st.dictionaries(texts, floats | whole | texts, max_size=3)


@st.composite
def trials(draw, number):
    optional = st.none() | st.integers(0, 10**6)
    genotype = SPACE.sample(draw(st.integers(0, 20)))
    proposal = Proposal(genotype, draw(texts), draw(optional), draw(st.booleans()), draw(st.none() | floats))
    reason = draw(st.sampled_from(["", *REASONS]))
    return a_trial(
        number,
        proposal=proposal,
        decisions=SPACE.decisions(genotype),
        reason=reason,
        message=draw(texts),
        error=None if reason else draw(st.floats(0, 1)),
        cost=Cost(*(draw(st.integers(1, 2**60)) for _ in range(4))),
        duration=draw(st.floats(0, 1e6)),
        retries=draw(st.integers(0, 9)),
        duplicate_of=draw(optional),
        curve=tuple(draw(st.lists(rows, max_size=3))),
        latency=draw(st.sampled_from([None, LATENCY])),
    )


@pytest.mark.slow
@given(st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_field_survives_a_reload(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("study") / "study.db"
    written = [data.draw(trials(number)) for number in range(3)]
    written = [replace(t, message="") if t.complete else t for t in written]
    a_study(path, written).close()
    with Study.open(path) as study:
        assert list(study.trials) == written
        assert [list(t.decisions) for t in study.trials] == [list(t.decisions) for t in written]


def test_objectives_and_meta_survive_a_reload(tmp_path):
    a_study(tmp_path / "study.db", SOME).close()
    with Study.open(tmp_path / "study.db") as study:
        assert study.objectives == OBJECTIVE_NAMES
        assert study.meta == {"seed": 1, "x": [None]}
        assert study.by_number(2).message == SOME[1].message
    assert os.listdir(tmp_path) == ["study.db"]  # nothing left beside it


def test_a_diverged_curve_survives(tmp_path):
    curve = ({"epoch": 1, "train_loss": math.inf}, {"epoch": 2, "train_loss": math.nan})
    a_study(tmp_path / "study.db", [a_trial(0, reason="diverged", curve=curve)]).close()
    with Study.open(tmp_path / "study.db") as study:
        read = study.trials[0].curve
    assert read[0] == curve[0]
    assert math.isnan(read[1]["train_loss"])


def test_people_read_the_study_in_sql(tmp_path):
    """The example queries of the documentation, on real trials."""
    a_study(tmp_path / "study.db", SOME).close()
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        columns = "number, state, reason, error, flops, digest, module_types, parent, duplicate_of"
        rows = connection.execute(f"SELECT {columns} FROM trials ORDER BY number").fetchall()
        values = [
            (t.number, t.state, t.reason, t.error, t.flops, t.digest, "+".join(t.module_types))
            for t in (SOME[0], SOME[2], SOME[1])
        ]
        assert [row[:7] for row in rows] == values
        assert [row[7:] for row in rows] == [(None, None), (0, 0), (None, None)]
        (seconds,) = connection.execute(
            "SELECT (julianday(finished) - julianday(started)) * 86400 FROM trials WHERE number = 0"
        ).fetchone()
        assert seconds == pytest.approx(SOME[0].duration, abs=1e-3)
        (message,) = connection.execute(
            "SELECT json_extract(details, '$.message') FROM trials WHERE number = 2"
        ).fetchone()
        assert message == SOME[1].message
        queries = (ROOT / "docs" / "reference" / "run_folder.md").read_text().split("```sql\n")[1:]
        assert len(queries) >= 3
        for query in queries:
            assert connection.execute(query.split("```")[0]).fetchall(), query


def test_a_reader_sees_what_a_writer_records_meanwhile(tmp_path):
    with a_study(tmp_path / "study.db", SOME[:1]) as writer, Study.open(tmp_path / "study.db") as reader:
        assert list(reader.trials) == SOME[:1]
        writer.record(SOME[1])
        writer.record(SOME[2])
        reader.refresh()
        assert list(reader.trials) == SOME
        assert reader.ends() == writer.ends()


def test_two_writers_see_what_each_records(tmp_path):
    with a_study(tmp_path / "study.db") as first, Study.open(tmp_path / "study.db") as second:
        first.record(SOME[0])
        second.record(SOME[1])
        assert list(second.trials) == SOME[:2]
        first.refresh()
        assert list(first.trials) == SOME[:2]


def test_a_figure_that_a_database_does_not_hold_is_refused(tmp_path):
    with a_study(tmp_path / "study.db") as study:
        with pytest.raises(NasError, match="flops cannot be"):
            study.record(a_trial(0, cost=Cost(1, 2**63, 1, 1)))
        assert not study.trials


def test_a_number_is_recorded_once(tmp_path):
    with a_study(tmp_path / "study.db", SOME) as study:
        with pytest.raises(NasError, match="recorded already"):
            study.record(SOME[0])
        assert len(study.trials) == 3


def test_a_decision_of_another_space_is_refused_whole(tmp_path):
    with a_study(tmp_path / "study.db") as study:
        with pytest.raises(NasError, match="not an option"):
            study.record(a_trial(0, decisions={"stage1.depth": 99}))
        assert not study.trials
    with Study.open(tmp_path / "study.db") as study:
        assert not study.trials


def test_an_existing_study_is_refused(tmp_path):
    a_study(tmp_path / "study.db").close()
    with pytest.raises(NasError, match="exists already"):
        a_study(tmp_path / "study.db")


def test_a_study_in_an_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        a_study(tmp_path / "file" / "study.db")


def test_no_study_is_not_found(tmp_path):
    with pytest.raises(NotFoundError):
        Study.open(tmp_path / "study.db")


def test_passwords_are_not_shown():
    with pytest.raises(NasError) as caught:
        Study.open("sqlite://user:secret@/nowhere/study.db")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, b"SQLite format 3\0" + b"\0" * 4000])
def test_a_file_that_is_no_study(tmp_path, content):
    (tmp_path / "study.db").write_bytes(content)
    with pytest.raises(NasError) as caught:
        Study.open(tmp_path / "study.db")
    assert caught.value.hint


def test_a_flipped_figure_is_refused(tmp_path):
    path = tmp_path / "study.db"
    a_study(path, [a_trial(0, error=0.125)]).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE trials SET error = 0.025 WHERE error = 0.125")
    with pytest.raises(StorageError, match="checksum"):
        Study.open(path)


def record_until_full(path):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Study.open(path) as study:
        limit = os.path.getsize(path) + 100_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            for number in range(1000):
                study.record(a_trial(number, seed=0))
        except StorageError as error:
            print(len(study.trials), flush=True)
            os._exit(error.exit_code)


@pytest.mark.slow
def test_a_full_disk_leaves_the_study_whole(tmp_path, capfd):
    path = tmp_path / "study.db"
    a_study(path).close()
    process = multiprocessing.get_context("spawn").Process(target=record_until_full, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == StorageError.exit_code
    recorded = int(capfd.readouterr().out)
    assert recorded > 0
    with Study.open(path) as study:
        assert [trial.number for trial in study.trials] == list(range(recorded))
        study.record(a_trial(recorded))


def record_for_ever(path):
    with Study.open(path) as study:
        for number in range(len(study.trials), 10_000):
            study.record(a_trial(number, seed=0))
            print(number, flush=True)


@pytest.mark.slow
def test_a_kill_loses_no_record(tmp_path, capfd):
    path = tmp_path / "study.db"
    a_study(path).close()
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = multiprocessing.get_context("spawn").Process(target=record_for_ever, args=(path,))
        process.start()
        while not capfd.readouterr().out and process.is_alive():
            process.join(0.05)
        process.join(rng.random() * 0.2)
        process.kill()
        process.join()
        said = [int(line) for line in capfd.readouterr().out.split("\n")[:-1]]
        with Study.open(path) as study:
            numbers = [trial.number for trial in study.trials]
        assert numbers == list(range(len(numbers)))
        assert set(said) <= set(numbers)


def test_the_frame_has_a_row_a_trial():
    history = History()
    assert list(history.frame().columns) == list(COLUMNS)
    for trial in SOME:
        history.record(trial)
    frame = history.frame()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["number"].tolist() == [0, 2, 1]
    assert frame["flops"].tolist() == [trial.flops for trial in SOME]
    assert frame["reason"].tolist() == ["", "oom", ""]
    assert frame["error"].isna().tolist() == [False, True, False]
    assert frame["parent"].isna().tolist() == [True, True, False]
    assert frame["digest"].tolist() == [trial.digest for trial in SOME]
    assert set(frame["module_types"]) <= {"residual", "fractal", "residual+fractal", "fractal+residual"}
    assert {str(kind) for kind in frame.dtypes} == {
        str(pd.Series(dtype=kind).dtype) for kind in COLUMNS.values()
    }
    pd.testing.assert_frame_equal(history.frame(without=["genotype"]), frame.drop(columns="genotype"))


@pytest.mark.parametrize("objectives", [("error",), ("error", "flops"), ("flops", "error", "params")])
def test_the_front_grows_with_the_history(objectives):
    space, history, rng = ToySpace(length=6, base=4), History(objectives), np.random.default_rng(0)
    for number in range(120):
        toy = Toy(tuple(rng.integers(0, 4, 6).tolist()))
        history.record(toy_trial(space, number, Proposal(toy, "test"), failed=number % 9 == 4))
        networks = list({trial.digest: trial for trial in reversed(history.complete)}.values())
        expected = [networks[index] for index in front([trial.values(objectives) for trial in networks])]
        assert sorted(t.number for t in history.front()) == sorted(t.number for t in expected)
    assert history.front(["flops"])[0].flops == min(trial.flops for trial in history.complete)


def test_what_is_seen_and_in_flight():
    history, digest = History(), SPACE.sample(7).digest
    assert not history.seen(digest)
    history.mark_running(5, digest)
    assert history.seen(digest)
    assert dict(history.pending) == {5: digest}
    history.discard(5)
    assert not history.seen(digest)
    history.mark_running(5, digest)
    history.record(a_trial(5, seed=7, reason="timeout"))
    assert not history.pending
    assert history.by_digest(digest).reason == "timeout"
    history.record(a_trial(6, seed=7))
    history.record(a_trial(8, seed=7))
    assert history.by_digest(digest).number == 6  # the first complete one


def test_a_trial_is_checked():
    with pytest.raises(NasError, match="finite error"):
        a_trial(0, error=math.nan)
    with pytest.raises(NasError, match="unknown reason"):
        a_trial(0, reason="bored")
    with pytest.raises(NasError, match="no error"):
        a_trial(0, reason="oom").objective("error")
    with pytest.raises(NasError, match="not measured"):
        a_trial(0).objective("latency")
    measured = a_trial(0, latency=LATENCY, curve=({"val_balanced_error": 0.5},))
    values = dict(zip(OBJECTIVES, measured.values(tuple(OBJECTIVES)), strict=True))
    assert (values["flops"], values["balanced_error"]) == (measured.flops, 0.5)
    assert measured.objective("latency") == LATENCY.seconds


def test_a_record_takes_milliseconds(tmp_path):
    with a_study(tmp_path / "study.db") as study:
        trials = [a_trial(number, seed=0) for number in range(60)]
        study.connect()
        start = time.process_time()
        for trial in trials:
            study.record(trial)
        assert (time.process_time() - start) / len(trials) < 0.006


def test_a_study_that_is_dropped_closes_its_connections(tmp_path, monkeypatch):
    """Python 3.13 warns of connections that are collected open."""
    disposed = []
    monkeypatch.setattr(Engine, "dispose", lambda engine, **_: disposed.append(engine))
    study = Study.create(tmp_path / "study.db", objectives=OBJECTIVE_NAMES, domains=SPACE.domains())
    engine = study._engine
    disposed.clear()
    del study
    gc.collect()
    assert engine in disposed
