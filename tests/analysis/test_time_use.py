"""Where the time of a run went: what is kept, the sums over workers and phases, and the picture."""

from __future__ import annotations

import json
import resource
import signal
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from nas.analysis.time_use import DRIVER, seconds_of, share, time_use, time_use_parts
from nas.cli import run as nas_command
from nas.controller.callbacks import Callbacks
from nas.controller.config import SearchConfig
from nas.controller.evaluators.local import LocalEvaluator
from nas.controller.loop import run_search
from nas.errors import StorageError
from nas.formatting import to_text
from nas.searchers import make_searcher
from nas.space.load import load_space
from nas.study.history import History
from nas.study.run import open_run
from nas.training.profile import Times, profile_writer, read_profile
from nas.training.recipe import Recipe
from nas.training.task import Result
from nas.visualization.plots.time_use import time_use_figure

SESSION = [
    Times(0.0, 2.0, {"starting": 2.0}, None, "worker 1"),
    Times(0.0, 3.0, {"starting": 3.0}, None, "worker 2"),
    Times(2.5, 6.5, {"importing": 1.0, "training": 3.0}, 0, "worker 1"),
    Times(3.0, 10.0, {"training": 5.0, "validation": 2.0}, 1, "worker 2"),
    Times(2.0, 6.75, {"proposing": 0.25, "waiting": 4.25, "recording": 0.25}, 0, DRIVER),
    Times(7.0, 9.0, {"lost": 2.0}, 2, "worker 1"),
]


def test_every_second_of_a_worker_is_accounted_for():
    bars = time_use([SESSION])
    for worker in ("worker 1", "worker 2"):
        own = [bar for bar in bars if bar.worker == worker]
        assert own[0].start == 0
        assert own[-1].end == 10
        assert all(before.end == after.start for before, after in pairwise(own))
    seconds = seconds_of(bars)
    assert seconds["worker 1"]["idle"] == pytest.approx(0.5 + 0.5)
    assert seconds["worker 1"]["out of work"] == pytest.approx(1.0)
    assert "idle" not in seconds["worker 2"]
    assert seconds[DRIVER] == {"proposing": 0.25, "waiting": 4.25, "recording": 0.25}
    assert share(seconds, "idle") == pytest.approx(1 / (7 + 7))
    text = to_text(*time_use_parts(bars))
    assert "idle for 7.1%, and out of work for 7.1%" in text


def test_sessions_follow_each_other_and_share_their_workers():
    bars = time_use([SESSION, SESSION])
    assert max(bar.end for bar in bars) == 20
    once, twice = seconds_of(time_use([SESSION])), seconds_of(bars)
    assert twice["worker 1"] == pytest.approx({phase: 2 * value for phase, value in once["worker 1"].items()})
    assert list(twice) == ["worker 1", "worker 2", DRIVER]


def test_what_is_written_is_read_by_session(tmp_path):
    path = tmp_path / "profile.jsonl"
    assert read_profile(path) == []
    for _ in range(2):
        with profile_writer(path) as write:
            now = time.monotonic()
            for times in SESSION:
                write(replace(times, start=times.start + now, end=times.end + now))
    first, second = read_profile(path)
    assert (
        [times.phases for times in first] == [times.phases for times in second] == [t.phases for t in SESSION]
    )
    assert all(
        times.start - kept.start == pytest.approx(0, abs=0.1)
        for times, kept in zip(first, SESSION, strict=True)
    )


