"""nas report: write what runs found as one page."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from nas.cli import _completers as complete
from nas.cli import _options as options
from nas.cli._output import echo, emit, note


@click.command("report", epilog="Example: nas report latest --to report.html --plots plots")
@click.argument("runs", metavar="RUN [RUN...]", nargs=-1, required=True, shell_complete=complete.runs)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write. Default: report.html in the first run folder.",
)
@click.option(
    "--plots", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the plots, as PNG and SVG."
)
@options.results_dir
@options.as_json
def command(
    runs: tuple[str, ...], to: Path | None, plots: Path | None, results_dir: Path, as_json: bool
) -> None:
    """Write what runs found as one HTML page that needs no network.

    RUN is a run folder, a name under the results folder, or `latest`. Several runs are pooled
    as `nas analyze` pools them.
    """
    from nas.analysis.overview import overview
    from nas.reports.page import write_page
    from nas.study.run import open_run
    from nas.visualization.plots.figures import draw_all, save_all

    with ExitStack() as stack:
        opened = [open_run(run, results_dir) for run in runs]
        for run in opened:
            stack.enter_context(run.study)
        content = overview(opened)
        drawn = draw_all(content)
        file = write_page(content, drawn, to or opened[0].folder / "report.html")
    saved = [] if plots is None else save_all(list(drawn.values()), plots)
    if as_json:
        emit({"report": str(file), "plots": [str(path) for path in saved]})
        return
    echo(file)
    if saved:
        note(f"plots: {len(saved)} files in {plots}")
