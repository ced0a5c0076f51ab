"""nas runs: what has been searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nas.cli import _options as options
from nas.cli._output import emit, note, table


@click.command("runs", epilog="Example: nas runs")
@options.results_dir
@options.as_json
def command(results_dir: Path, as_json: bool) -> None:
    """List the runs, the oldest first; the last is `latest`."""
    from nas.errors import NasError
    from nas.study.run_folder import list_runs

    rows = []
    for files in list_runs(results_dir):
        try:
            rows.append(_row(files.path))
        except NasError as error:
            note(f"warning: {error}")
    if as_json:
        emit({"runs": rows})
    elif not rows:
        note(f"no runs in {results_dir}; nas search starts the first one")
    else:
        table([_readable(row) for row in rows], right=["complete", "failed", "of", "best error"])


def _row(folder: Path) -> dict[str, Any]:
    from nas.study.run import open_run

    run = open_run(folder.resolve())
    with run.study as study:
        errors = [trial.objective("error") for trial in study.complete]
        return {
            "name": run.name,
            "folder": str(folder),
            "space": run.config.space,
            "data": run.config.data,
            "searcher": run.config.searcher,
            "trials": run.config.trials,
            "complete": len(study.complete),
            "failed": sum(trial.state == "failed" for trial in study.trials),
            "best_error": min(errors, default=None),
        }


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    best = "" if row["best_error"] is None else f"{row['best_error']:.2%}"
    kept = ("name", "space", "data", "searcher", "complete", "failed")
    return {name: row[name] for name in kept} | {"of": row["trials"], "best error": best}
