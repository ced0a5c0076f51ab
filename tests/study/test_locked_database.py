"""A database that another program has locked is waited for, and the message names the program."""

from __future__ import annotations

import subprocess
import sys
import time
from threading import Thread

import pytest
from testing.trials import SPACE, a_trial

from nas.errors import StorageError
from nas.study import database
from nas.study.study import Study

HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[3])
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("COMMIT")
"""


@pytest.fixture
def study(tmp_path):
    domains = {path: list(options) for path, options in SPACE.domains().items()}
    with Study.create(tmp_path / "study.db", objectives=["error"], domains=domains) as study:
        yield study


@pytest.fixture
def impatient(monkeypatch):
    """Tenths of seconds in place of the seconds that are waited."""
    monkeypatch.setattr(database, "LOCK_PATIENCE", 0.1)


def hold(study, seconds, statement="BEGIN IMMEDIATE"):
    """Another program that locks the database for some seconds."""
    command = [sys.executable, "-c", HOLD, str(study._where), str(seconds), statement]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    return process


def test_a_lock_is_waited_for(impatient, study):
    with Study.open(study._where) as driver, hold(study, 60) as process:
        message = rf"is locked by process {process.pid} \(python.*\); waiting up to 120"
        warned = pytest.warns(UserWarning, match=message)

        def release() -> None:
            while not len(warned):
                time.sleep(0.01)
            process.kill()

        (thread := Thread(target=release, daemon=True)).start()
        with warned:
            driver.record(a_trial(0))
        thread.join()
    with Study.open(study._where) as reader:
        assert [trial.number for trial in reader.trials] == [0]


def test_a_lock_that_does_not_end_stops_the_search(impatient, study, monkeypatch):
    monkeypatch.setattr(database, "LOCK_LIMIT", 0.3)
    with Study.open(study._where) as driver, hold(study, 60) as process:
        try:
            with pytest.warns(UserWarning, match="waiting"), pytest.raises(StorageError) as caught:
                driver.record(a_trial(0))
        finally:
            process.kill()
    assert f"by process {process.pid} (python" in str(caught.value)
    assert "end that program" in caught.value.hint
    assert driver.trials == []
    driver.record(a_trial(0))
    assert len(driver.trials) == 1


def test_a_writer_does_not_keep_readers_out(study):
    study.record(a_trial(0))
    with hold(study, 60) as process:
        with Study.open(study._where) as reader:
            assert len(reader.trials) == 1
        process.kill()
