"""A report of runs as one HTML page that needs no other file and no network, for screen, phone and paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

import nas
from nas.analysis.overview import Overview, overview
from nas.analysis.text.around import given_parts
from nas.analysis.text.factors import factor_parts
from nas.analysis.text.paired import paired_parts
from nas.analysis.text.ranking import comparison_parts, motif_parts
from nas.analysis.time_use import time_use_parts
from nas.files import write_atomic
from nas.formatting import count, duration
from nas.reports.front import front_section
from nas.reports.picture import inline
from nas.reports.points import Point, points_data, points_of
from nas.reports.render import Table, blocks, render, resource, style, table
from nas.reports.reproduce import reproduce
from nas.reports.summary import claims_section, take_section
from nas.visualization.plots.figures import Plot, draw_all

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nas.study.run import Run

POLICY = (
    "default-src 'none'; script-src '{script}'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Policy of the page: nothing is fetched, and only its own script runs."""


WIDE = 6
"""Width in inches from which a plot does not fit half of a page."""


@dataclass(frozen=True)
class Picture:
    """A plot of the page; without `svg`, `missing` names the command that would fill it. A `wide` plot has
    its own row, and scrolls on narrower screens."""

    svg: Markup | None
    caption: str
    missing: str
    wide: bool


def report(runs: Run | Sequence[Run], to: str | Path | None = None) -> Path:
    """Write what runs found as one HTML page that needs no other file and no network.

    Args:
        runs: A run, or several that are pooled as `nas.analyze` pools them.
        to: File to write; by default `report.html` in the folder of the first run.

    Returns:
        The file.

    Raises:
        NasError: No trial is complete, or the runs cannot be pooled.

    Example:
        >>> import nas
        >>> run = nas.open_run("first")
        >>> nas.report(run, "report.html").stat().st_size > 10_000
        True
    """
    runs = list(runs) if isinstance(runs, Sequence) else [runs]
    content = overview(runs)
    return write_page(content, draw_all(content), to or runs[0].folder / "report.html")


def write_page(overview: Overview, plots: Mapping[str, Plot], file: str | Path) -> Path:
    """Write the report and return its file; `plots` are those of
    `nas.visualization.plots.figures.draw_all`."""
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page(overview, plots))
    return path


def page(overview: Overview, plots: Mapping[str, Plot]) -> str:
    """Return the report as text."""
    points = points_of(overview)
    script = resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render(
        "page.html",
        policy=POLICY.format(script=f"sha256-{digest}"),
        style=style(),
        script=script,
        title=f"Report of {', '.join(run.name for run in overview.runs)}",
        leads=[_lead(run) for run in overview.runs],
        points=points_data(points, overview.types),
        footer=f"Written by nas {nas.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        **_plots(plots),
        **_bodies(overview, points),
    )


def _plots(plots: Mapping[str, Plot]) -> dict[str, Any]:
    """Return the pictures by name, and the names of those that a report may hold several times."""
    several = {"forests": "forest", "fidelities": "fidelity", "scalings": "scaled", "time_uses": "time_use"}
    pictures = {
        plot.name: Picture(
            None if plot.figure is None else inline(plot.figure, plot.name, plot.caption),
            plot.caption,
            plot.missing,
            plot.figure is not None and plot.figure.get_size_inches()[0] > WIDE,
        )
        for plot in plots.values()
    }
    return {"pictures": pictures, "pairs": "front_pairs" in plots} | {
        key: [name for name in plots if name.startswith(start)] for key, start in several.items()
    }


def _bodies(overview: Overview, points: Sequence[Point]) -> dict[str, Any]:
    """Return the text of the sections, which stands next to their pictures."""
    return {
        "paired": overview.analysis.paired is not None,
        "take": take_section(overview, points),
        "front": front_section(overview, points),
        "claims": claims_section(overview),
        "advantage": overview.advantage,
        "contrasts": blocks(_contrasts(overview)),
        "factors": blocks(_factors(overview)),
        "scaled": [blocks(given_parts(given)) for given in overview.given],
        "failures": _failures(overview),
        "times": [_times(overview), *blocks(_time_uses(overview))],
        "reproduce": reproduce(overview),
    }


def _lead(run: Run) -> str:
    config = run.config
    task, epochs = config.task, count(config.recipe.epochs, "epoch")
    done = f"{len(run.study.trials)} of {count(config.trials, 'trial')}"
    searched = f"searched by {config.searcher}, {done}, {epochs} each"
    return f"{run.name}: the space {config.space} on {config.data} ({task}), {searched}."


def _contrasts(overview: Overview) -> list[RenderableType]:
    analysis = overview.analysis
    parts = [*paired_parts(analysis.paired)] if analysis.paired else []
    for comparison in analysis.comparisons:
        parts += comparison_parts(comparison)
    return parts


def _factors(overview: Overview) -> list[RenderableType]:
    analysis = overview.analysis
    parts = factor_parts(analysis.factors, analysis.top) if analysis.factors else ()
    shown = [part for part in parts if not str(part).startswith("  ")]  # refusals are shown with the picture
    return [*shown, *(motif_parts(analysis.motifs) if analysis.motifs else [])]


def _failures(overview: Overview) -> list[Table]:
    """Return a table of types and reasons to fail, None if no trial failed."""
    failed = overview.trials[overview.trials["state"] == "failed"]
    if not len(failed):
        return []
    reasons = sorted(set(failed["reason"]))
    rows = [(kind, runs[""], *(runs.get(r, 0) for r in reasons)) for kind, runs in overview.failures.items()]
    return [table(["type", "runs>", *(f"{reason}>" for reason in reasons)], rows)]


def _time_uses(overview: Overview) -> Iterator[RenderableType]:
    for name, bars in overview.time_uses.items():
        yield f"Where the time of {name} went"
        yield from time_use_parts(bars)


def _times(overview: Overview) -> Table:
    """Return the times of each run and of all runs: trainings, run, and each worker."""
    rows: list[Sequence[Any]] = []
    for name, clock in overview.timings.items():
        lengths = clock.end - clock.start
        share = clock.trained / (clock.elapsed * len(clock.busy)) if clock.elapsed else 0.0
        median = f"{np.median(lengths):.1f} s" if len(lengths) else ""
        busy = ", ".join(duration(seconds) for seconds in clock.busy)
        trained, elapsed = duration(clock.trained), duration(clock.elapsed)
        rows.append((name, len(lengths), trained, elapsed, f"{share:.0%}", median, busy))
    if len(rows) > 1:
        clocks = overview.timings.values()
        total = (sum(getattr(clock, key) for clock in clocks) for key in ("trained", "elapsed"))
        rows.append(("total", sum(row[1] for row in rows), *map(duration, total), "", "", ""))
    columns = ("run", "trainings>", "trained>", "elapsed>", "workers busy>", "median>", "each worker")
    return table(columns, rows, wide=("each worker",))
