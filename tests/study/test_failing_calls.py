"""SQLite's own writes and syncs fail, each in its turn: the C library is told to let them fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from testing.paths import ROOT

COMPILER = shutil.which("cc")

DRIVER = """
import ctypes, json, sys, warnings
from pathlib import Path
from testing.trials import SPACE, a_trial
from nas.errors import NasError, StorageError
from nas.study.study import Study

warnings.simplefilter("ignore")
shim = ctypes.CDLL(sys.argv[1])
DOMAINS = {path: list(options) for path, options in SPACE.domains().items()}
TRIALS = [a_trial(number) for number in range(2)]


def attempt(errors, act):
    try:
        return act()
    except StorageError as error:
        errors.append(str(error))


def tried(path, calls, all_later):
    '''Record two trials, each of them again where it failed, while a call fails; say how that went.'''
    errors, reported = [], []
    shim.fail_after(calls, all_later)
    study = attempt(errors, lambda: Study.create(path, objectives=["error"], domains=DOMAINS))
    for trial in TRIALS if study else ():
        for _ in range(2):
            before = shim.synced()
            if attempt(errors, lambda: study.record(trial) or True):
                reported.append(trial.number)
                assert shim.synced() > before, "reported and not synced"
                break
    if study:
        attempt(errors, study.close)
    failed = shim.has_failed()
    shim.fail_after(-1, 0)
    present = None
    if study:
        with Study.open(path) as opened:
            present = [trial.number for trial in opened.trials]
    return {"failed": failed, "errors": errors, "reported": reported, "present": present}


for all_later in (0, 1):
    for calls in range(1000):
        folder = Path(sys.argv[2], f"{calls}-{all_later}")
        folder.mkdir()
        row = tried(folder / "study.db", calls, all_later)
        print(json.dumps({"all_later": all_later, **row}))
        if not row["failed"]:
            break
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or COMPILER is None, reason="needs a C compiler on Linux"
)
def test_whichever_write_or_sync_of_sqlite_fails_each_reported_trial_is_kept(tmp_path):
    shim = tmp_path / "shim.so"
    source = ROOT / "tests" / "testing" / "failing_calls.c"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(shim), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", DRIVER, shim, tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for all_later in (0, 1):
        *failures, without = [row for row in rows if row["all_later"] == all_later]
        assert (without["errors"], without["present"]) == ([], [0, 1])
        assert len(failures) > 20
        for row in failures:
            assert set(row["reported"]) <= set(row["present"] or ()) <= {0, 1}, row
            assert row["errors"] or row["reported"] == [0, 1], row
            if not all_later and row["present"] is not None:
                assert (row["reported"], row["present"]) == ([0, 1], [0, 1]), row
    texts = {text for row in rows for text in row["errors"]}
    assert texts
    assert all("free some space, or see that" in text for text in texts), texts
