"""Figures of trials and settings of runs, accepted at their limits and refused beyond them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from testing.configs import make_config
from testing.stranger import copied
from testing.trials import SPACE, a_trial

from nas.errors import NasError, NotFoundError, StorageError
from nas.files import MAX_BYTES, read_bytes, read_checked, read_text, write_checked
from nas.study import database
from nas.study.run import Run, open_run
from nas.study.run_config import RunConfig
from nas.study.run_folder import RunFolder
from nas.study.study import Study
from nas.study.tables import StudyRow, insert_study
from nas.study.trial import HistorySnapshot
from nas.study.trial_json import from_attributes, proposal_from, provenance, to_attributes

DOMAINS = {path: list(options) for path, options in SPACE.domains().items()}
LARGEST = 2**63 - 1


@pytest.fixture
def study(tmp_path):
    with Study.create(tmp_path / "study.db", objectives=["error"], domains=DOMAINS, name="mine") as study:
        yield study


def with_cost(**figures):
    trial = a_trial(0)
    return replace(trial, cost=replace(trial.cost, **figures))


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        (a_trial(0, error=0.0), a_trial(0, error=-0.001)),
        (a_trial(0, error=1.0), a_trial(0, error=1.001)),
        (a_trial(0, duration=0.0), a_trial(0, duration=-0.1)),
        (a_trial(0, error=-0.0), a_trial(0, error=-1e-9)),
        (a_trial(0, duration=-0.0), a_trial(0, duration=float("inf"))),
        (a_trial(0, duration=1e9), a_trial(0, duration=1e9 + 0.5)),
        (replace(a_trial(0), number=LARGEST), replace(a_trial(0), seed=LARGEST + 1)),
        (replace(a_trial(0), seed=LARGEST), replace(a_trial(0), seed=-1)),
        (with_cost(flops=1), with_cost(flops=0)),
        (with_cost(flops=LARGEST), with_cost(flops=LARGEST + 1)),
        (with_cost(params=0), with_cost(params=-1)),
        (a_trial(0, curve=()), a_trial(0, curve=({"epoch": LARGEST + 1},))),
    ],
    ids=range(12),
)
def test_figures_of_a_trial(study, accepted, refused):
    with pytest.raises(NasError, match="cannot be recorded"):
        study.record(refused)
    study.record(accepted)
    with Study.open(study._where) as again:
        assert again.trials == [accepted]


@pytest.mark.parametrize("curve", ["{}", "[1]", "1", '[{"epoch": 1}, []]'])
def test_a_curve_is_a_row_for_each_epoch(curve):
    attributes = to_attributes(a_trial(0)) | {"curve": curve}
    with pytest.raises(ValueError, match="one mapping per epoch"):
        from_attributes(attributes)


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("trials", 1, 0),
        ("seed", 0, -1),
        ("repeats", 1, 0),
        ("fidelity", (1, 2), (0, 2)),
        ("num_classes", 1, 0),
        ("num_classes", 1 << 16, (1 << 16) + 1),
        ("input_shape", (1, 1, 1), (1, 0, 1)),
        ("networks", 0, -1),
        ("uniform_share", 0.0, -0.1),
        ("uniform_share", 1.0, 1.1),
        ("data", "d" * 4096, "d" * 4097),
        ("space", "s" * 64, "s" * 65),
        ("study", "s" * 64, ""),
        ("layout", 1, 0),
        ("storage", "postgresql://me@host/db", "mysql://me@host/db"),
    ],
)
def test_settings_of_a_run(name, accepted, refused):
    config = make_config(**{name: accepted})
    data = config.to_dict()
    assert RunConfig.from_dict(data, "config.json") == config
    key = {"layout": "schema"}.get(name, name)
    with pytest.raises(StorageError) as caught:
        RunConfig.from_dict(data | {key: refused}, "config.json")
    assert "config.json" in str(caught.value)
    assert "version" in str(caught.value) if key == "schema" else key in str(caught.value)


def test_settings_that_are_not_known_are_refused():
    data = make_config().to_dict()
    assert "storage" not in data
    assert data["schema"] == 1
    with pytest.raises(StorageError, match=r"config\.json: colour: Extra inputs"):
        RunConfig.from_dict(data | {"colour": "red"}, "config.json")
    with pytest.raises(StorageError, match=r"recipe\.lr"):
        RunConfig.from_dict(data | {"recipe": data["recipe"] | {"lr": "high"}}, "config.json")


def test_the_name_of_an_objective_at_the_bound_is_read_and_one_above_is_not():
    data = make_config().to_dict()
    accepted, refused = (f"python:{'m' * length}:f" for length in (247, 248))
    assert RunConfig.from_dict(data | {"objectives": [accepted]}, "config.json").objectives == (accepted,)
    with pytest.raises(StorageError, match=r"objectives.*at most 256"):
        RunConfig.from_dict(data | {"objectives": [refused]}, "config.json")


def test_a_proposal_is_read_as_it_was_written():
    proposal = replace(a_trial(0).proposal, snapshot=HistorySnapshot(3, ((1, "digest"),), 2))
    assert proposal_from(proposal.genotype, provenance(proposal)) == proposal


def test_a_study_is_named_after_its_folder(tmp_path):
    with Study.create(tmp_path / "study.db", objectives=["error"], domains=DOMAINS) as study:
        assert study.name == tmp_path.name


def test_a_text_at_the_bound_is_read_and_one_above_is_not(tmp_path):
    path = tmp_path / "text"
    for size in (MAX_BYTES, MAX_BYTES + 1):
        path.write_text("x" * size)
        if size == MAX_BYTES:
            assert read_text(path) == "x" * size
        else:
            with pytest.raises(StorageError, match="is larger than 1,048,576 bytes"):
                read_text(path)


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "text").write_bytes(b"a\xff")
    with pytest.raises(StorageError, match=r"text: cannot be read: .*utf-8"):
        read_text(tmp_path / "text")


def test_checked_json_is_read_through_no_link(tmp_path):
    write_checked(tmp_path / "real", {"a": 1})
    assert read_checked(tmp_path / "real") == {"a": 1}
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(StorageError, match="is a symbolic link"):
        read_checked(tmp_path / "link")
    (tmp_path / "real").write_text('{"a": 1, "checksum": "0"}')
    with pytest.raises(StorageError, match="changed by hand"):
        read_checked(tmp_path / "real")
    (tmp_path / "real").write_text('{"a": 1}')
    with pytest.raises(StorageError, match="cannot be read"):
        read_checked(tmp_path / "real")


def test_a_file_that_fails_while_it_is_read_is_named():
    """The kernel refuses to read this one at its start."""
    with pytest.raises(StorageError, match=r"/proc/self/mem: cannot be read: .*Input/output error"):
        read_bytes(Path("/proc/self/mem"), 10)


def test_a_space_that_was_changed_is_refused(tmp_path):
    folder = copied(tmp_path / "run")
    folder.space.write_text(folder.space.read_text() + "\n")
    with (run := open_run(folder.path)).study, pytest.raises(StorageError, match="changed by hand"):
        _ = run.space


def test_a_study_is_found_by_its_name(study):
    assert study.name == "mine"
    with study._engine.begin() as connection:
        insert_study(connection, StudyRow("other", ("error",), DOMAINS, {}))
    for name in ("mine", "other"):
        with Study.open(study._where, name=name) as found:
            assert found.name == name
    with pytest.raises(NotFoundError, match="several studies or none"):
        Study.open(study._where)
    with pytest.raises(NotFoundError, match="no study 'mime'") as caught:
        Study.open(study._where, name="mime")
    assert "mine" in caught.value.hint


def test_a_study_of_another_schema_is_refused(study):
    from nas.study.tables import STUDY_COLUMNS, checksum

    with closing(sqlite3.connect(study._where)) as connection, connection:
        columns = [name for name in STUDY_COLUMNS if name != "checksum"]
        connection.execute("UPDATE studies SET schema_version = 2")
        (row,) = connection.execute(f"SELECT {', '.join(columns)} FROM studies").fetchall()
        connection.execute("UPDATE studies SET checksum = ?", (checksum(row),))
    with pytest.raises(StorageError, match="has schema version 2, and this program reads version 1"):
        Study.open(study._where)


def test_a_reader_holds_no_file_open(study):
    with Study.open(study._where):
        held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
        assert str(study._where) not in held


def _is_open(fd):
    return os.path.islink(f"/proc/self/fd/{fd}")


def test_tables_of_a_server_are_ours_or_none_or_refused(tmp_path):
    """As an SQLite file, since any database of SQLAlchemy says which tables it has."""
    ours, none, theirs = (database.open_engine(tmp_path / name) for name in ("ours", "none", "theirs"))
    database.create_file(tmp_path / "made").dispose()
    os.rename(tmp_path / "made", tmp_path / "ours")
    with theirs.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE studies (study_id INTEGER)")
    with ours.connect() as connection:
        assert database.has_tables(connection, "server")
    with none.connect() as connection:
        assert not database.has_tables(connection, "server")
    with (
        theirs.connect() as connection,
        pytest.raises(StorageError, match="'studies' is not of this program"),
    ):
        database.has_tables(connection, "server")
    for engine in (ours, none, theirs):
        engine.dispose()


def test_a_run_is_shown_by_its_folder_alone(tmp_path):
    with (run := open_run(copied(tmp_path / "run").path)).study:
        assert repr(run).startswith("<Run run: tiny on digits?limit=400 by evolution, 8 of 8 trials")
        assert run.name == "run"
        assert list(run.reseeded) == []
        assert run.profile == []


def test_a_run_without_a_complete_trial_has_no_best_network(study, tmp_path):
    run = Run(RunFolder(tmp_path), make_config(), study)
    for choose in (run.best, run.knee):
        with pytest.raises(NotFoundError, match="complete"):
            choose()
    study.record(a_trial(0, reason="diverged"))
    with pytest.raises(NotFoundError, match="1 failed"):
        run.best()
    study.record(a_trial(1))
    assert run.best() == run.knee() == run.trial(1)
    with pytest.raises(NotFoundError, match="no trial 2") as caught:
        run.trial(2)
    assert caught.value.hint == "recorded are 0 to 1"
