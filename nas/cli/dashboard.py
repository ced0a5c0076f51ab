"""nas dashboard: a run in optuna-dashboard."""

from __future__ import annotations

from pathlib import Path

import click

from nas.cli import _options as options
from nas.cli._output import note


@click.command("dashboard", epilog="Example: nas dashboard latest --port 8081")
@options.run
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Where to listen."
)
@options.results_dir
def command(*, run: str, port: int, results_dir: Path) -> None:
    """Show a run in optuna-dashboard until Ctrl-C; new trials appear while a search writes them.

    The dashboard works on a copy in memory: nothing that is changed there changes the run.

    RUN is a run folder, a name under the results folder, or `latest`.
    """
    from nas.integrations.dashboard import serve
    from nas.study.run import open_run

    opened = open_run(run, results_dir)
    with opened.study:
        note(f"{opened.name}: http://localhost:{port}/ (Ctrl-C ends it)")
        serve(opened, port, on_error=lambda error: note(f"warning: {error}"))
