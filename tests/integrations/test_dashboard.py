"""A run in optuna-dashboard: all trials are shown, and new ones appear."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testing.paths import ROOT
from testing.stranger import copied

from nas.cli import run as nas_command
from nas.integrations.dashboard import live_storage
from nas.study.run import open_run
from nas.study.study import Study
from nas.study.trial import Trial

dashboard = pytest.importorskip("optuna_dashboard", reason="pip install optuna-dashboard")


def next_trial(study: Study) -> Trial:
    """The last trial once more, under the next number."""
    from dataclasses import replace

    last = study.trials[-1]
    return replace(last, number=1 + max(trial.number for trial in study.trials))


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "never became true"
        time.sleep(0.1)
    return value


def test_every_trial_is_shown_and_new_ones_appear(tmp_path: Path) -> None:
    folder = copied(tmp_path / "run").path
    run = open_run(folder)

    def get(path: str) -> Any:
        environment = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO()}
        environment |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.errors": sys.stderr}
        environment |= {"wsgi.url_scheme": "http", "QUERY_STRING": "after=0"}
        status: list[str] = []
        body = b"".join(app(environment, lambda line, headers, exc_info=None: status.append(line)))
        assert status == ["200 OK"], path
        return json.loads(body)

    with run.study, live_storage(run, interval=0.1) as storage:
        app = dashboard.wsgi(storage)
        (study,) = get("/api/studies")["study_summaries"]
        assert study["study_name"] == run.name
        page = f"/api/studies/{study['study_id']}"
        shown = get(page)
        assert shown["objective_names"] == ["error", "flops"]
        assert {trial["number"]: trial["values"] for trial in shown["trials"] if "values" in trial} == {
            trial.number: list(trial.values(("error", "flops"))) for trial in run.study.complete
        }
        assert len(shown["trials"]) == 8
        with Study.open(folder / "study.db") as writer:
            writer.record(next_trial(writer))
        until(lambda: len(get(page)["trials"]) == 9)
        assert get(f"{page}/param_importances")["param_importances"]


@pytest.mark.slow
def test_the_command_shows_a_run_while_it_is_written(tmp_path: Path) -> None:
    folder = copied(tmp_path / "run").path
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "cli.py"), "dashboard", str(folder), "--port", str(port)]

    def heed_ctrl_c() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell ignores it

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c)
    try:

        def get(path: str) -> Any:
            assert process.poll() is None
            try:
                with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=10) as answer:
                    return json.load(answer)
            except urllib.error.URLError:
                return None

        (study,) = until(lambda: get("/api/studies"))["study_summaries"]
        page = f"/api/studies/{study['study_id']}?after=0"
        assert len(get(page)["trials"]) == 8
        with Study.open(folder / "study.db") as writer:
            writer.record(next_trial(writer))
        until(lambda: len(get(page)["trials"]) == 9)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 0, said
        assert f"http://localhost:{port}/" in said
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(tmp_path / "run").path
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        assert nas_command(["dashboard", str(folder), "--port", str(port)]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_a_missing_package_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(tmp_path / "run").path
    monkeypatch.setattr("nas.plugins.find_spec", lambda name: None)
    assert nas_command(["dashboard", str(folder)]) == 2
    assert "pip install 'nas-modules[dashboard]'" in capsys.readouterr().err
