"""The live view of a search, on terminals of several sizes."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.live import Live

import nas
from nas.cli._progress import SearchProgress, WithoutRaylet
from nas.controller.progress import Event, Progress
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.space.load import load_space
from nas.study.trial import Proposal


def test_the_count_of_a_resumed_search_starts_where_it_stood(tmp_path) -> None:
    view = SearchProgress()
    run = nas.search(
        "residual_vs_fractal",
        data="digits?limit=60",
        trials=2,
        epochs=1,
        workers=0,
        name="job",
        results_dir=tmp_path,
    )
    view.start(run, 2)
    genotype = run.study.trials[0].genotype
    view.running = {2: Event("start", 2, Proposal(genotype, "random"), run.study.trials[0].cost)}
    view.total = 6
    console = Console(file=io.StringIO(), width=50, height=20, force_terminal=True)
    view.live = Live(console=console)
    with console.capture() as capture:
        console.print(view.render())
    assert "2/6" in capture.get()


def test_what_others_print_is_shown_but_no_dump_of_rays_daemon() -> None:
    shown = io.StringIO()
    stream = WithoutRaylet(shown)
    print("one line", file=stream)
    print("\x1b[33m(raylet)\x1b[0m Raylet is terminated. Last 20 lines:\n    [state-dump]", file=stream)
    print("another", file=stream)
    assert shown.getvalue() == "one line\nanother\n"


def test_no_refresh_falls_into_a_print(monkeypatch) -> None:
    """A print measures the view, then erases it: a view that shrank meanwhile would cost a printed line."""
    monkeypatch.setattr("nas.cli._progress.REFRESH", 0.001)
    view, printing, during = SearchProgress(), threading.Event(), []

    def render() -> str:
        during.append(printing.is_set())
        return "a view"

    class Slow:
        def __rich_console__(self, *_: object) -> Iterator[str]:
            printing.set()
            time.sleep(0.1)
            printing.clear()
            yield "a line"

    console = Console(file=io.StringIO(), force_terminal=True)
    with Live(console=console, get_renderable=render, auto_refresh=False) as live, view._refreshing(live):
        view.live = live
        monkeypatch.setattr("nas.cli._progress.coloured", lambda *_: Slow())
        while not during:
            time.sleep(0.001)
        during.clear()
        view.print("")
        while not during:
            time.sleep(0.001)
    assert not any(during)


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (50, 20)])
def test_the_last_line_is_whole(width: int, height: int) -> None:
    genotype = load_space("residual_vs_fractal").sample(0)
    figures = cost(expand(genotype, (1, 8, 8), 10))
    view = SearchProgress()
    view.total, view.best, view.points = 120, 0.631, [(1e6, 0.7), (2e6, 0.631)]
    view.progress = Progress(12, 120, 12, 0, 2, 145.0, 700.0)
    view.running = {n: Event("start", n, Proposal(genotype, "random"), figures) for n in (12, 13)}
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    view.live = Live(console=console)
    with console.capture() as capture:
        console.print(view.render(), no_wrap=False)
    lines = capture.get().splitlines()
    assert len(lines) <= height
    for part in ("12/120", "best 63.10%", "elapsed", "11:", "left"):
        assert part in lines[-1]
