"""Searches that are stopped before their first training: while modules are read, and while Ray starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from testing.paths import ROOT
from testing.small_spaces import TINY

from nas.controller.signals import Interrupted, Stop, interruptible

PATIENCE = 120


def lose_a_signal(tidied):
    """Be sent SIGTERM as in the callback of a library, and once more while things are tidied up."""
    try:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(PATIENCE)
        time.sleep(PATIENCE)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        tidied.append(True)


def test_a_signal_that_a_library_loses_is_raised_again(monkeypatch):
    monkeypatch.setattr("nas.controller.signals.AGAIN", 0.01)
    before, tidied = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], []
    with pytest.raises(Interrupted, match="stopped by SIGTERM") as caught, interruptible(Stop()):
        lose_a_signal(tidied)
    assert tidied == [True]
    assert caught.value.exit_code == 143
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def of(session: int) -> list[psutil.Process]:
    """Return the processes of a session that have not ended, but for the one that began it."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "begun", "code"),
    [
        (signal.SIGTERM, "raylet", 143),
        (signal.SIGINT, "gcs_server", 130),
    ],
)
def test_a_search_that_is_stopped_while_ray_starts_leaves_nothing(tmp_path, sign, begun, code):
    (tmp_path / "tiny.yaml").write_text(TINY)
    (folder := Path("/tmp") / f"nas-{os.getpid()}").mkdir()  # short, for the paths of sockets
    words = [
        "search",
        "--space",
        "tiny.yaml",
        "--data",
        "digits?limit=150",
        "--epochs",
        "1",
        "--workers",
        "1",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(folder)}
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "nas", *words],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as search:
            end = time.monotonic() + PATIENCE
            while begun not in {process.name() for process in of(search.pid)}:
                assert search.poll() is None, search.stderr.read()
                assert time.monotonic() < end
                time.sleep(0.02)
            search.send_signal(sign)
            _, errors = search.communicate(timeout=PATIENCE)
            while of(search.pid):  # what the raylet was forking ends by itself
                assert time.monotonic() < end
                time.sleep(0.02)
        assert search.returncode == code, errors
        name = signal.Signals(sign).name
        assert errors.endswith(f"error: stopped by {name}\n  no training was running\n"), errors
        assert list(folder.iterdir()) == []
        assert list((tmp_path / "results").iterdir()) == []
    finally:
        folder.rmdir()
