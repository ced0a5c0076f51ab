"""Live progress of a search on stderr: a view of the running trainings on a terminal, else plain lines."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from nas.cli._output import WithoutRaylet, coloured, console, echo, hanging, percent
from nas.controller.signals import DRAIN
from nas.errors import last_line
from nas.formatting import count, duration, metric
from nas.study.commands import nas_command
from nas.study.objectives import objective
from nas.study.run_config import UNBOUNDED

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    from nas.controller.config import SearchConfig
    from nas.controller.dry_run import Plan
    from nas.controller.progress import Event, Progress
    from nas.data import Dataset
    from nas.study.run import Run
    from nas.study.trial import Proposal, Trial

BAR = 30
"""Columns of the progress bar."""

SCATTER = (48, 10)
"""Columns and lines of the scatter plot of the front, axes included."""

REFRESH = 0.25
"""Seconds between two refreshes of the view."""

LAST = 6
"""Candidates whose results stay in view beside the plot."""


class SearchProgress:
    """Callbacks for `nas.search`; use as a context manager.

    What others print meanwhile goes to stderr too: stdout is for data.
    """

    def __init__(self) -> None:
        self.started = False
        self.total = self.epochs = self.before = 0
        self.began = self.updated = time.monotonic()
        self.best: float | None = None
        self.seconds: float | None = None
        self.progress: Progress | None = None
        self.points: list[tuple[float, float]] = []
        self.last: deque[str] = deque(maxlen=LAST)
        self.running: dict[int, Event] = {}
        self.errors: set[str] = set()  # last lines of the tracebacks that were printed
        self.folder = ""
        self.live: Live | None = None
        self.lock = threading.RLock()
        self.open = ExitStack()

    def __enter__(self) -> SearchProgress:
        from rich.live import Live

        self.open.enter_context(redirect_stdout(sys.stderr))
        screen = console(stderr=True)
        if screen.is_terminal:
            self.live = Live(console=screen, get_renderable=self.render, transient=True, auto_refresh=False)
            self.open.enter_context(self.live)
            self.open.enter_context(self._refreshing(self.live))
        self.open.enter_context(redirect_stdout(WithoutRaylet(sys.stdout)))
        return self

    def __exit__(self, *_: object) -> None:
        self.open.close()

    @contextmanager
    def _refreshing(self, live: Live) -> Iterator[None]:
        """Refresh the view until the end, but never in the middle of a print.

        With rich's own thread, a print that had measured the view could erase a line above it, where it had
        shrunk meanwhile.
        """
        ended = threading.Event()

        def refresh() -> None:
            while not ended.wait(REFRESH):
                with self.lock:
                    live.refresh()

        thread = threading.Thread(target=refresh, name="view", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def data(self, config: SearchConfig, dataset: Dataset) -> None:
        """Print how the images were read and are augmented, and what follows from their size."""
        from nas.cli.spaces import adaptation_lines
        from nas.cli.spaces import recipe_lines as searched_lines
        from nas.data.summary import data_lines
        from nas.training.recipe_text import recipe_lines

        self.seconds = config.seconds
        searched = config.space.spec.recipe_decisions
        lines = (*data_lines(dataset, config.data), *recipe_lines(config.recipe, dataset, searched))
        for line in (*lines, *searched_lines(config.space), *adaptation_lines(config.space)):
            self.print(line if self.live is None else hanging(line, self.live.console.width))

    def plan(self, config: SearchConfig, planned: Plan) -> None:
        from nas.cli._dry_run import design_lines, time_text

        self.print(
            f"{config.trials} trainings of {count(config.recipe.epochs, 'epoch')}, {time_text(planned)}"
        )
        for line in design_lines(planned):
            self.print(f"design: {line}")

    def start(self, run: Run, slots: int) -> None:
        from nas.cli._dry_run import epochs_text
        from nas.searchers.warm_start import find_warm_starts

        self.started = True
        self.folder = str(run.folder)
        self.total, self.epochs = run.config.trials, run.config.recipe.epochs
        self.began = time.monotonic()
        self.points = [(t.flops, t.error) for t in run.study.complete if t.error is not None]
        self.best = min((error for _, error in self.points), default=None)
        self.before = done = len(run.study.trials) + len(run.study.paused)
        resumed = f", {done} of them done," if done else ""
        epochs = epochs_text(run.config.fidelity, self.epochs)
        many = f"{self.total} candidates" if self.total < UNBOUNDED else "as many candidates as fit"
        if self.seconds is not None:
            many += f" in {duration(self.seconds)}"
        shown = f"{many}{resumed} on {run.config.data}, {epochs} each"
        self.print(f"{shown}, {slots} at a time")
        if run.config.task == "segmentation":
            self.print(f"error: {objective('error').axis('segmentation')}")
        seeds = () if done else find_warm_starts(run.space, run.config.seed_with)
        for seed in seeds:
            self.print(f"seed {seed}")

    def precision(self, name: str) -> None:
        self.print(f"precision: {name}")

    def trial(self, trial: Trial, progress: Progress) -> None:
        self.progress, self.updated = progress, time.monotonic()
        self.running.pop(trial.number, None)
        if trial.complete and trial.error is not None:
            self.best = trial.error if self.best is None else min(self.best, trial.error)
            self.points.append((trial.flops, trial.error))
        outcome = f"failed: {trial.reason}" if trial.error is None else f"error {percent(trial.error):>6}"
        if trial.state == "stopped":
            outcome += self.after(trial.epochs)
        self.line(trial.number, trial.proposal, trial.flops, outcome, progress)
        error = last_line(trial.message)
        if trial.reason == "exception" and error not in self.errors:
            self.errors.add(error)
            whole = nas_command("show", self.folder, "--trial", str(trial.number))
            self.print(f"{self.shown(trial.number, trial.proposal)}: {error} (whole: {whole})")

    def line(self, number: int, proposal: Proposal, flops: int, outcome: str, progress: Progress) -> None:
        self.last.append(f"#{number:<3} {metric(flops):>5} FLOPs  {outcome}")
        types = "+".join(sorted(set(proposal.genotype.module_types)))
        self.print(
            f"{progress.done:>2}{self.of(progress.total)}  {self.shown(number, proposal):<4} {types:<16}  "
            f"{metric(flops):>5} FLOPs  {outcome:<12}  best {percent(self.best):>6}  "
            f"{duration(progress.remaining)} left",
            proposal.genotype.module_types,
        )

    def of(self, total: int) -> str:
        """Return `/24`; nothing where only the time ends the search."""
        return f"/{total}" if total < UNBOUNDED else ""

    def after(self, epochs: int) -> str:
        return f" after {epochs} of {self.epochs} epochs"

    def shown(self, number: int, proposal: Proposal) -> str:
        """Return the label of a training for people."""
        return f"#{number}"

    def event(self, event: Event) -> None:
        if event.kind != "rung":
            self.running[event.number] = event
        elif event.row is not None and event.progress is not None:
            self.running.pop(event.number, None)
            self.progress, self.updated = event.progress, time.monotonic()
            outcome = f"error {percent(event.row['val_error']):>6}{self.after(event.row['epoch'])}"
            self.line(event.number, event.proposal, event.cost.flops, outcome, event.progress)

    def stop(self, signum: int, running: int) -> None:
        """Acknowledge a signal."""
        begun = count(running, "candidate") if running else "what has begun"
        again = f"in {DRAIN:.0f} s all stops" if signum == signal.SIGTERM else "Ctrl-C again stops now"
        self.print(f"finishing {begun}; {again}")

    def print(self, line: str, types: Sequence[str] = ()) -> None:
        if self.live is None:
            echo(line, err=True)
        else:
            with self.lock:
                self.live.console.print(coloured(line, types), soft_wrap=True)

    def render(self) -> Group | str:
        """Return the view of the running trainings and the progress of the search."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table

        if not self.running:
            return "starting the workers"
        now = time.monotonic()
        done, left = self.before, None
        if self.progress is not None:
            done, left = self.progress.done, self.progress.remaining
        if left is not None:
            left = max(0.0, left - (now - self.updated))
        total, completed = float(self.total), float(done)
        if self.total >= UNBOUNDED:
            total, completed = self.seconds or 1.0, now - self.began
        words = (Column(no_wrap=True) for _ in range(4))  # on a narrow screen the bar gives way
        foot = Table.grid("bar", *words, padding=(0, 2))
        foot.add_row(
            ProgressBar(total=total, completed=completed, width=BAR),
            f"{done}{self.of(self.total)}",
            f"best {percent(self.best)}",
            f"{duration(now - self.began)} elapsed",
            f"{duration(left)} left",
        )
        return Group("", *self._front(), self._training(), foot)

    def _front(self) -> list[Table]:
        """Return the front so far, with the last results beside it; nothing if there is no room."""
        from rich.table import Table

        from nas.cli._scatter import scatter

        assert self.live is not None
        width, height = SCATTER
        size, ascii_only = self.live.console.size, self.live.console.options.ascii_only
        if len(self.points) < 2 or size.width < width + 2 or size.height < 2 * height or ascii_only:
            return []
        view = Table.grid(padding=(0, 3))
        beside = ["\n".join(("last results", *reversed(self.last)))] if size.width >= 2 * width else []
        view.add_row("\n".join(scatter(self.points, width, height)), *beside)
        return [view]

    def _training(self) -> Table:
        from rich.table import Table

        rows = Table.grid(padding=(0, 2))
        for number, event in sorted(self.running.items()):
            types = "+".join(sorted(set(event.proposal.genotype.module_types)))
            row = event.row or {}
            state = f"epoch {row['epoch']}/{self.epochs}" if row else "starts"
            error = f"error {percent(row['val_error'])}" if row.get("val_error") is not None else ""
            flops = f"{metric(event.cost.flops)} FLOPs"
            rows.add_row(
                self.shown(number, event.proposal), coloured(types, types.split("+")), flops, state, error
            )
        return rows