def test_a_line_that_a_kill_has_torn_is_left_out_and_then_taken_out(tmp_path):
    path = tmp_path / "profile.jsonl"
    with profile_writer(path) as write:
        write(SESSION[0])
    with open(path, "a") as file:
        file.write('{"session": "2026')
    assert len(read_profile(path)[0]) == 1
    with profile_writer(path) as write:
        write(SESSION[1])
    assert [len(session) for session in read_profile(path)] == [1, 1]


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        "[" * 100_000,
        json.dumps({"session": "s", "start": 0, "end": 1}),
        json.dumps({"session": "s", "start": 0, "end": float("inf"), "phases": {}}),
        json.dumps({"session": "s", "start": 0, "end": 1, "phases": {"training": "1"}}),
        json.dumps({"session": "s", "start": 0, "end": 1, "phases": {}, "worker": 7}),
        json.dumps({"session": ["s"], "start": 0, "end": 1, "phases": {}}),
    ],
)
def test_what_no_run_writes_is_refused_with_its_line(tmp_path, line):
    path = tmp_path / "profile.jsonl"
    with profile_writer(path) as write:
        write(SESSION[0])
    with open(path, "a") as file:
        file.write(f"{line}\n")
    with pytest.raises(StorageError, match=r"profile\.jsonl:2"):
        read_profile(path)


def test_full_disk_is_an_error_that_says_so(tmp_path):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = tmp_path / "profile.jsonl"
    try:
        with profile_writer(path) as write:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
            with pytest.raises(StorageError, match=r"profile\.jsonl: cannot be used: File too large"):
                write(SESSION[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_controller_tells_what_it_did_with_its_time():
    def slow(task, *_):
        time.sleep(0.05)
        return Result(task.number, "complete", error=0.5, times=Times(0.0, 1.0, {}, task.number))

    told: list[Times] = []
    evaluator = LocalEvaluator(None, None, trainer=slow)
    searcher = make_searcher("random", ("error", "flops"))
    space = load_space("residual_vs_fractal")
    config = SearchConfig(space, searcher, Recipe(epochs=1), trials=4)
    run_search(config, History(), evaluator, callbacks=Callbacks(on_times=told.append))
    assert Counter(times.worker for times in told) == {DRIVER: 4, "worker 1": 4}
    own = [times for times in told if times.worker == DRIVER]
    assert [times.trial for times in own] == [0, 1, 2, 3]
    for times in own:
        assert list(times.phases) == ["proposing", "dispatching", "waiting", "recording"]
        assert sum(times.phases.values()) == pytest.approx(times.end - times.start)
        assert times.phases["waiting"] >= 0.05
    assert all(before.end == after.start for before, after in pairwise(own))


def test_picture_has_a_row_for_each_worker_and_names_each_phase_once():
    figure = time_use_figure(time_use([SESSION]))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worker 1", "worker 2", DRIVER]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["starting", "importing", "training", "validation", "lost", "proposing", "recording"]


def test_many_workers_are_shown_in_their_order():
    bars = time_use([[Times(0.0, 1.0, {"training": 1.0}, n, f"worker {n}") for n in range(12, 0, -1)]])
    assert [bar.worker for bar in bars] == [f"worker {n}" for n in range(1, 13)]


@pytest.mark.slow
def test_search_shows_its_profile_and_keeps_it_for_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ["--space", "residual_vs_fractal", "--data", "digits?limit=200", "--trials", "2", "--epochs", "1"]
    assert nas_command(["search", *asked, "--workers", "0", "--profile", "--name", "timed"]) == 0
    out = capsys.readouterr().out
    assert "Where the time went" in out
    assert (tmp_path / "results/timed/profile.png").read_bytes().startswith(b"\x89PNG")
    with (opened := open_run("timed")).study:
        seconds = seconds_of(time_use(opened.profile))
        trained = sum(trial.duration for trial in opened.study.trials)
    assert {"importing", "building", "training", "validation"} <= set(seconds["worker 1"])
    of_trials = sum(
        value for phase, value in seconds["worker 1"].items() if phase not in ("idle", "out of work")
    )
    assert of_trials == pytest.approx(trained, rel=0.02)
    assert nas_command(["report", "timed"]) == 0
    assert "Where the time of timed went" in (tmp_path / "results/timed/report.html").read_text()
    capsys.readouterr()
    assert (
        nas_command(["search", "--resume", "--name", "timed", "--workers", "0", "--profile", "--json"]) == 0
    )
    assert set(json.loads(capsys.readouterr().out)["profile"]["seconds"]) == {"worker 1", DRIVER}
