"""A report of runs as one page: no other file and no network, for screen, phone and paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nas
from nas.analysis.overview import Overview, overview
from nas.analysis.text.factors import factor_parts
from nas.analysis.text.ranking import comparison_parts, motif_parts, paired_parts
from nas.analysis.time_use import time_use_parts
from nas.files import write_atomic
from nas.formatting import count
from nas.reports.chart import chart
from nas.reports.front import Point, drawings, member_table, points_data, points_of
from nas.reports.markup import Html, data, fill, join, of_text, resource, table, tag
from nas.reports.picture import inline
from nas.reports.reproduce import reproduce
from nas.reports.summary import summary
from nas.visualization.plots.figures import Plot, draw_all

if TYPE_CHECKING:
    from nas.study.run import Run

POLICY = (
    "default-src 'none'; script-src '{script}'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Nothing is fetched, and no script runs but the page's own."""


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    body: Html


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
    found = overview(runs)
    return write_page(found, draw_all(found), to or runs[0].folder / "report.html")


def write_page(found: Overview, plots: Mapping[str, Plot], file: str | Path) -> Path:
    """Write the report; `plots` are those of `nas.visualization.plots.figures.draw_all`. Returns the file."""
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page(found, plots))
    return path


def page(found: Overview, plots: Mapping[str, Plot]) -> str:
    """The report as text."""
    points = points_of(found)
    sections = _sections(found, plots, points)
    script = resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "policy": POLICY.format(script=f"sha256-{digest}"),
        "title": f"Report of {', '.join(run.name for run in found.runs)}",
        "lead": join(map(_lead, found.runs), " "),
        "contents": join(tag("a", section.title, href=f"#{section.name}") for section in sections),
        "sections": join(
            tag("section", tag("h2", section.title), "\n", section.body, id=section.name)
            for section in sections
        ),
        "footer": f"Written by nas {nas.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        "points": data(points_data(points, found.types)),
        "style": Html(resource("style.css")),
        "script": Html(script),
    }
    return fill(resource("page.html"), parts)


def _lead(run: Run) -> str:
    config = run.config
    task, epochs = config.task, count(config.recipe.epochs, "epoch")
    done = f"{len(run.study.trials)} of {count(config.trials, 'trial')}"
    searched = f"searched by {config.searcher}, {done}, {epochs} each"
    return f"{run.name}: the space {config.space} on {config.data} ({task}), {searched}."


def _sections(found: Overview, plots: Mapping[str, Plot], points: Sequence[Point]) -> list[Section]:
    """In the order of the page."""
    paired = found.analysis.paired
    forests = [name for name in plots if name.startswith("forest")]
    fidelity = [name for name in plots if name.startswith("fidelity")]
    uses = [name for name in plots if name.startswith("time_use")]

    def show(*names: str) -> Html:
        return _figures([plots[name] for name in names])

    bodies: list[tuple[str, str, Iterable[Any]]] = [
        ("summary", "Summary", [summary(found, points)]),
        ("front", "The Pareto front", _front(found, points)),
        ("distributions", "Error distributions", [show("edf_raw", "edf_normalised")]),
        (
            "differences",
            "Paired differences" if paired else "Contrasts of types",
            [show(*forests), *_contrast_tables(found)],
        ),
        ("effects", "Effect against FLOPs and depth", [show("effect_flops", "effect_depth")]),
        ("factors", "Factors and interactions", [show("interactions"), *_factor_tables(found)]),
        ("type-fronts", "The front of each type", [show("type_fronts")]),
        ("coverage", "Coverage", [show("coverage")]),
        ("reliability", "Reliability over seeds and schedules", [show("seed_reliability", *fidelity)]),
        ("baseline", "Against uniform draws", [show("baseline_error", "baseline_hypervolume")]),
        ("failures", "Failures", [show("failures"), *_failed(found)]),
        ("cost", "Cost and time", [show("timeline", "seconds", *uses), _times(found)]),
        ("reproduce", "How to reproduce", [reproduce(found)]),
    ]
    return [Section(name, title, join(parts)) for name, title, parts in bodies]


def _figures(plots: Sequence[Plot]) -> Html:
    """Pictures side by side; what is missing in a line, each once."""
    drawn = [
        tag("figure", inline(plot.figure, plot.name, plot.caption), tag("figcaption", plot.caption))
        for plot in plots
        if plot.figure is not None
    ]
    missing = dict.fromkeys(plot.missing for plot in plots if plot.figure is None)
    lines = [tag("p", line, class_="missing") for line in missing]
    return join([*([tag("div", *drawn, class_="figures")] if drawn else []), *lines])


def _front(found: Overview, points: Sequence[Point]) -> list[Any]:
    hint = "Point at, tap or tab to a network; click or press Enter to see it below."
    hidden = len(found.networks) - len(points)
    more = f" {hidden} further networks off the front are not shown." if hidden else ""
    first = found.runs[0].config
    channels, height, width = first.input_shape
    return [
        chart(points, found.axes, found.types, found.task),
        tag("p", hint + more, class_="note"),
        tag("div", class_="card", aria_live="polite", hidden=""),
        member_table(points),
        drawings(points, (channels, height, width), first.num_classes),
    ]


def _contrast_tables(found: Overview) -> list[Html]:
    analysis = found.analysis
    parts = paired_parts(analysis.paired) if analysis.paired else []
    for comparison in analysis.comparisons:
        parts += comparison_parts(comparison)
    return [of_text(parts)]


def _factor_tables(found: Overview) -> list[Html]:
    analysis = found.analysis
    parts = factor_parts(analysis.factors, analysis.top) if analysis.factors else ()
    shown = [part for part in parts if not str(part).startswith("  ")]  # refusals stand beside the picture
    return [of_text([*shown, *(motif_parts(analysis.motifs) if analysis.motifs else [])])]


def _failed(found: Overview) -> list[Html]:
    """A table of types and reasons, and what the failed said."""
    failed = found.trials[found.trials["state"] == "failed"]
    if not len(failed):
        return []
    reasons = sorted(set(failed["reason"]))
    rows = [(n, runs[""], *(runs.get(r, 0) for r in reasons)) for n, runs in found.failures.items()]
    return [table(["type", "runs>", *(f"{reason}>" for reason in reasons)], rows)]


def _times(found: Overview) -> Html:
    """Of each run and of all: seconds of all trainings, of the run, and of each worker."""
    rows: list[Sequence[Any]] = []
    for name, clock in found.timings.items():
        lengths = clock.end - clock.start
        share = clock.trained / (clock.elapsed * len(clock.busy)) if clock.elapsed else 0.0
        median = f"{np.median(lengths):.1f} s" if len(lengths) else ""
        busy = ", ".join(_span(seconds) for seconds in clock.busy)
        rows.append(
            (name, len(lengths), _span(clock.trained), _span(clock.elapsed), f"{share:.0%}", median, busy)
        )
    if len(rows) > 1:
        clocks = found.timings.values()
        trained, elapsed = (sum(getattr(clock, key) for clock in clocks) for key in ("trained", "elapsed"))
        rows.append(("total", sum(row[1] for row in rows), _span(trained), _span(elapsed), "", "", ""))
    columns = ("run", "trainings>", "trained>", "elapsed>", "workers busy>", "median>", "each worker")
    uses = [
        of_text([f"Where the time of {name} went", *time_use_parts(bars)])
        for name, bars in found.time_uses.items()
    ]
    return join([table(columns, rows, wide=("each worker",)), *uses])


def _span(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
