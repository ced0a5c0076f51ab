"""The live view of a search, on terminals of several sizes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live

from nas.cli._progress import SearchProgress
from nas.controller.progress import Event, Progress
from nas.graph.cost import cost
from nas.space.genotype import expand
from nas.space.space import load_space
from nas.study.trial import Proposal


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
